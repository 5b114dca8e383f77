package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// primary is one server that is listened to: by a session at a time, each followed by another until the server is let go.
type primary struct {
	l   *Listener
	rdb redis.Options // a template for the sessions'

	ctx    context.Context // ends with the listener, or when the server is no primary any more
	cancel context.CancelFunc

	// Guarded by l.mu.
	session  *session   // that is live, or nil
	cause    error      // why there is none
	heard    bool       // there was one
	fences   []*fence   // that no ping has been sent for yet
	planned  *subscribe // asked for and not confirmed yet
	prefixes []string   // subscribed, minimal; nil for every key
	runID    string     // of the last session, as is version
	version  string
	member   member // what it is to the electorate

	// Guarded by l.stream.
	left     bool      // let go: what it says is told to nobody
	answered bool      // the live session has answered a ping
	proof    time.Time // every event from before it has been told; zero without a live session
}

// newPrimary starts listening to the server at rdb.Addr; l.mu is held.
func (l *Listener) newPrimary(rdb redis.Options) *primary {
	p := &primary{l: l, rdb: rdb, prefixes: l.prefixes}
	if l.prefixes != nil {
		p.prefixes = minimal(slices.Concat(l.prefixes, l.wanted))
	}
	p.ctx, p.cancel = context.WithCancel(l.ctx)
	return p
}

// run builds one session after another. It is the receive loop: sessions read on it alone.
func (p *primary) run() {
	l, attempt := p.l, 0
	defer p.cancel()
	for p.ctx.Err() == nil {
		s, err := openSession(p)
		if err == nil {
			p.up(s)
			c := s.serve()
			if p.ctx.Err() == nil {
				err = fmt.Errorf("notify: lost %s (%s): %w", p.rdb.Addr, c.reason, c.err)
			}
			if p.down(s, c.reason, err) {
				attempt = 0
			}
			s.close()
		}
		if p.ctx.Err() != nil {
			return
		}
		p.missed(err)
		l.tell1st(err)
		if !rest(p.ctx, l.opts.Backoff(attempt)) {
			return
		}
		attempt++
	}
}

// rest is a pause; it is false when ctx ended it.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// up makes s the live session.
func (p *primary) up(s *session) {
	l := p.l
	s.live = true
	l.stream.Lock()
	l.mu.Lock()
	if p.heard {
		l.reconnects.Add(1)
	}
	p.session, p.cause, p.heard = s, nil, true
	p.runID, p.version = s.identity.runID, s.identity.version
	l.mu.Unlock()
	p.answered, p.proof = false, time.Time{}
	l.join()
	l.stream.Unlock()
	s.startTalking()
	said := []any{"addr", p.rdb.Addr, "version", s.identity.version}
	if doubts := s.unproven(); len(doubts) > 0 {
		said = append(said, "unproven", doubts)
	}
	l.log.info("subscribed", said...)
}

// down ends the live session, and the stream with it where the server still counts. err is nil when nothing was lost: all
// is being closed. It reports whether the session had answered a ping.
func (p *primary) down(s *session, reason string, err error) bool {
	l := p.l
	l.stream.Lock()
	defer l.stream.Unlock()
	answered := p.answered
	p.answered, p.proof = false, time.Time{}
	l.mu.Lock()
	p.session = nil
	if err != nil {
		p.cause = err
	}
	l.mu.Unlock()
	if err != nil && !p.left {
		if l.live {
			l.lose(reason)
		}
		l.log.warn("gap", "reason", reason, "err", err)
	}
	return answered
}

// missed notes why there is no session.
func (p *primary) missed(err error) {
	l := p.l
	l.mu.Lock()
	repeated := p.cause != nil && p.cause.Error() == err.Error()
	p.cause = err
	l.broadcast()
	l.mu.Unlock()
	if !repeated {
		l.log.warn("not subscribed", "addr", p.rdb.Addr, "err", err)
	}
}

// subscribed are the prefixes that a session is to subscribe to.
func (p *primary) subscribed() []string {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	return p.prefixes
}

// slot is one of a Cluster's slots that the server has, if it has any.
func (p *primary) slot() (int, bool) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	return p.member.slot, p.member.votes
}

// plan has the running or the next session subscribe to prefixes; nil when there is nothing to subscribe. l.mu is held.
func (p *primary) plan(prefixes []string) *subscribe {
	prefixes = slices.DeleteFunc(minimal(prefixes), func(prefix string) bool { return covered(p.prefixes, prefix) })
	if len(prefixes) == 0 {
		return nil
	}
	p.planned = newSubscribe(p.l.opts, prefixes)
	if p.session != nil {
		p.session.nudge()
	}
	return p.planned
}

// forget takes back what was planned; what is on its way already may come about all the same. l.mu is held.
func (p *primary) forget(sub *subscribe) {
	if p.planned == sub {
		p.planned = nil
	}
}
