package faultproxy

import (
	"slices"
	"strings"
	"time"
)

// Links are all links of a proxy, or those in which the client has sent a given string. Where several selections
// name a link, it is held if one of them says so, delayed by the longest delay, slowed by the slowest trickle.
type Links struct {
	p        *Proxy
	selector string
}

// Having selects the links in which the client has sent, or will send, s; upper and lower case are not told apart.
// Of links that exist, the first 64 KiB from the client are looked at. s is at most 256 bytes long.
func (p *Proxy) Having(s string) Links {
	s = strings.ToLower(s)
	if s == "" || len(s) > window {
		p.t.Fatalf("faultproxy: Having(%q): between 1 and %d bytes", s, window)
	}
	p.update(func() {
		if p.rules[s] != nil {
			return
		}
		p.rules[s] = new(rule)
		for l := range p.links {
			if strings.Contains(string(l.sent), s) {
				l.match(p.rules[s])
			}
		}
	})
	return Links{p: p, selector: s}
}

// Conns counts the links that are up: not ended, not cut. Those that lost bytes count.
func (s Links) Conns() int {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	n := 0
	for l := range s.p.links {
		if !l.cut && slices.Contains(l.rules, s.rule()) {
			n++
		}
	}
	return n
}

// Hold keeps the bytes of d back. They wait in order, in the sockets: a peer that sends on for long is stalled, as by
// a reader that does not read. Nothing is lost, also not the end of the stream.
func (s Links) Hold(d Direction) {
	s.set(d, func(f *fault) { f.hold = true })
}

// HoldAt holds each link from the next occurrence of marker in d on: what comes before it passes, its first byte (or
// what is left of it, when it comes in pieces) waits. The channel is closed when the first link is so held. marker
// is at most 256 bytes long. A second call replaces the first's marker.
func (s Links) HoldAt(d Direction, marker string) <-chan struct{} {
	if marker == "" || len(marker) > window {
		s.p.t.Fatalf("faultproxy: HoldAt(%q): between 1 and %d bytes", marker, window)
	}
	seen := make(chan struct{})
	s.set(d, func(f *fault) { f.marker, f.since, f.seen = []byte(marker), time.Now(), seen })
	return seen
}

// Release ends Hold and HoldAt; what waited passes.
func (s Links) Release(d Direction) {
	s.p.update(func() {
		f := &s.rule()[d]
		f.hold, f.marker, f.seen = false, nil, nil
		for l := range s.p.links {
			if slices.Contains(l.rules, s.rule()) {
				l.streams[d].held = false
			}
		}
	})
}

// Drop makes d a black hole: its bytes are read and thrown away, its end is not told. Links that are up during Drop
// stay so broken even after Pass: they have lost bytes.
func (s Links) Drop(d Direction) {
	s.p.update(func() {
		s.rule()[d].drop = true
		for l := range s.p.links {
			if slices.Contains(l.rules, s.rule()) {
				l.streams[d].lost = true
			}
		}
	})
}

// Trickle lets at most n bytes of d through, then waits for every before the next.
func (s Links) Trickle(d Direction, n int, every time.Duration) {
	s.set(d, func(f *fault) { f.bytes, f.every = n, every })
}

// Delay lets the bytes of d through after a delay; those that arrive while others wait, within twice the delay.
func (s Links) Delay(d Direction, delay time.Duration) {
	s.set(d, func(f *fault) { f.delay = delay })
}

// Pass ends every fault of this selection in both directions, but does not mend links that lost bytes.
func (s Links) Pass() {
	s.Release(ToServer)
	s.Release(ToClient)
	s.p.update(func() { *s.rule() = rule{} })
}

// Cut breaks the links that are up. Clients may connect again at once.
func (s Links) Cut(how How) {
	s.p.update(func() {
		for l := range s.p.links {
			if slices.Contains(l.rules, s.rule()) {
				l.cutOff(how)
			}
		}
	})
}

func (s Links) set(d Direction, change func(*fault)) {
	s.p.update(func() { change(&s.rule()[d]) })
}

// rule is read under p.mu.
func (s Links) rule() *rule { return s.p.rules[s.selector] }
