package invalidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// Tracker hears one database of one Redis and remembers what fell when. All its methods may be called from any
// goroutine.
type Tracker struct {
	// Every hit reads these three; only gaps and heartbeats write them.
	epoch     atomic.Uint64           // raised whenever events may have been lost: what is older is dead (I3)
	watermark atomic.Pointer[instant] // R9: there is proof that every event before it has been applied; nil: none yet
	ledger    *ledger
	pause     func(where int) // tests alone: runs in the middle of a check

	_ [64]byte

	rdb      redis.UniversalClient
	db       int
	single   bool // rdb is of one server
	listener *notify.Listener
	names    string // namespace + "name:": where tags and prefixes are announced
	echo     string // the payload of this tracker's own announcements, which it has applied before they come back
	hooks    Hooks
	log      *slog.Logger
	out      guard.Set // tests alone

	heartbeat time.Duration
	covering  sync.Mutex              // held while covers are added, and while closed is set
	covers    atomic.Pointer[[]cover] // nil: every key
	follow    bool

	closed atomic.Bool
	life   context.Context // ends with Close
	end    context.CancelFunc
	wg     sync.WaitGroup // the announcer and pending covers

	unsent unsent
	stats  counters
}

// Connect subscribes and confirms, and returns once the stream is proven: with the first answered ping. ctx bounds the
// start alone; Close ends the tracker. rdb must speak to the primary whose keys are cached: a client of one server, of a
// Cluster, or of [redis.NewFailoverClient], whose options Options.Notify.Sentinel then needs too. It stays the caller's.
//
// Errors: a *notify.SetupError when the server or its ACL stands in the way, which names the line that mends it;
// notify.ErrUnsupported for a Ring, and for clients that may read replicas; the dial's error when Redis is away, unless
// Options.Notify.StartDown.
func Connect(ctx context.Context, rdb redis.UniversalClient, opts Options) (*Tracker, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Slots == 0 {
		opts.Slots = defaultSlots
	}
	no := opts.Notify
	if no.Namespace == "" {
		no.Namespace = notify.DefaultNamespace
	}
	if no.Logger == nil {
		no.Logger = opts.Logger
	}
	t := &Tracker{
		ledger:    newLedger(opts.Slots),
		rdb:       rdb,
		names:     no.Namespace + namesUnder,
		echo:      touchEvent + ":" + newInstance(),
		hooks:     opts.Hooks,
		log:       opts.Logger,
		out:       guard.In(ctx),
		follow:    opts.FollowCaches,
		heartbeat: cmp.Or(no.Heartbeat, notify.DefaultHeartbeat),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.ledger.counterFirst = t.out.Has(guard.Order)
	t.unsent.wake = make(chan struct{}, 1)
	if no.Prefixes != nil || opts.FollowCaches {
		list := make([]cover, 0, len(no.Prefixes))
		for _, p := range no.Prefixes {
			list = append(list, cover{prefix: p})
		}
		t.covers.Store(&list)
		no.Prefixes = append(append([]string(nil), no.Prefixes...), t.names)
	}
	user := no.Hooks
	no.Hooks.Event = func(ev *notify.Event) {
		t.on(ev)
		if user.Event != nil {
			user.Event(ev)
		}
	}
	no.Hooks.Pong = func(sent, received time.Time) {
		t.proven(sent)
		if user.Pong != nil {
			user.Pong(sent, received)
		}
	}
	t.life, t.end = context.WithCancel(context.Background())
	if client, ok := rdb.(*redis.Client); ok && client != nil {
		t.db, t.single = client.Options().DB, client.Options().Addr != failoverAddr
	}
	l, err := notify.Listen(ctx, rdb, no)
	if err != nil {
		t.end()
		return nil, fmt.Errorf("invalidate: %w", err)
	}
	t.listener = l
	t.wg.Go(t.announceUnsent)
	return t, nil
}

// on applies one event of the stream. It runs on the receive loop and blocks on nothing but the ledger's mutex (I5).
func (t *Tracker) on(ev *notify.Event) {
	switch ev.Kind {
	case notify.Change:
		t.stats.events.Add(1)
		if ev.Name == t.echo && !t.out.Has(guard.Own) {
			return // applied before Touch returned, after the write it announces: R12
		}
		if t.out.Has(guard.Slots) {
			return
		}
		n, all := nameOf(ev.Key, t.names)
		switch {
		case all:
			t.raise("announced")
		case n.kind == KindKey:
			t.ledger.fallKey(n.text)
			t.stats.invalidations.Add(1)
			t.told(n, ev.Name)
		default:
			t.apply(ev.Name, nil, n)
		}
	case notify.Flush:
		if !t.out.Has(guard.Flush) {
			t.raise("flush")
		}
	case notify.Synced:
		// R10: whatever was loaded before the new subscription was confirmed may have missed an event.
		if !t.out.Has(guard.Epoch) {
			t.raise("synced")
		}
		t.wakeAnnouncer()
	case notify.Gap:
		t.stats.gap(ev.Reason)
	}
}

// apply makes names fall in this process: by their slots, or all at once when they are too many (R13) or reach too far. by
// outlives it, as in [ledger.fall].
func (t *Tracker) apply(event string, by *Validity, names ...Name) {
	if len(names) == 0 {
		return
	}
	t.stats.invalidations.Add(uint64(len(names)))
	if len(names) > len(t.ledger.slots)/8 {
		t.raise("storm")
		return
	}
	if !t.ledger.fall(names, by) {
		t.raise("prefix")
	}
	if t.hooks.Invalidated != nil {
		for _, n := range names {
			t.told(n, event)
		}
	}
}

func (t *Tracker) told(n Name, event string) {
	if t.hooks.Invalidated != nil {
		t.hooks.Invalidated(n, event)
	}
}

// raise makes everything fall that is cached or being loaded.
func (t *Tracker) raise(reason string) {
	// A stamp too, for covers and prefixes reckon in stamps.
	t.ledger.step()
	t.epoch.Add(1)
	if t.hooks.Epoch != nil {
		t.hooks.Epoch(reason)
	}
}

// proven moves the watermark: R9, the answer to a ping sent then proves the stream up to then. Receive loop only.
func (t *Tracker) proven(sent time.Time) {
	mark := instantOf(sent)
	if t.out.Has(guard.Watermark) {
		mark = instant{never.mono / 2, never.wall / 2}
	}
	t.watermark.Store(&mark)
	if t.unsent.any.Load() {
		t.wakeAnnouncer()
	}
}

// Fence returns nil once this process has applied every write to this Redis that completed before the call: every read
// that begins after it sees them. It costs a round trip on the subscription, shared by concurrent fences. While the
// stream is lost it waits for the next session or ctx, whose error it then wraps beside [ErrUnsynced].
//
// It says nothing of writes elsewhere (a SQL database) until these are announced by [Tracker.Touch].
func (t *Tracker) Fence(ctx context.Context) error {
	if t.closed.Load() {
		return ErrClosed
	}
	if t.out.Has(guard.Fence) {
		return nil
	}
	began := time.Now()
	if err := t.listener.Fence(ctx); err != nil {
		return t.waitError("fence", err)
	}
	t.stats.fenceRTT.Store(int64(time.Since(began)))
	return nil
}

// Heartbeat is how often the watermark is proven anew: the least that MaxStaleness can usefully be is twice that.
func (t *Tracker) Heartbeat() time.Duration { return t.heartbeat }

// Synced reports whether the stream is live.
func (t *Tracker) Synced() bool { return !t.closed.Load() && t.listener.Status().Synced }

// WaitSynced blocks until the stream is live: after a start with StartDown, after a gap.
func (t *Tracker) WaitSynced(ctx context.Context) error {
	if t.closed.Load() {
		return ErrClosed
	}
	if err := t.listener.WaitSynced(ctx); err != nil {
		return t.waitError("wait", err)
	}
	return nil
}

func (t *Tracker) waitError(what string, err error) error {
	if errors.Is(err, notify.ErrClosed) || t.closed.Load() {
		return ErrClosed
	}
	if !t.listener.Status().Synced {
		return fmt.Errorf("invalidate: %s: %w: %w", what, ErrUnsynced, err)
	}
	return fmt.Errorf("invalidate: %s: %w", what, err)
}

// Staleness is the age of the last proof that every event has been applied; the largest duration when there has been
// none. It is the number to watch: while it is below a cache's MaxStaleness, that cache serves from memory.
func (t *Tracker) Staleness() time.Duration {
	mark := t.watermark.Load()
	if mark == nil {
		return math.MaxInt64
	}
	return max(0, now().since(*mark))
}

// Close ends the subscription and waits for every goroutine. What is cached on this tracker is dead; caches on it load
// through. Safe twice and from any goroutine; the second call returns nil once the first is done.
func (t *Tracker) Close() error {
	t.covering.Lock()
	t.closed.Store(true) // under covering: no goroutine starts after this
	t.covering.Unlock()
	t.end()
	err := t.listener.Close()
	t.wg.Wait()
	t.raise("closed")
	if errors.Is(err, notify.ErrClosed) {
		return nil
	}
	return err
}
