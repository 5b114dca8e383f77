package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"time"
)

const (
	window  = 256      // the longest string that is found across two reads
	history = 64 << 10 // how many of a client's first bytes a later Having can look at
	chunk   = 64 << 10 // one read
)

// link is one client's connection and the one to the target, as two streams with a goroutine each.
type link struct {
	p       *Proxy
	streams [2]*stream
	ended   chan struct{} // closed when the link is reset

	// Guarded by p.mu.
	rules  []*rule // those that select this link
	sent   []byte  // the client's first bytes, lower case
	recent []byte  // the client's last bytes, lower case
	cut    bool
}

// stream carries one direction from src to dst.
type stream struct {
	l        *link
	d        Direction
	src, dst *net.TCPConn

	// Of the goroutine in pass alone.
	tail   []byte    // the last bytes that went out
	sentAt time.Time // when they did

	// Guarded by p.mu.
	held bool // at a marker
	lost bool // for good: bytes were dropped, or dst is gone
}

func newLink(p *Proxy, client, server *net.TCPConn) *link {
	l := &link{p: p, ended: make(chan struct{})}
	l.streams[ToServer] = &stream{l: l, d: ToServer, src: client, dst: server}
	l.streams[ToClient] = &stream{l: l, d: ToClient, src: server, dst: client}
	return l
}

// pass moves bytes until the stream ends.
func (s *stream) pass() {
	buf := make([]byte, chunk)
	for {
		n, err := s.src.Read(buf)
		arrived := time.Now()
		if s.d == ToServer && n > 0 {
			s.l.notice(buf[:n])
		}
		s.forward(buf[:n], arrived)
		if err != nil {
			s.end(err, arrived)
			return
		}
	}
}

// forward sends b, or as much of it as faults let through.
func (s *stream) forward(b []byte, arrived time.Time) {
	for len(b) > 0 {
		n, ok := s.admit(b, arrived)
		if !ok {
			return
		}
		if _, err := s.dst.Write(b[:n]); err != nil {
			// dst is gone, and what it sent last tells src so: the other stream reads it. src may not know yet, if
			// that stream is held; until it does, its bytes go nowhere.
			s.l.p.update(func() { s.lost = true })
			return
		}
		s.tail = last(s.tail, b[:n])
		s.sentAt = time.Now()
		b = b[n:]
	}
}

// end tells dst how the stream ended, behind the bytes before it and if faults let even this through.
func (s *stream) end(err error, arrived time.Time) {
	if _, ok := s.admit(nil, arrived); !ok {
		return
	}
	if errors.Is(err, io.EOF) {
		s.dst.CloseWrite()
		return
	}
	s.l.p.update(func() { s.l.cutOff(RST) })
}

// admit waits until faults let some of b pass and returns how many bytes. It is false when none ever will.
func (s *stream) admit(b []byte, arrived time.Time) (n int, ok bool) {
	for {
		n, wait, changed := s.verdict(b, arrived)
		if n < 0 || wait == 0 {
			return n, n >= 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.l.ended:
			timer.Stop()
			return 0, false
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// verdict is what faults say of b now: how many bytes may pass after wait, unless something has changed till then.
// n is negative when the stream is lost.
func (s *stream) verdict(b []byte, arrived time.Time) (n int, wait time.Duration, changed chan struct{}) {
	s.l.p.mu.Lock()
	defer s.l.p.mu.Unlock()
	if s.lost {
		return -1, 0, nil
	}
	n = len(b)
	now := time.Now()
	hold := s.held
	for _, r := range s.l.rules {
		f := &r[s.d]
		hold = hold || f.hold
		wait = max(wait, arrived.Add(f.delay).Sub(now))
		if f.bytes > 0 {
			n = min(n, f.bytes)
			wait = max(wait, s.sentAt.Add(f.every).Sub(now))
		}
		if f.marker == nil || arrived.Before(f.since) {
			continue
		}
		switch at := find(s.tail, b, f.marker); {
		case at > 0:
			n = min(n, at)
		case at == 0:
			s.held, hold = true, true
			f.sight()
		}
	}
	if hold {
		wait = math.MaxInt64
	}
	return n, wait, s.l.p.changed
}

// notice matches what the client sent against the selectors.
func (l *link) notice(b []byte) {
	b = bytes.ToLower(b)
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	for selector, r := range l.p.rules {
		if !slices.Contains(l.rules, r) && find(l.recent, b, []byte(selector)) >= 0 {
			l.match(r)
		}
	}
	l.recent = last(l.recent, b)
	l.sent = append(l.sent, b[:min(len(b), history-len(l.sent))]...)
}

// match puts the link under r. It holds p.mu.
func (l *link) match(r *rule) {
	l.rules = append(l.rules, r)
	for d, s := range l.streams {
		s.lost = s.lost || r[d].drop
	}
}

// cutOff breaks the link. It holds p.mu.
func (l *link) cutOff(how How) {
	l.cut = true
	if how == FIN {
		// Closing a socket with unread bytes would send a RST: let the peers close, and swallow what they still say.
		for _, s := range l.streams {
			s.lost = true
			s.dst.CloseWrite()
		}
		return
	}
	select {
	case <-l.ended:
		return
	default:
		close(l.ended)
	}
	for _, s := range l.streams {
		reset(s.src)
	}
}

// find returns where in b the first occurrence of marker begins that b completes: 0 when it began in tail, -1 when
// there is none.
func find(tail, b, marker []byte) int {
	tail = tail[max(0, len(tail)-len(marker)+1):]
	at := bytes.Index(slices.Concat(tail, b), marker)
	if at < 0 {
		return -1
	}
	return max(0, at-len(tail))
}

// last returns the last bytes of tail and b, enough for the longest marker.
func last(tail, b []byte) []byte {
	if len(b) >= window {
		return append(tail[:0], b[len(b)-window:]...)
	}
	tail = append(tail, b...)
	return append(tail[:0], tail[max(0, len(tail)-window):]...)
}
