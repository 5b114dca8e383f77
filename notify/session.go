package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/internal/account"
	"github.com/redis/go-redis/v9"
)

// session is one PubSub on one connection, from its dial to the first doubt. It never reconnects: go-redis's PubSub
// would, inside Receive and Ping, so the client it belongs to dials once and refuses ever after.
//
// Three goroutines share it: the receive loop (which also builds it), talk, which is the only writer once it is live, and
// audit. Fields without a note are written while it is built and read afterwards.
type session struct {
	l       *Listener
	p       *primary
	id      string
	born    time.Time
	voice   *redis.Client // of the PubSub alone
	pubsub  *redis.PubSub
	desk    *desk // for questions and canaries
	dialled atomic.Bool
	conn    atomic.Pointer[watchedConn]

	identity identity
	tracking error // why flushes are not heard; nil when they are
	flags    string
	canary   *canary // when CONFIG is refused

	live bool                     // receive loop: events are told
	subs map[string]*subscription // receive loop: by pattern

	wire      wire
	pings     uint64        // the writer's
	wake      chan struct{} // nudges talk
	busyUntil atomic.Int64  // a reading of clock: until then BUSY would be answered again
	fullUntil atomic.Int64  // likewise OOM, to subscriptions

	looked  atomic.Pointer[time.Time] // when the last good look at the source began
	flushes atomic.Uint64             // heard
	relook  chan struct{}             // nudges audit after a flush
	markers markers                   // the builder's, then audit's
	doubts  struct {                  // what Status tells
		sync.Mutex
		reasons []string
	}

	unhook  func() bool // from the listener's end
	dead    chan struct{}
	failing sync.Once
	cause   cause // written before dead is closed
	wg      sync.WaitGroup
}

// cause is why a session ended.
type cause struct {
	reason string // a Gap... constant
	err    error
}

// subscription is a confirmed pattern.
type subscription struct {
	db       int
	prefix   string
	shadowed bool // a shorter prefix has been subscribed since: Redis sends each event for both
}

// openSession dials, subscribes, confirms and proves. A blackholed server costs it p.patience() at most.
func openSession(p *primary) (_ *session, err error) {
	s := &session{
		l: p.l, p: p, id: randomName(), born: time.Now(), subs: make(map[string]*subscription),
		wake: make(chan struct{}, 1), relook: make(chan struct{}, 1), dead: make(chan struct{}),
	}
	s.unhook = context.AfterFunc(p.ctx, func() { s.fail(GapConnection, ErrClosed) })
	ctx, cancel := context.WithTimeout(p.ctx, p.patience())
	defer cancel()
	undo := context.AfterFunc(ctx, func() { s.fail(GapConnection, fmt.Errorf("no session within %v: %w", p.patience(), ctx.Err())) })
	defer func() {
		if !undo() && err == nil {
			<-s.dead
			err = s.why()
		}
		if err != nil {
			s.close()
		}
	}()
	s.voice = s.newVoice()
	s.desk = newDesk(p)
	s.pubsub = s.voice.Subscribe(ctx)

	if err := s.subscribe(ctx, newSubscribe(p.l.opts, p.subscribed())); err != nil {
		return nil, s.because(err)
	}
	if err := s.setUp(ctx); err != nil {
		return nil, s.because(err)
	}
	return s, nil
}

// because prefers the reason why s was ended to the error that its end caused.
func (s *session) because(err error) error {
	var fault *SetupError
	if errors.As(err, &fault) {
		return err
	}
	select {
	case <-s.dead:
		return s.why()
	default:
		return fmt.Errorf("notify: %s: %w", s.p.rdb.Addr, err)
	}
}

func (s *session) why() error { return fmt.Errorf("notify: %s: %w", s.p.rdb.Addr, s.cause.err) }

// serve is the receive loop from Synced to the gap.
func (s *session) serve() cause {
	for {
		if err := s.step(); err != nil {
			s.fail(GapUnplanned, err) // unless it is known better
			return s.cause
		}
	}
}

// step takes one message from the stream.
func (s *session) step() error {
	if s.isDead() {
		return s.cause.err
	}
	msg, err := s.receive()
	if s.isDead() { // bytes read before the end may still be parsed: they are not told
		return s.cause.err
	}
	if err != nil {
		return s.refusal(err)
	}
	switch m := msg.(type) {
	case *redis.Message:
		return s.message(m)
	case *redis.Pong:
		return s.pong(m)
	case *redis.Subscription:
		return s.confirm(m)
	}
	return s.unplanned("a %T", msg)
}

// receive is PubSub.Receive, which panics on shapes it does not expect.
func (s *session) receive() (msg any, err error) {
	defer func() {
		if p := recover(); p != nil {
			msg, err = nil, s.unplanned("what go-redis cannot read (%v)", p)
		}
	}()
	return s.pubsub.Receive(context.Background())
}

func (s *session) unplanned(format string, args ...any) error {
	s.fail(GapUnplanned, fmt.Errorf("the server sent "+format, args...))
	return s.cause.err
}

// refusal handles an error from Receive: of the connection, or a reply to the oldest command on the wire.
func (s *session) refusal(err error) error {
	if !answered(err) {
		reason := GapUnplanned
		if broken(err) {
			reason = GapConnection
		}
		s.fail(reason, err)
		return err
	}
	c := s.wire.pop()
	switch {
	case c == nil:
		return s.unplanned("an error that answers nothing (%v)", err)
	case busy(err) && s.live: // no proof and no gap: it is asked again
		s.busyUntil.Store(int64(s.clock() + busyPause))
		s.again(c)
		return nil
	case outOfMemory(err) && s.live && c.sub != nil: // what is subscribed already stays
		s.fullUntil.Store(int64(s.clock() + s.l.opts.Heartbeat))
		s.l.log.warn("not subscribed yet", "addr", s.p.rdb.Addr, "prefixes", c.sub.prefixes, "err", err)
		s.again(c)
		return nil
	case c.sub != nil && c.sub.optional && redis.HasErrorPrefix(err, "NOPERM"):
		c.sub.err, c.sub.confirmed = err, len(c.sub.names())
		return nil
	case c.sub != nil && redis.HasErrorPrefix(err, "NOPERM"):
		fault := &SetupError{Missing: MissingACL, Fix: aclLine(s.user(), c.sub.rules()...), Err: err}
		if s.live {
			s.p.settle(c.sub, fault)
			return nil
		}
		s.fail(GapUnplanned, fault)
		return fault
	case redis.HasErrorPrefix(err, "NOPERM"):
		err = &SetupError{Missing: MissingACL, Fix: aclLine(s.user(), "+ping"), Err: err}
	}
	s.fail(GapUnplanned, err)
	return err
}

func (s *session) user() string { return account.In(&s.p.rdb) }

// fail ends the session; the first reason counts. Closing the socket ends Receive and Ping, which PubSub.Close does not
// while a write blocks.
func (s *session) fail(reason string, err error) {
	s.failing.Do(func() {
		s.cause = cause{reason, err}
		close(s.dead)
		if c := s.conn.Load(); c != nil {
			c.Close()
		}
	})
}

func (s *session) isDead() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

// close ends the session and waits for its goroutines. What fences it leaves unanswered the next session answers.
func (s *session) close() {
	s.unhook()
	s.fail(GapConnection, ErrClosed)
	if s.desk != nil {
		s.desk.close()
	}
	s.wg.Wait()
	for c := s.wire.pop(); c != nil; c = s.wire.pop() {
		s.again(c)
	}
	if s.pubsub != nil {
		_ = s.pubsub.Close()
	}
	if s.voice != nil {
		_ = s.voice.Close()
	}
}

func (s *session) clock() time.Duration { return time.Since(s.born) }

// unproven is what Status tells of a live session.
func (s *session) unproven() []string {
	s.doubts.Lock()
	defer s.doubts.Unlock()
	return slices.Clone(s.doubts.reasons)
}
