package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// fence is what any number of Fence calls wait for together: a ping that is sent after they asked.
type fence struct {
	done  chan struct{}
	flush bool // guarded by Listener.mu until it is sent: Hooks.Event is told of a flush before it is done
}

const (
	mostPings = 8                     // on the wire at once; fences beyond them share the next
	busyPause = 10 * time.Millisecond // before a server that runs a script is asked again
)

// Fence returns when every event of every command that Redis had executed before the call has been handed to
// Hooks.Event. It costs one PING on the subscription's connection, which concurrent fences share, and a round trip; with
// Sentinels or a Cluster one to each primary and a question to each voter, all at once. In a gap it waits for the next
// session, so that Synced has then been told too. Its error is ctx's, with [ErrTopology] beside it where it was a majority
// that did not answer; or ErrClosed.
func (l *Listener) Fence(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for called := time.Now(); ; {
		l.mu.Lock()
		primaries := l.primaries
		l.mu.Unlock()
		l.askVoters() // meanwhile: whether they still were the primaries when this was called
		if err := fenceAll(ctx, primaries); err != nil {
			return err
		}
		if l.electorate == nil {
			return nil
		}
		others := false
		err := l.wait(ctx, func() bool {
			others = !slices.Equal(l.primaries, primaries)
			return others || l.synced && l.seats.agreed.After(called)
		})
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrTopology, err)
		}
		if err != nil || !others {
			return err
		}
	}
}

// fenceAll returns when each of primaries has answered, or is a primary no more.
func fenceAll(ctx context.Context, primaries []*primary) error {
	asked := make([]*fence, len(primaries))
	for i, p := range primaries {
		asked[i] = p.askFence(false)
	}
	for i, p := range primaries {
		select {
		case <-asked[i].done:
		case <-p.ctx.Done():
			if p.l.ctx.Err() != nil {
				return ErrClosed
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// askFence joins the fences that no ping has been sent for, and wakes who sends it. Those that wait are as few as the pings
// that were lost, however many callers gave up: they share.
func (p *primary) askFence(flush bool) *fence {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if n := len(p.fences); n > 0 {
		f := p.fences[n-1]
		f.flush = f.flush || flush
		return f
	}
	f := &fence{done: make(chan struct{}), flush: flush}
	p.fences = append(p.fences, f)
	if p.session != nil {
		p.session.nudge()
	}
	return f
}

func (s *session) nudge() { nudge(s.wake) }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *session) nonce() string {
	s.pings++
	return s.id + ":" + strconv.FormatUint(s.pings, 36)
}

// startTalking starts the goroutines of a live session.
func (s *session) startTalking() {
	s.wg.Go(s.talk)
	if s.l.opts.AuditEvery > 0 {
		s.wg.Go(s.audits)
	}
}

// talk writes all that a live session says (heartbeats, pings for fences, planned subscriptions) and notices when
// nothing comes back. The first ping goes out at once.
func (s *session) talk() {
	o := &s.l.opts
	timer := time.NewTimer(0)
	defer timer.Stop()
	var wakeAt, beatAt time.Duration
	for {
		select {
		case <-s.dead:
			return
		case <-s.wake:
		case <-timer.C:
		}
		now := s.clock()
		busy, full := time.Duration(s.busyUntil.Load()), time.Duration(s.fullUntil.Load())
		_, n := s.wire.oldest()
		sub, fences := s.p.due(now >= max(busy, full), now >= busy && n < mostPings)
		if sub != nil {
			if !s.say(&command{sub: sub}) {
				return
			}
			s.nudge() // for the fences that wait behind it
		}
		if n < mostPings && (fences != nil || now >= beatAt) {
			if !s.say(&command{nonce: s.nonce(), fences: fences}) {
				return
			}
			beatAt = now + o.Heartbeat // every ping is a heartbeat
		}
		next := now + o.Heartbeat
		if beatAt > now {
			next = beatAt
		}
		if busy > now {
			next = min(next, busy)
		}
		// R9: late is not lost. Only silence, not one byte while an answer is due, ends the session. If this goroutine
		// itself was held up (a paused process), what came meanwhile may wait unread: it gets a moment to be.
		if silent, ok := s.silentAt(); ok {
			switch heldUp := wakeAt > 0 && now-wakeAt > o.PongTimeout/4; {
			case now < silent:
				next = min(next, silent)
			case heldUp:
				next = min(next, now+o.PongTimeout/4)
			default:
				s.fail(GapSilence, fmt.Errorf("no byte came for %v while a ping was unanswered", o.PongTimeout))
				return
			}
		}
		wakeAt = next
		timer.Reset(next - s.clock())
	}
}

// due takes what is to be said next.
func (p *primary) due(subscribes, pings bool) (sub *subscribe, fences []*fence) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if subscribes && p.planned != nil && !p.planned.sent {
		sub = p.planned
		sub.sent = true
	}
	if pings && sub == nil { // one at a time: what is not said is not to be lost
		fences, p.fences = p.fences, nil
	}
	return sub, fences
}

// say is send for a live session: an error ends it.
func (s *session) say(c *command) bool {
	if err := s.send(context.Background(), c); err != nil {
		s.fail(GapConnection, err)
		return false
	}
	return true
}

// silentAt is when the session will have been silent for too long, if nothing comes till then and something is due.
func (s *session) silentAt() (time.Duration, bool) {
	c, _ := s.wire.oldest()
	if c == nil {
		return 0, false
	}
	return max(c.at, time.Duration(s.conn.Load().lastRead.Load())) + s.l.opts.PongTimeout, true
}

// sourceProven reports whether the source was looked at shortly enough before at (R11): else a pong says only that
// whatever is sent has come. By both clocks, as R2 has it: the monotonic one sleeps with the machine.
func (s *session) sourceProven(at time.Time) bool {
	o := &s.l.opts
	looked := *s.looked.Load()
	age := max(at.Sub(looked), at.Round(0).Sub(looked.Round(0)))
	return o.AuditEvery < 0 || age <= o.AuditEvery+o.PongTimeout
}

// answered moves the watermark, and before that tells of what it must not vouch for unsaid.
func (s *session) answered(c *command) {
	s.l.stream.Lock()
	defer s.l.stream.Unlock()
	for _, f := range c.fences {
		if f.flush && s.l.live {
			s.l.tell(Event{Kind: Flush, Reason: GapMarker})
		}
	}
	s.p.answered = true
	if s.sourceProven(c.sent) {
		s.p.proof = c.sent
	}
	s.l.prove()
}

// pong handles the answer to the oldest ping: all that Redis executed before the ping was sent has been told (R8, R9).
func (s *session) pong(m *redis.Pong) error {
	c := s.wire.pop()
	if c == nil || c.sub != nil || c.nonce != m.Payload {
		return s.unplanned("a PONG nobody asked for (%q)", m.Payload)
	}
	if !s.live {
		return nil
	}
	s.answered(c)
	if s.isDead() {
		s.again(c)
		return errors.New("a hook panicked")
	}
	for _, f := range c.fences {
		close(f.done)
	}
	s.l.mu.Lock()
	waiting := len(s.p.fences) > 0
	s.l.mu.Unlock()
	if waiting { // for room on the wire
		s.nudge()
	}
	return nil
}
