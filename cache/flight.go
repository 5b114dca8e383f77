package cache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/invalidate"
)

// flights are the running loads, one a key. They are our own and not golang.org/x/sync/singleflight's, which cannot
// carry R4 and R5: it has no way to wait for a call without taking its result, does not say when a call began or how
// many wait for it, panics again in a goroutine nobody can recover in, and has string keys.
type flights[K comparable, V any] struct {
	mu    sync.Mutex
	byKey map[K]*flight[K, V]
}

// flight is one running load.
type flight[K comparable, V any] struct {
	began   time.Time       // before the record's stamp was read
	bound   time.Duration   // what reads from memory were held to while loading
	node    *node           // of the load, for finding cycles
	expired <-chan struct{} // closed when LoadTimeout has passed
	cancel  func()          // for this key's share of the load
	done    chan struct{}   // closed when entry is written

	waiters   int  // under flights.mu; at zero the load is cancelled
	abandoned bool // under flights.mu: cancelled, nobody may join

	entry *entry[K, V] // the result, stored or not; read after done
}

func (f *flight[K, V]) timedOut() bool {
	select {
	case <-f.expired:
		return true
	default:
		return false
	}
}

// load returns k's entry by a flight: a running one if its result will do, else the next. R4: a result will do if the
// flight began after the call, or if everything it rests on still holds when it ends. Who waits for a running flight in
// vain takes part in the next, which began after the call: two loads at the most.
func (c *Cache[K, V]) load(
	ctx context.Context, k K, h uint64, load func(context.Context, K) (V, error), bound time.Duration, fresh bool,
) (e *entry[K, V], joined bool, err error) {
	rec := invalidate.RecordIn(ctx)
	defer func() {
		switch {
		case rec == nil:
		case e == nil:
			spoil(rec)
		default:
			c.handUp(rec, e)
		}
	}()
	if c.closed.Load() {
		return nil, false, ErrClosed
	}
	if load == nil {
		return nil, false, ErrNoLoader
	}
	if err := c.refused(k); err != nil {
		return nil, false, err
	}
	c.counters.misses.Add(1)
	asked := time.Now()
	for {
		f, mine, ride, err := c.board(ctx, k, h, load, bound, asked, fresh)
		if err != nil {
			return nil, false, err
		}
		if err := c.await(ctx, f, ride); err != nil {
			return nil, false, err
		}
		if mine {
			return f.entry, false, nil
		}
		if ride && c.willDo(f, asked, bound) {
			c.counters.joined.Add(1)
			return f.entry, true, nil
		}
	}
}

// willDo is R4 for one who did not start f.
func (c *Cache[K, V]) willDo(f *flight[K, V], asked time.Time, bound time.Duration) bool {
	if !f.began.Before(asked) {
		return f.bound <= bound || f.entry.valid.LoadedFor(asked, bound)
	}
	return c.out(guard.Join) || f.entry.valid.ProvenFor(asked, bound)
}

// board finds k's flight or starts one, unless one has landed since the caller looked: it leaves the board after its
// entry is in the store, so who finds neither is the next. ride is false when f can only be waited out: its result is of
// no use.
func (c *Cache[K, V]) board(
	ctx context.Context, k K, h uint64, load func(context.Context, K) (V, error), bound time.Duration,
	asked time.Time, fresh bool,
) (f *flight[K, V], mine, ride bool, err error) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if c.closed.Load() {
		return nil, false, false, ErrClosed
	}
	if f := c.flights.byKey[k]; f != nil && !f.timedOut() {
		ride = !f.abandoned && (!fresh || !f.began.Before(asked))
		if ride {
			f.waiters++
		}
		return f, false, ride, nil
	}
	if !fresh {
		if f = c.landed(h, k, bound); f != nil {
			return f, false, true, nil
		}
	}
	lctx, expired, cancel, finish := c.loadContext(ctx)
	f = c.newFlight(k, bound, expired, cancel)
	c.loads.Go(func() {
		defer finish()
		c.fly(f.node.in(lctx), k, h, f, load)
	})
	return f, true, true, nil
}

// landed is the flight that brought what memory has of k, if that may be served; else nil.
func (c *Cache[K, V]) landed(h uint64, k K, bound time.Duration) *flight[K, V] {
	e := c.find(h, &k)
	if e == nil || !e.valid.Valid(bound) {
		return nil
	}
	f := &flight[K, V]{began: time.Now(), bound: bound, node: &node{}, done: make(chan struct{}), entry: e}
	close(f.done)
	return f
}

// newFlight puts a flight with one waiter on the board. Call with flights.mu held.
func (c *Cache[K, V]) newFlight(k K, bound time.Duration, expired <-chan struct{}, cancel func()) *flight[K, V] {
	f := &flight[K, V]{
		began: time.Now(), bound: bound, node: &node{}, expired: expired, cancel: cancel, done: make(chan struct{}),
		waiters: 1,
	}
	if c.flights.byKey == nil {
		c.flights.byKey = make(map[K]*flight[K, V])
	}
	c.flights.byKey[k] = f
	return f
}

// cancelGrace is how long a load that nobody waits for has to end, before another may begin beside it: there are
// clients that heed a deadline and no cancellation, and would keep a key from being read until LoadTimeout. So at most
// one load a key and second is left to itself.
const cancelGrace = time.Second

// loadContext is R5: the caller's values without its cancellation, LoadTimeout applied. cancel ends the load alone, so
// that expired still tells a timeout from a cancellation, but for cancelGrace; finish releases everything.
func (c *Cache[K, V]) loadContext(ctx context.Context) (
	lctx context.Context, expired <-chan struct{}, cancel, finish context.CancelFunc,
) {
	timed, release := context.WithTimeout(context.WithoutCancel(ctx), c.opts.LoadTimeout)
	lctx, stop := context.WithCancel(timed)
	var grace atomic.Pointer[time.Timer]
	cancel = func() {
		stop()
		grace.Store(time.AfterFunc(cancelGrace, release))
	}
	finish = func() {
		release()
		if t := grace.Load(); t != nil {
			t.Stop()
		}
	}
	return lctx, timed.Done(), cancel, finish
}

// await waits for f to land. A rider that leaves leaves alone; the last one cancels the load.
func (c *Cache[K, V]) await(ctx context.Context, f *flight[K, V], ride bool) error {
	if me := nodeIn(ctx); me != nil {
		if !me.wait(f.node) {
			c.leave(f, ride)
			return fmt.Errorf("%w (cache %q)", ErrLoadCycle, c.opts.Name)
		}
		defer me.stopWaiting(f.node)
	}
	var err error
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-f.expired:
		err = fmt.Errorf("%w (%v): %w", ErrLoadTimeout, c.opts.LoadTimeout, context.DeadlineExceeded)
	case <-c.closing:
		err = ErrClosed
	}
	select {
	case <-f.done:
		return nil
	default:
	}
	c.leave(f, ride)
	if !ride && f.timedOut() {
		return nil // the load that was only waited out is given up: the next one may start
	}
	return err
}

func (c *Cache[K, V]) leave(f *flight[K, V], ride bool) {
	if !ride {
		return
	}
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	f.waiters--
	if f.waiters == 0 {
		f.abandoned = true
		f.cancel()
	}
}
