package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Listener is a running subscription. All methods may be called from any goroutine, but not from a hook.
type Listener struct {
	opts Options       // with defaults
	rdb  redis.Options // the user's client's, as templates for the sessions'
	id   string        // names this listener's canaries

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine; see start
	log    *logger

	mu       sync.Mutex
	closed   bool
	session  *session      // that is live, or nil
	status   Status        // but for Reasons
	cause    error         // why it is not synced
	changed  chan struct{} // closed and replaced when session or closed change
	prefixes []string      // subscribed, minimal; nil for every key
	fences   []*fence      // that no ping has been sent for yet
	planned  *subscribe    // asked for and not confirmed yet

	planning chan struct{} // held by the one Subscribe that may use planned
	queues   atomic.Pointer[[]*queue]
	filter   atomic.Pointer[[]string] // prefixes again, for the receive loop over keyevent channels; nil for every key

	events, dropped, panics, sessions, plannedCount atomic.Uint64

	gapsMu sync.Mutex
	gaps   map[string]uint64
}

// Status is what is known about the stream now.
type Status struct {
	Synced  bool      // subscribed and confirmed; events flow
	Addr    string    // of the server
	RunID   string    // of the server process last subscribed to; "" when it does not tell
	Version string    // of that server, as it calls it
	Since   time.Time // when Synced last became what it is
	Reasons []string  // in plain words: what is not proven, and why it is not synced
}

// Stats counts since Listen.
type Stats struct {
	Events       uint64            // changes and flushes handed to Hooks.Event
	Gaps         uint64            // of all reasons
	Dropped      uint64            // events that readers' queues lost, each declared by a Gap
	Panics       uint64            // of handlers and hooks
	Reconnects   uint64            // sessions after the first
	Planned      uint64            // patterns subscribed by Subscribe
	GapsByReason map[string]uint64 // by the Gap... constants
}

// Listen subscribes, confirms, proves what Options asks for, and starts the background loop. It returns once the first
// ping after Synced has been answered, so what begins after it is not missed. ctx bounds the start alone: Close, not
// ctx, ends the listener.
//
// rdb gives the address, the credentials and the rest of its options; the listener makes connections of its own from
// them (two, and none of rdb's pool; rdb's hooks and limiter are not used) and rdb may be closed.
// It must be a *redis.Client that dials one server; anything else fails with ErrUnsupported. What the operator must mend
// fails with a *SetupError. A network error fails Listen at the first try, unless StartDown.
func Listen(ctx context.Context, rdb redis.UniversalClient, opts Options) (*Listener, error) {
	client, err := single(rdb)
	if err != nil {
		return nil, err
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("notify: listen: %w", err)
	}
	l := newListener(*client.Options(), opts.withDefaults())
	first := make(chan error, 1)
	l.start(func() { l.run(first) })
	select {
	case err = <-first:
	case <-ctx.Done():
		err = fmt.Errorf("notify: listen on %s: %w", l.rdb.Addr, ctx.Err())
	}
	var fault *SetupError
	if err != nil && (!opts.StartDown || errors.As(err, &fault)) {
		l.Close()
		if fault == nil && ctx.Err() == nil && !answered(err) {
			err = fmt.Errorf("%w (notify.Options.StartDown is for starting without it)", err)
		}
		return nil, err
	}
	return l, nil
}

// single is rdb as the client of one server.
func single(rdb redis.UniversalClient) (*redis.Client, error) {
	client, ok := rdb.(*redis.Client)
	switch {
	case rdb == nil || ok && client == nil:
		return nil, errors.New("notify: the client is nil: give a *redis.Client")
	case !ok:
		return nil, fmt.Errorf("%w: a %T: give a *redis.Client of one primary", ErrUnsupported, rdb)
	case client.Options().Addr == failoverAddr:
		return nil, fmt.Errorf("%w: a client of redis.NewFailoverClient: give redis.NewClient with the primary's address", ErrUnsupported)
	}
	return client, nil
}

// failoverAddr is what go-redis puts for the address of a client whose server Sentinels choose.
const failoverAddr = "FailoverClient"

func newListener(rdb redis.Options, opts Options) *Listener {
	if opts.DBs == nil {
		opts.DBs = []int{rdb.DB}
	}
	l := &Listener{
		opts: opts, rdb: rdb, id: randomName(),
		changed: make(chan struct{}), prefixes: opts.Prefixes, planning: make(chan struct{}, 1),
		status: Status{Addr: rdb.Addr, Since: time.Now()}, gaps: make(map[string]uint64),
	}
	l.queues.Store(new([]*queue))
	if opts.Prefixes != nil {
		l.filter.Store(&opts.Prefixes)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.log = newLogger(opts.Logger)
	l.start(func() { l.log.run(l.ctx) })
	return l
}

// start runs f on a goroutine that Close waits for; it is false, and f does not run, after Close.
func (l *Listener) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(f)
	return true
}

// Close ends the listener and waits for its goroutines: the receive loop and the handlers' running calls, whose ctx
// ends. Called from within a handler it waits for nothing. It may be called twice and by several at once. A dial under
// way is waited for where the client's Dialer does not heed its context (go-redis's own does not with TLS), for its
// DialTimeout at most.
func (l *Listener) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.cancel()
		l.broadcast()
		for _, q := range *l.queues.Load() {
			q.close()
		}
	}
	l.mu.Unlock()
	if !inHandler() {
		l.wg.Wait()
	}
	return nil
}

// run builds one session after another. It is the receive loop: sessions read, and hooks are called, on it alone.
// first is told how the first session came out.
func (l *Listener) run(first chan<- error) {
	told := false
	tell := func(err error) {
		if !told {
			first <- err
			told = true
		}
	}
	attempt := 0
	for l.ctx.Err() == nil {
		s, err := openSession(l)
		if err == nil {
			s.onProof = func() {
				attempt = 0
				tell(nil)
			}
			l.up(s)
			c := s.serve()
			if l.ctx.Err() == nil {
				err = fmt.Errorf("notify: lost %s (%s): %w", l.rdb.Addr, c.reason, c.err)
				l.gap(s, c.reason, err)
			}
			s.close()
		}
		if l.ctx.Err() != nil {
			return
		}
		l.down(err)
		tell(err)
		pause := time.NewTimer(max(0, l.opts.Backoff(attempt)))
		attempt++
		select {
		case <-pause.C:
		case <-l.ctx.Done():
			pause.Stop()
		}
	}
}

// up makes s the live session. The events that follow are complete (I3: what was known before is dead from here on).
func (l *Listener) up(s *session) {
	s.live = true
	s.emit(Event{Kind: Synced})
	l.sessions.Add(1)
	l.mu.Lock()
	l.session, l.cause = s, nil
	l.status.Synced, l.status.Since = true, time.Now()
	l.status.RunID, l.status.Version = s.identity.runID, s.identity.version
	l.broadcast()
	l.mu.Unlock()
	s.startTalking()
	said := []any{"addr", l.rdb.Addr, "version", s.identity.version}
	if doubts := s.unproven(); len(doubts) > 0 {
		said = append(said, "unproven", doubts)
	}
	l.log.info("subscribed", said...)
}

// gap declares the loss of a live session.
func (l *Listener) gap(s *session, reason string, err error) {
	l.mu.Lock()
	l.session, l.cause = nil, err
	l.status.Synced, l.status.Since = false, time.Now()
	l.broadcast()
	l.mu.Unlock()
	l.countGap(reason)
	s.emit(Event{Kind: Gap, Reason: reason})
	if h := l.opts.Hooks.Gap; h != nil {
		s.guard(func() { h(reason) })
	}
	l.log.warn("gap", "reason", reason, "err", err)
}

// down notes why there is no session.
func (l *Listener) down(err error) {
	l.mu.Lock()
	repeated := l.cause != nil && l.cause.Error() == err.Error()
	l.cause = err
	l.broadcast()
	l.mu.Unlock()
	if !repeated {
		l.log.warn("not subscribed", "addr", l.rdb.Addr, "err", err)
	}
}

// broadcast wakes whoever waits for a change of state; l.mu is held.
func (l *Listener) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Listener) countGap(reason string) {
	l.gapsMu.Lock()
	l.gaps[reason]++
	l.gapsMu.Unlock()
}

// WaitSynced returns once the stream is live: at once, when it is. Its error is ctx's or ErrClosed.
func (l *Listener) WaitSynced(ctx context.Context) error {
	return l.wait(ctx, func() bool { return l.session != nil })
}

// wait returns when ok, which is asked under l.mu.
func (l *Listener) wait(ctx context.Context, ok func() bool) error {
	for {
		l.mu.Lock()
		closed, done, changed := l.closed, ok(), l.changed
		l.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case done:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Status may be called at any time, after Close too.
func (l *Listener) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.status
	switch {
	case l.closed:
		st.Synced, st.Reasons = false, []string{"closed"}
	case l.session != nil:
		st.Reasons = l.session.unproven()
	case l.cause != nil:
		st.Reasons = []string{"not subscribed: " + l.cause.Error()}
	default:
		st.Reasons = []string{"not subscribed yet"}
	}
	return st
}

// Stats may be called at any time, after Close too. The counters are not one snapshot.
func (l *Listener) Stats() Stats {
	l.gapsMu.Lock()
	gaps := maps.Clone(l.gaps)
	l.gapsMu.Unlock()
	st := Stats{
		Events: l.events.Load(), Dropped: l.dropped.Load(), Panics: l.panics.Load(),
		Reconnects: max(l.sessions.Load(), 1) - 1, Planned: l.plannedCount.Load(), GapsByReason: gaps,
	}
	for _, n := range gaps {
		st.Gaps += n
	}
	return st
}

// Subscribe adds prefixes to the running subscription and returns when every event of every command executed after
// it will be told; prefixes that are covered already cost nothing. It is no gap. Where there is no session it waits for
// the next one, or for ctx; a subscription whose caller gave up may still come about. A *SetupError says that the
// user may not subscribe to it; what was subscribed before stays.
func (l *Listener) Subscribe(ctx context.Context, prefixes ...string) error {
	if slices.Contains(prefixes, "") {
		return errors.New("notify: Subscribe: an empty prefix: leave Options.Prefixes nil for every key")
	}
	select {
	case l.planning <- struct{}{}:
		defer func() { <-l.planning }()
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return ErrClosed
	}
	sub := l.plan(prefixes)
	if sub == nil {
		return l.wait(ctx, func() bool { return l.session != nil })
	}
	select {
	case <-sub.done:
		return sub.err
	case <-l.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.planned == sub {
			l.planned = nil
		}
		return ctx.Err()
	}
}

// plan gives the running or the next session what is to be subscribed for prefixes; nil when nothing is.
func (l *Listener) plan(prefixes []string) *subscribe {
	l.mu.Lock()
	defer l.mu.Unlock()
	prefixes = slices.DeleteFunc(minimal(prefixes), func(p string) bool { return covered(l.prefixes, p) })
	if l.closed || l.prefixes == nil || len(prefixes) == 0 {
		return nil
	}
	if l.opts.Channels == Keyevent { // all is subscribed; what is told widens from here on
		wider := minimal(slices.Concat(l.prefixes, prefixes))
		l.prefixes = wider
		l.filter.Store(&wider)
		l.plannedCount.Add(uint64(len(prefixes)))
		return nil
	}
	l.planned = newSubscribe(l.opts, prefixes)
	if l.session != nil {
		l.session.nudge()
	}
	return l.planned
}
