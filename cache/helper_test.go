package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
)

// within ends a test that hangs; it measures nothing.
const within = 20 * time.Second

func connect(t testing.TB, s *redistest.Server, opts invalidate.Options) *invalidate.Tracker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tr, err := invalidate.Connect(ctx, s.Client(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// tracker is one on a server of its own, with a MaxStaleness that no test waits for unless it says so.
func tracker(t testing.TB) *invalidate.Tracker {
	t.Helper()
	leak.Check(t)
	return connect(t, redistest.Start(t), invalidate.Options{})
}

// server is tracker with the server in the test's hands.
func server(t testing.TB) (*redistest.Server, *invalidate.Tracker) {
	t.Helper()
	leak.Check(t)
	s := redistest.Start(t)
	return s, connect(t, s, invalidate.Options{})
}

func build[K comparable, V any](t testing.TB, tr *invalidate.Tracker, opts Options[K, V]) *Cache[K, V] {
	t.Helper()
	if opts.Prefix == "" && !opts.NoKey {
		opts.Prefix = "k:"
	}
	if opts.MaxEntries == 0 && opts.MaxBytes == 0 {
		opts.MaxEntries = 1000
	}
	if opts.MaxStaleness == 0 {
		opts.MaxStaleness = time.Hour
	}
	c, err := New(tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// origin is a loader that counts, and that a test can stop in mid-load.
type origin struct {
	loads atomic.Int64
	truth atomic.Int64
	gates chan *gate // nil: never stops
}

// gate is one load that has read the truth and waits.
type gate struct {
	ctx  context.Context
	read int64
	open chan error
}

func (o *origin) load(ctx context.Context, _ string) (int64, error) {
	o.loads.Add(1)
	v := o.truth.Load()
	if o.gates == nil {
		return v, nil
	}
	g := &gate{ctx: ctx, read: v, open: make(chan error)}
	select {
	case o.gates <- g:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case err := <-g.open:
		return v, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func gated() *origin { return &origin{gates: make(chan *gate)} }

// next is the load that has begun and waits.
func (o *origin) next(t testing.TB) *gate {
	t.Helper()
	select {
	case g := <-o.gates:
		return g
	case <-time.After(within):
		t.Fatal("no load began")
		return nil
	}
}

// call runs f and lets the test wait for what it returned.
type call[T any] struct {
	done chan struct{}
	v    T
	err  error
}

func async[T any](f func() (T, error)) *call[T] {
	c := &call[T]{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.v, c.err = f()
	}()
	return c
}

func (c *call[T]) wait(t testing.TB) (T, error) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(within):
		t.Fatal("a call did not return")
	}
	return c.v, c.err
}

// waiting blocks until n callers ride the flight of k.
func waiting[K comparable, V any](t testing.TB, c *Cache[K, V], k K, n int) {
	t.Helper()
	eventually(t, "callers join the flight", func() bool {
		c.flights.mu.Lock()
		defer c.flights.mu.Unlock()
		f := c.flights.byKey[k]
		return f != nil && f.waiters == n
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func fence(t testing.TB, tr *invalidate.Tracker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := tr.Fence(ctx); err != nil {
		t.Fatal(err)
	}
}
