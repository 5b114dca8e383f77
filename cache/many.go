package cache

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"golang.org/x/sync/errgroup"
)

// loadsAtOnce bounds GetMany without LoadMany.
const loadsAtOnce = 8

// GetMany returns the values of ks. What memory lacks is loaded by one call of Options.LoadMany, less what other calls
// are loading already; without LoadMany by Load, eight at a time. Absent keys are not in the map. On an error the map
// has what was found all the same, and where loads failed the error is a [KeyErrors].
func (c *Cache[K, V]) GetMany(ctx context.Context, ks []K) (map[K]V, error) {
	rec := invalidate.RecordIn(ctx)
	if c.closed.Load() {
		spoil(rec)
		return nil, ErrClosed
	}
	bound := c.bound(0, rec)
	found := make(map[K]V, len(ks))
	failed := make(KeyErrors[K])
	take := func(k K, e *entry[K, V], err error) {
		var v V
		if err == nil {
			v, err = c.give(e)
		}
		switch {
		case err == nil:
			found[k] = v
		case !c.absent(err):
			failed[k] = err
		}
	}
	hashes := make(map[K]uint64, len(ks)) // of those that are missing, once that is known
	once := make([]K, 0, len(ks))
	for _, k := range ks {
		if _, twice := hashes[k]; twice {
			continue
		}
		if err := c.refused(k); err != nil {
			return nil, err
		}
		hashes[k] = 0
		once = append(once, k)
	}
	var missing []K
	c.lookMany(once, rec, bound, func(i int, e *entry[K, V]) {
		if k := once[i]; e != nil {
			take(k, e, nil)
		} else {
			missing = append(missing, k)
			hashes[k] = c.hash(k)
		}
	})
	switch {
	case len(missing) == 0:
	case c.opts.LoadMany == nil:
		type result struct {
			e   *entry[K, V]
			err error
		}
		results := make([]result, len(missing))
		var g errgroup.Group
		g.SetLimit(loadsAtOnce)
		for i, k := range missing {
			g.Go(func() error {
				r := &results[i]
				r.e, _, r.err = c.load(ctx, k, hashes[k], c.loader, bound, false)
				return nil
			})
		}
		_ = g.Wait() // never an error: each result has its own
		for i, k := range missing {
			take(k, results[i].e, results[i].err)
		}
	default:
		c.loadMany(ctx, missing, hashes, rec, bound, take)
	}
	if len(failed) > 0 {
		return found, failed
	}
	return found, nil
}

// loadMany boards a flight for each key. Those that nobody else is loading share one load.
func (c *Cache[K, V]) loadMany(
	ctx context.Context, ks []K, hashes map[K]uint64, rec *invalidate.Record, bound time.Duration,
	take func(K, *entry[K, V], error),
) {
	asked := time.Now()
	flights, mine, err := c.boardMany(ctx, ks, hashes, bound)
	if err != nil {
		spoil(rec)
		for _, k := range ks {
			take(k, nil, err)
		}
		return
	}
	for i, k := range ks {
		f := flights[i]
		if f == nil { // abandoned when we came: wait it out alone
			e, _, err := c.load(ctx, k, hashes[k], c.loader, bound, false)
			take(k, e, err)
			continue
		}
		c.counters.misses.Add(1)
		switch err := c.await(ctx, f, true); {
		case err != nil:
			spoil(rec)
			take(k, nil, err)
		case mine[k] || c.willDo(f, asked, bound):
			if !mine[k] {
				c.counters.joined.Add(1)
			}
			if rec != nil {
				c.handUp(rec, f.entry)
			}
			take(k, f.entry, nil)
		default: // it fell under way: the next flight
			e, _, err := c.load(ctx, k, hashes[k], c.loader, bound, false)
			take(k, e, err)
		}
	}
}

// boardMany joins the flights of ks that others have started and starts the rest as one load. A nil flight is one that
// cannot be joined.
func (c *Cache[K, V]) boardMany(ctx context.Context, ks []K, hashes map[K]uint64, bound time.Duration) (
	flights []*flight[K, V], mine map[K]bool, err error,
) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if c.closed.Load() {
		return nil, nil, ErrClosed
	}
	lctx, expired, cancelLoad, finish := c.loadContext(ctx)
	b := &batch[K, V]{node: &node{}}
	cancel := func() {
		if b.waited.Add(-1) == 0 { // each flight calls it once, when nobody waits for it any more
			cancelLoad()
		}
	}
	flights = make([]*flight[K, V], len(ks))
	mine = make(map[K]bool)
	for i, k := range ks {
		f := c.flights.byKey[k]
		if f != nil && f.timedOut() {
			f = nil
		}
		if f != nil && f.abandoned {
			continue
		}
		if f != nil {
			f.waiters++
		} else if f = c.landed(hashes[k], k, bound); f == nil {
			f = c.newFlight(k, bound, expired, cancel)
			f.node = b.node
			b.waited.Add(1)
			b.keys, b.flights = append(b.keys, k), append(b.flights, f)
			mine[k] = true
		}
		flights[i] = f
	}
	if len(b.keys) == 0 {
		finish()
		return flights, mine, nil
	}
	c.loads.Go(func() {
		defer finish()
		c.flyMany(b.node.in(lctx), b, hashes, bound)
	})
	return flights, mine, nil
}

// batch is several keys' flights on one load.
type batch[K comparable, V any] struct {
	node    *node
	keys    []K
	flights []*flight[K, V]
	waited  atomic.Int64 // flights that somebody waits for
}

type manyKey[K comparable] struct{}

// ForKey returns, inside LoadMany, the context of k's own entry: [invalidate.DependOn], [invalidate.ExpireIn] and
// [invalidate.NoStore] on it act on that entry alone, on LoadMany's own context on all of the batch. Elsewhere it
// returns ctx.
func ForKey[K comparable](ctx context.Context, k K) context.Context {
	if own, ok := ctx.Value(manyKey[K]{}).(map[K]context.Context); ok && own[k] != nil {
		return own[k]
	}
	return ctx
}

// flyMany loads a batch. What was recorded on the batch's context counts for every key.
func (c *Cache[K, V]) flyMany(ctx context.Context, b *batch[K, V], hashes map[K]uint64, bound time.Duration) {
	records := make([]*invalidate.Record, len(b.keys))
	c.guarded(func() {
		shared, ctx := c.tracker.Record(ctx)
		shared.Within(bound)
		own := make(map[K]context.Context, len(b.keys))
		for i, k := range b.keys {
			records[i], own[k] = c.record(ctx, k, bound)
		}
		// A copy: the loader may sort it.
		found, err := c.opts.LoadMany(context.WithValue(ctx, manyKey[K]{}, own), slices.Clone(b.keys))
		each, err := split(err, b.keys)
		valid, _ := shared.Seal()
		for i, k := range b.keys {
			records[i].Inherit(&valid)
			v, ok := found[k]
			kerr := cmp.Or(err, each[k])
			if kerr == nil && !ok {
				kerr = c.opts.Absent
			}
			c.land(k, hashes[k], b.flights[i], records[i], v, kerr)
		}
	}, func(p *PanicError) {
		for i, k := range b.keys {
			c.crash(k, b.flights[i], records[i], p)
		}
	})
}
