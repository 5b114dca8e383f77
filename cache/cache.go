package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/invalidate"
)

// Cache is a near cache for values of type V under keys of type K. All methods may be called from any goroutine.
type Cache[K comparable, V any] struct {
	opts    Options[K, V] // with defaults; never changed
	tracker *invalidate.Tracker
	store   store.Store
	seed    maphash.Seed
	loader  func(context.Context, K) (V, error) // Load, or LoadMany of one; nil without either

	closed  atomic.Bool
	closing chan struct{} // closed with the cache
	once    sync.Once
	loads   sync.WaitGroup // the flights' goroutines

	flights  flights[K, V]
	counters counters
}

// entry is what the store keeps: never changed after it is stored, and stored once at most. One allocation holds it all:
// a hit costs what it has to wait for memory.
type entry[K comparable, V any] struct {
	store.Slot   // the store's own
	key        K // compared at each hit: the store knows hashes alone
	value      V
	valid      invalidate.Validity
	err        error // the loader's own, when the key is absent
}

// New makes a cache on tracker. It fails where the options are no good (the error names the field), where Prefix lies
// outside what tracker listens to ([invalidate.ErrNotCovered]), and where tracker is closed.
//
// With invalidate.Options.FollowCaches it waits up to two seconds for the prefix's subscription while Redis is heard.
func New[K comparable, V any](tracker *invalidate.Tracker, opts Options[K, V]) (*Cache[K, V], error) {
	if tracker == nil {
		return nil, errors.New("cache: tracker is nil: make one with invalidate.Connect")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults(tracker.Heartbeat())
	if least := 2 * tracker.Heartbeat(); opts.MaxStaleness < least {
		return nil, fmt.Errorf("cache: Options.MaxStaleness is %v, below two heartbeats of the tracker (%v): "+
			"raise it, or lower notify.Options.Heartbeat", opts.MaxStaleness, least)
	}
	if !opts.NoKey {
		if err := cover(tracker, opts.Prefix); err != nil {
			return nil, fmt.Errorf("cache: Options.Prefix: %w", err)
		}
	}
	c := &Cache[K, V]{
		opts:     opts,
		tracker:  tracker,
		seed:     maphash.MakeSeed(),
		loader:   opts.Load,
		closing:  make(chan struct{}),
		counters: newCounters(),
	}
	if many := opts.LoadMany; c.loader == nil && many != nil {
		c.loader = func(ctx context.Context, k K) (v V, err error) {
			found, err := many(ctx, []K{k})
			each, err := split(err, []K{k})
			if err = cmp.Or(err, each[k]); err != nil {
				return v, err
			}
			v, ok := found[k]
			if !ok {
				return v, opts.Absent
			}
			return v, nil
		}
	}
	cfg := store.Config{
		MaxCost:      opts.MaxBytes,
		CountEntries: opts.MaxEntries > 0,
		Hits:         c.counters.hits,
		Dead: func(v any) bool {
			e, ok := v.(*entry[K, V])
			return ok && c.dead(e)
		},
		Evicted: func(_ uint64, v any) {
			e, ok := v.(*entry[K, V])
			if !ok {
				return // an engine's mistake
			}
			reason := "capacity"
			if _, s := e.valid.Check(c.opts.MaxStaleness); s == invalidate.Fallen || s == invalidate.Expired {
				reason = s.String()
			} else {
				c.counters.evicted.Add(1)
			}
			c.evict(e, reason)
		},
	}
	if cfg.CountEntries {
		cfg.MaxCost = int64(opts.MaxEntries)
	}
	var err error
	if c.store, err = opts.Store(cfg); err != nil {
		return nil, fmt.Errorf("cache: Options.Store: %w", err)
	}
	return c, nil
}

func cover(tracker *invalidate.Tracker, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if !tracker.Synced() {
		cancel() // the subscription goes on by itself, and nothing is stored before it is confirmed
	}
	err := tracker.Cover(ctx, prefix)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Get returns k's value from memory or by Options.Load. An absence comes back as the loader's own error. A hit costs
// about as much as a look-up in the store plus one reading of the clock, and allocates nothing.
func (c *Cache[K, V]) Get(ctx context.Context, k K) (V, error) {
	return c.get(ctx, k, c.loader)
}

// GetWith is Get with a loader of the call's own. All loads of one key must mean the same: whoever comes first loads
// for all. A func literal or method value at the call site may cost an allocation at each call, see [Cache.Wrap].
func (c *Cache[K, V]) GetWith(ctx context.Context, k K, load func(context.Context, K) (V, error)) (V, error) {
	return c.get(ctx, k, load)
}

// Wrap returns load cached in c: a function like it that asks memory first. It is [Cache.GetWith] for a loader that is
// known once: give it a cache without Options.Load, or a load that means the same and depends on the same, for whoever
// comes first loads for all.
func (c *Cache[K, V]) Wrap(load func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	return func(ctx context.Context, k K) (V, error) { return c.get(ctx, k, load) }
}

func (c *Cache[K, V]) get(ctx context.Context, k K, load func(context.Context, K) (V, error)) (V, error) {
	h := c.hash(k)
	rec := invalidate.RecordIn(ctx)
	bound := c.bound(0, rec)
	if e, _, _ := c.look(h, &k, rec, bound); e != nil {
		return c.give(e)
	}
	e, _, err := c.load(ctx, k, h, load, bound, false)
	if err != nil {
		var none V
		return none, err
	}
	return c.give(e)
}

// ReadOptions for [Cache.Read]. The zero value is Get.
type ReadOptions struct {
	MaxStaleness time.Duration // tighter than the cache's, for this value and all it is loaded from; 0: the cache's
	Fence        bool          // see every write that completed before the call; see [Cache.Read]
	Refresh      bool          // load though memory has it; a load that began before the call does not count
}

// Result of [Cache.Read].
type Result[V any] struct {
	Value     V
	Hit       bool          // from memory
	Joined    bool          // from a load that another call had begun
	Stale     bool          // beyond MaxStaleness, by Options.Beyond
	Staleness time.Duration // the proven bound of this very value: it was current that long ago, or later
}

// Read is Get that can be told more and tells more. Hit, Stale and Staleness are also right beside an absence's error.
//
// With Fence it asks the tracker for a fence first. While Redis is not heard there is nothing to ask, and a load that
// begins after the call takes its place, in which nothing comes from memory: it sees the same writes, provided that it
// reads the truth.
func (c *Cache[K, V]) Read(ctx context.Context, k K, how ReadOptions) (Result[V], error) {
	var r Result[V]
	if how.MaxStaleness < 0 {
		return r, fmt.Errorf("cache: ReadOptions.MaxStaleness is %v: give a positive duration, or 0 for the cache's",
			how.MaxStaleness)
	}
	if how.Fence && !c.closed.Load() {
		if err := c.fence(ctx); err != nil {
			if ctx.Err() != nil {
				spoil(invalidate.RecordIn(ctx))
				return r, err
			}
			how.Refresh = true
			how.MaxStaleness = 1 // ns: nothing from memory is proven for that
		}
	}
	h := c.hash(k)
	rec := invalidate.RecordIn(ctx)
	bound := c.bound(how.MaxStaleness, rec)
	if !how.Refresh {
		if e, age, stale := c.look(h, &k, rec, bound); e != nil {
			r = Result[V]{Hit: true, Stale: stale, Staleness: age}
			var err error
			r.Value, err = c.give(e)
			return r, err
		}
	}
	e, joined, err := c.load(ctx, k, h, c.loader, bound, how.Refresh)
	if err != nil {
		return r, err
	}
	if e.err != nil && !c.absent(e.err) {
		return r, e.err
	}
	r.Joined = joined
	r.Staleness, _ = e.valid.Check(0) // the better of both proofs
	r.Value, err = c.give(e)
	return r, err
}

// fence gives up on a stream that has fallen silent rather than wait for the next session.
func (c *Cache[K, V]) fence(ctx context.Context) error {
	if !c.tracker.Synced() {
		return invalidate.ErrUnsynced
	}
	ctx, cancel := context.WithTimeout(ctx, 4*c.tracker.Heartbeat())
	defer cancel()
	return c.tracker.Fence(ctx)
}

// Peek returns k's value if memory has it and may serve it; it never loads, and counts nothing. An absence is not a
// value.
func (c *Cache[K, V]) Peek(k K) (V, bool) {
	var none V
	e := c.find(c.hash(k), &k)
	if e == nil || e.err != nil || !e.valid.Valid(c.opts.MaxStaleness) {
		return none, false
	}
	v, _ := c.give(e)
	return v, true
}

// Lookup is Get that never loads: ok is false, and nothing is counted, when memory has nothing that may be served. An
// absence is served as its error.
func (c *Cache[K, V]) Lookup(ctx context.Context, k K) (v V, ok bool, err error) {
	rec := invalidate.RecordIn(ctx)
	e, _, _ := c.look(c.hash(k), &k, rec, c.bound(0, rec))
	if e == nil {
		return v, false, nil
	}
	v, err = c.give(e)
	return v, true, err
}

// Close ends the cache: running loads are cancelled and waited for, those who wait for them get ErrClosed. Safe twice
// and from any goroutine but a load's own. The tracker stays the caller's.
func (c *Cache[K, V]) Close() error {
	var err error
	c.once.Do(func() {
		c.flights.mu.Lock()
		c.closed.Store(true) // under mu: no flight starts after this
		close(c.closing)
		for _, f := range c.flights.byKey {
			f.cancel()
		}
		c.flights.mu.Unlock()
		c.loads.Wait()
		err = c.store.Close()
	})
	return err
}

// bound is the tightest of the call's, the cache's and the enclosing loads' MaxStaleness (R6).
func (c *Cache[K, V]) bound(call time.Duration, rec *invalidate.Record) time.Duration {
	bound := c.opts.MaxStaleness
	if call > 0 && call < bound {
		bound = call
	}
	if around := rec.Bound(); around > 0 && around < bound {
		bound = around
	}
	return bound
}

func (c *Cache[K, V]) hash(k K) uint64 {
	if c.opts.Hash != nil {
		return c.opts.Hash(c.seed, k)
	}
	return maphash.Comparable(c.seed, k)
}

// find returns what the store has for k, valid or not.
func (c *Cache[K, V]) find(h uint64, k *K) *entry[K, V] {
	v, ok := c.store.Get(h)
	if !ok {
		return nil
	}
	e, ok := v.(*entry[K, V])
	if !ok || e.key != *k {
		return nil
	}
	return e
}

// look returns an entry that may be served now, and hands up to rec what it rests on (R6).
func (c *Cache[K, V]) look(h uint64, k *K, rec *invalidate.Record, bound time.Duration) (
	e *entry[K, V], staleness time.Duration, stale bool,
) {
	if c.closed.Load() {
		return nil, 0, false
	}
	e = c.find(h, k)
	if e == nil {
		return nil, 0, false
	}
	staleness, state := e.valid.Check(bound)
	ok, stale := c.serves(e, staleness, state, rec, bound)
	if !ok {
		return nil, staleness, false
	}
	return e, staleness, stale
}

// serves reports whether e, as it was found to be, is served to who asked for bound, and if so counts it and hands up.
func (c *Cache[K, V]) serves(
	e *entry[K, V], staleness time.Duration, state invalidate.State, rec *invalidate.Record, bound time.Duration,
) (ok, stale bool) {
	n := c.counters.stripe()
	switch {
	case state == invalidate.Current:
	case state == invalidate.Unproven && c.opts.Beyond == ServeStale && bound == c.opts.MaxStaleness:
		// Not where the call, or a load around it, asks for more than the cache promises.
		stale = true
		n.stale.Add(1)
		if rec != nil {
			rec.NoStore()
		}
	default:
		if state != invalidate.Unproven && c.opts.Hooks.Evict != nil {
			c.evict(e, state.String())
		}
		return false, false
	}
	if rec != nil {
		rec.Inherit(&e.valid)
	}
	if stale {
		n.hits.Add(1)
	} else {
		n.hit(staleness)
	}
	if e.err != nil {
		n.negative.Add(1)
	}
	return true, stale
}

// give hands an entry's value out.
func (c *Cache[K, V]) give(e *entry[K, V]) (V, error) {
	if c.opts.Clone != nil && e.err == nil {
		return c.opts.Clone(e.value), nil
	}
	return e.value, e.err
}

// dead reports that e can never be served again.
func (c *Cache[K, V]) dead(e *entry[K, V]) bool {
	_, s := e.valid.Check(c.opts.MaxStaleness)
	return s == invalidate.Fallen || s == invalidate.Expired
}

func (c *Cache[K, V]) evict(e *entry[K, V], reason string) {
	if c.opts.Hooks.Evict != nil {
		c.opts.Hooks.Evict(e.key, reason)
	}
}

// out reports whether tests have taken guard g out.
func (c *Cache[K, V]) out(g guard.Set) bool { return c.opts.without.Has(g) }
