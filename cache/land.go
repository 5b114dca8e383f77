package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/invalidate"
)

// fly loads k and lands f, whatever becomes of the load.
func (c *Cache[K, V]) fly(ctx context.Context, k K, h uint64, f *flight[K, V], load func(context.Context, K) (V, error)) {
	var rec *invalidate.Record
	c.guarded(func() {
		var lctx context.Context
		rec, lctx = c.record(ctx, k, f.bound)
		v, err := load(lctx, k)
		c.land(k, h, f, rec, v, err)
	}, func(p *PanicError) { c.crash(k, f, rec, p) })
}

// record begins k's record: its stamp is read here, before the load (R3).
func (c *Cache[K, V]) record(ctx context.Context, k K, bound time.Duration) (*invalidate.Record, context.Context) {
	rec, ctx := c.tracker.Record(ctx)
	rec.Within(bound)
	if ctx.Value(manyKey[K]{}) != nil {
		ctx = context.WithValue(ctx, manyKey[K]{}, map[K]context.Context(nil)) // a batch around this load is not its own
	}
	if !c.opts.NoKey {
		rec.DependOn(c.NameOf(k))
	}
	return rec, ctx
}

// guarded runs what calls the user's functions. A panic, or a load that ends its goroutine, goes to crash (R5).
func (c *Cache[K, V]) guarded(run func(), crash func(*PanicError)) {
	ended := false
	defer func() {
		if ended {
			return
		}
		p := &PanicError{Value: recover(), Stack: debug.Stack()}
		if p.Value == nil {
			p.Value = "the load ended its goroutine (runtime.Goexit)"
		}
		c.opts.Logger.Error("freshet: load panicked", "cache", c.opts.Name, "panic", p.Value)
		crash(p)
	}()
	run()
	ended = true
}

// crash lands f with p, unless it has landed.
func (c *Cache[K, V]) crash(k K, f *flight[K, V], rec *invalidate.Record, p *PanicError) {
	if f.entry != nil {
		return
	}
	c.counters.loads.Add(1)
	c.counters.loadErrors.Add(1)
	var valid invalidate.Validity
	if rec != nil { // nil when it was AppendKey that panicked
		valid, _ = rec.Seal()
	}
	c.arrive(k, f, &entry[K, V]{key: k, err: p, valid: valid})
}

// land ends a load: it stores what may be stored, then lets the waiters have it, each of whom decides for itself.
func (c *Cache[K, V]) land(k K, h uint64, f *flight[K, V], rec *invalidate.Record, v V, err error) {
	c.counters.loads.Add(1)
	absent := err != nil && c.absent(err)
	life := c.opts.TTL
	if absent && c.opts.NegativeTTL > 0 {
		life = min(life, c.opts.NegativeTTL)
	}
	life -= time.Duration(c.opts.TTLJitter * rand.Float64() * float64(life))
	rec.ExpireAt(f.began.Add(life))
	if c.out(guard.Seal) {
		rec, _ = c.record(context.Background(), k, 0) // as if what fell meanwhile had been seen
	}
	valid, ok := rec.Seal()
	e := &entry[K, V]{key: k, value: v, err: err, valid: valid}
	if err == nil && c.opts.Clone != nil {
		e.value = c.opts.Clone(v)
	}
	switch {
	case err != nil && !absent:
		c.counters.loadErrors.Add(1)
		if f.timedOut() && errors.Is(err, context.DeadlineExceeded) {
			e.err = fmt.Errorf("%w (%v): %w", ErrLoadTimeout, c.opts.LoadTimeout, err)
		}
		if c.closed.Load() && errors.Is(err, context.Canceled) {
			e.err = ErrClosed
		}
		c.drop(h, k)
	case absent && c.opts.NegativeTTL == 0:
		c.drop(h, k)
	case !ok || !c.onBoard(k, f): // fell, or took longer than LoadTimeout: a later load may have stored since
		c.counters.refused.Add(1)
		if c.opts.Hooks.Refused != nil {
			c.opts.Hooks.Refused(k)
		}
		c.drop(h, k)
	default:
		c.store.Set(h, e, c.cost(e))
	}
	if c.opts.Hooks.Loaded != nil {
		c.opts.Hooks.Loaded(k, time.Since(f.began), err)
	}
	c.arrive(k, f, e)
}

func (c *Cache[K, V]) onBoard(k K, f *flight[K, V]) bool {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	return c.flights.byKey[k] == f
}

// arrive publishes f's result. The entry is in the store by then: who comes after hits.
func (c *Cache[K, V]) arrive(k K, f *flight[K, V], e *entry[K, V]) {
	f.entry = e
	c.flights.mu.Lock()
	if c.flights.byKey[k] == f { // not if it took longer than LoadTimeout and was replaced
		delete(c.flights.byKey, k)
	}
	c.flights.mu.Unlock()
	close(f.done)
}

// drop removes what is in memory of k, if it may not be served any more.
func (c *Cache[K, V]) drop(h uint64, k K) {
	if e := c.find(h, &k); e != nil && c.dead(e) {
		c.store.Del(h, e)
	}
}

func (c *Cache[K, V]) cost(e *entry[K, V]) int64 {
	switch {
	case c.opts.MaxBytes == 0:
		return 1
	case e.err != nil:
		return EntryOverhead
	}
	return max(1, c.opts.Cost(e.key, e.value))
}

func (c *Cache[K, V]) absent(err error) bool {
	var p *PanicError
	return !errors.As(err, &p) && c.opts.NotFound(err)
}

// handUp gives the enclosing load what e rests on, also when e is a failure (R6). A failure that is no absence may be
// over at any moment, and no event will say so: what is built on it is not stored.
func (c *Cache[K, V]) handUp(rec *invalidate.Record, e *entry[K, V]) {
	rec.Inherit(&e.valid)
	if e.err != nil && !c.absent(e.err) {
		rec.NoStore()
	}
}

// spoil keeps the enclosing load, if there is one, out of memory: a read of it failed and nothing tells when it would
// not have.
func spoil(rec *invalidate.Record) {
	if rec != nil {
		rec.NoStore()
	}
}
