package redistest

import (
	"slices"

	"github.com/gofreshet/freshet/internal/faultproxy"
)

// A server of a group is dialled at its doors by peers and clients alike, and a peer is known by a mark that it leaves
// in whatever it dials (but for MIGRATE): so a link between two peers can be cut in the midst of everything else.

// dialledBy are the links that peer makes, and will make, to s.
func (s *Server) dialledBy(peer *Server) []faultproxy.Links {
	if s.wire.TLS != nil || s.wire.Name != "" {
		s.t.Fatal("redistest: servers that speak TLS or have one name cannot be parted: see Wire")
	}
	var links []faultproxy.Links
	for _, door := range s.doors {
		for _, mark := range peer.marks {
			links = append(links, door.Having(mark))
		}
	}
	return links
}

func between(a, b *Server) []faultproxy.Links { return slices.Concat(a.dialledBy(b), b.dialledBy(a)) }

// across are the links between side and the others of all.
func across(side, all []*Server) (links []faultproxy.Links) {
	for _, s := range side {
		for _, other := range all {
			if !slices.Contains(side, other) {
				links = append(links, between(s, other)...)
			}
		}
	}
	return links
}

// isolate cuts side off from the others of all.
func isolate(side, all []*Server) {
	for _, l := range across(side, all) {
		l.Drop(faultproxy.ToServer)
		l.Drop(faultproxy.ToClient)
	}
	setIsolated(side, true)
}

// hold keeps back what side and the others of all send each other, until release lets it arrive.
func hold(side, all []*Server) (release func()) {
	links := across(side, all)
	for _, l := range links {
		l.Hold(faultproxy.ToServer)
		l.Hold(faultproxy.ToClient)
	}
	return func() {
		for _, l := range links {
			l.Release(faultproxy.ToServer)
			l.Release(faultproxy.ToClient)
		}
	}
}

// heal undoes every isolate.
func heal(all []*Server) {
	var broken []faultproxy.Links
	for i, a := range all {
		for _, b := range all[:i] {
			if a.isIsolated() || b.isIsolated() {
				broken = append(broken, between(a, b)...)
			}
		}
	}
	for _, l := range broken {
		l.Pass()
	}
	for _, l := range broken {
		l.Cut(faultproxy.RST) // what has lost bytes is of no use; they dial again
	}
	setIsolated(all, false)
}

func setIsolated(servers []*Server, isolated bool) {
	for _, s := range servers {
		s.mu.Lock()
		s.isolated = isolated
		s.mu.Unlock()
	}
}

func (s *Server) isIsolated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isolated
}

// reachable is false of a server that has ended, is paused or is cut off.
func (s *Server) reachable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && !s.proc.ended() && !s.paused && !s.isolated
}

func reachable[S interface{ reachable() bool }](all []S) []S {
	var some []S
	for _, s := range all {
		if s.reachable() {
			some = append(some, s)
		}
	}
	return some
}
