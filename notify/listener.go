package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Listener is a running subscription. All methods may be called from any goroutine, but not from a hook.
type Listener struct {
	opts Options               // with defaults
	rdb  redis.UniversalClient // the user's, for Primaries alone
	db   int                   // the client's
	id   string                // names this listener's canaries

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	wg         sync.WaitGroup // every goroutine; see start
	log        *logger
	server     func(addr string) redis.Options
	electorate electorate // nil: one server
	clustered  bool       // keys have slots, and there is one database
	first      chan error // how the start came out; read once

	// stream is held while hooks run and readers' queues are filled: one event at a time. It is taken before mu.
	stream sync.Mutex
	live   bool      // Synced was told, and no Gap since
	seated bool      // the primaries are who is to be heard
	ev     Event     // what hooks are given
	proof  time.Time // what Hooks.Pong was last told

	mu        sync.Mutex
	closed    bool
	primaries []*primary    // all of them must be heard for the stream to be live
	seats     seats         // with an electorate
	since     time.Time     // when synced last changed
	synced    bool          // live, for those who may not take stream
	changed   chan struct{} // closed and replaced when what wait asks for may have changed
	prefixes  []string      // subscribed everywhere, minimal; nil for every key
	wanted    []string      // being subscribed

	planning chan struct{} // held by the one Subscribe that is under way
	queues   atomic.Pointer[[]*queue]
	filter   atomic.Pointer[[]string] // prefixes again, for the receive loop over keyevent channels; nil for every key

	events, dropped, panics, reconnects, plannedCount atomic.Uint64

	gapsMu sync.Mutex
	gaps   map[string]uint64
}

// Status is what is known about the stream now.
type Status struct {
	Synced  bool      // subscribed and confirmed; events flow
	Addr    string    // of the server; of a Cluster's primaries with commas between, as RunID and Version
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
	Reconnects   uint64            // sessions after a server's first
	Planned      uint64            // patterns subscribed by Subscribe
	GapsByReason map[string]uint64 // by the Gap... constants
}

// Listen subscribes, confirms, proves what Options asks for, and starts the background loop. It returns once the first
// ping after Synced has been answered, so what begins after it is not missed. ctx bounds the start alone: Close, not
// ctx, ends the listener.
//
// rdb gives the address, the credentials and the rest of its options; the listener makes connections of its own from
// them (two for each primary and one for each voter, none of rdb's pool; rdb's hooks and limiter are not used) and rdb may be
// closed. A streaming credentials provider is asked at each of these connections and not followed: that the server ends one
// whose token has expired is a gap. It must be a *redis.Client of one server, one of redis.NewFailoverClient with Options.Sentinel, or a
// *redis.ClusterClient, and read no replicas; anything else fails with ErrUnsupported. What the operator must mend
// fails with a *SetupError. A network error fails Listen at the first try, unless StartDown.
func Listen(ctx context.Context, rdb redis.UniversalClient, opts Options) (*Listener, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	src, err := sourceOf(rdb, &opts)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("notify: listen: %w", err)
	}
	l := newListener(src.db, opts)
	l.rdb = rdb
	l.follow(src)
	select {
	case err = <-l.first:
	case <-ctx.Done():
		err = fmt.Errorf("notify: listen on %s: %w", l.addr(), ctx.Err())
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

func newListener(db int, opts Options) *Listener {
	if opts.DBs == nil {
		opts.DBs = []int{db}
	}
	l := &Listener{
		opts: opts, db: db, id: randomName(), first: make(chan error, 1), since: time.Now(),
		changed: make(chan struct{}), prefixes: opts.Prefixes, planning: make(chan struct{}, 1), gaps: make(map[string]uint64),
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

// tell1st says how the start came out, if nobody did before.
func (l *Listener) tell1st(err error) {
	select {
	case l.first <- err:
	default:
	}
}

// follow listens to what src leads to.
func (l *Listener) follow(src source) {
	l.server, l.electorate, l.clustered = src.server, src.electorate, src.clustered
	if l.electorate != nil {
		l.start(l.elect)
		l.start(func() { // under whoever waits for a voter's answer
			<-l.ctx.Done()
			l.electorate.close()
		})
		return
	}
	l.seated = true
	l.mu.Lock()
	p := l.newPrimary(l.server(src.addr))
	l.primaries = []*primary{p}
	l.mu.Unlock()
	l.start(p.run)
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

// join makes the stream live once every primary is heard: what follows is complete. l.stream is held.
func (l *Listener) join() {
	l.mu.Lock()
	whole := len(l.primaries) > 0 && !slices.ContainsFunc(l.primaries, func(p *primary) bool { return p.session == nil })
	l.mu.Unlock()
	if whole && l.seated && !l.live {
		l.resume()
	}
}

// resume makes the stream live (I3: what was known before is dead from here on). l.stream is held.
func (l *Listener) resume() {
	l.live = true
	l.emit(Event{Kind: Synced})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced, l.since = true, time.Now()
	l.broadcast()
}

// lose declares that events may be missing from here on. l.stream is held.
func (l *Listener) lose(reason string) {
	l.mu.Lock()
	l.synced, l.since = false, time.Now()
	l.broadcast()
	l.mu.Unlock()
	l.countGap(reason)
	l.emit(Event{Kind: Gap, Reason: reason})
	l.live = false
	if h := l.opts.Hooks.Gap; h != nil {
		l.guard(func() { h(reason) })
	}
}

// prove moves the watermark to the oldest of the primaries' proofs. l.stream is held.
func (l *Listener) prove() {
	if !l.live {
		return
	}
	l.mu.Lock()
	primaries, agreed := l.primaries, l.seats.agreed
	l.mu.Unlock()
	proof := primaries[0].proof
	if l.electorate != nil {
		if proof = agreed; agreed.IsZero() {
			return
		}
	}
	for _, p := range primaries {
		if !p.answered {
			return
		}
		if p.proof.Before(proof) {
			proof = p.proof
		}
	}
	if hook := l.opts.Hooks.Pong; hook != nil && proof.After(l.proof) {
		l.guard(func() { hook(proof, time.Now()) })
	}
	l.proof = proof
	l.tell1st(nil)
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
	return l.wait(ctx, func() bool { return l.synced })
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
	st := Status{Synced: l.synced && !l.closed, Since: l.since}
	var addrs, runIDs, versions []string
	for _, p := range l.primaries {
		addrs, runIDs, versions = append(addrs, p.rdb.Addr), append(runIDs, p.runID), append(versions, p.version)
		switch {
		case p.session != nil:
			for _, doubt := range p.session.unproven() {
				if !slices.Contains(st.Reasons, doubt) { // the servers of a Cluster lack the same as a rule
					st.Reasons = append(st.Reasons, doubt)
				}
			}
		case p.cause != nil:
			st.Reasons = append(st.Reasons, p.rdb.Addr+": not subscribed: "+p.cause.Error())
		default:
			st.Reasons = append(st.Reasons, p.rdb.Addr+": not subscribed yet")
		}
	}
	st.Addr, st.RunID, st.Version = strings.Join(addrs, ","), strings.Join(runIDs, ","), strings.Join(versions, ",")
	if l.electorate != nil {
		if why := l.seats.reason(); why != "" {
			st.Reasons = append(st.Reasons, why)
		}
	}
	if l.closed {
		st.Reasons = []string{"closed"}
	}
	return st
}

func (l *Listener) addr() string { return l.Status().Addr }

// Stats may be called at any time, after Close too. The counters are not one snapshot.
func (l *Listener) Stats() Stats {
	l.gapsMu.Lock()
	gaps := maps.Clone(l.gaps)
	l.gapsMu.Unlock()
	st := Stats{
		Events: l.events.Load(), Dropped: l.dropped.Load(), Panics: l.panics.Load(),
		Reconnects: l.reconnects.Load(), Planned: l.plannedCount.Load(), GapsByReason: gaps,
	}
	for _, n := range gaps {
		st.Gaps += n
	}
	return st
}
