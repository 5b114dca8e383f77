package rediscache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// within ends a test that hangs; it measures nothing.
const within = 20 * time.Second

// slack is a bound that no test waits for.
const slack = time.Hour

func connect(t testing.TB, rdb redis.UniversalClient, opts invalidate.Options) *invalidate.Tracker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tr, err := invalidate.Connect(ctx, rdb, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// server is a real one, a client of it, and a tracker on that client.
func server(t testing.TB, args ...string) (*redistest.Server, *redis.Client, *invalidate.Tracker) {
	t.Helper()
	s := redistest.Start(t, args...)
	rdb := s.Client(t)
	return s, rdb, connect(t, rdb, invalidate.Options{})
}

// deaf is a client of the server at addr and a tracker whose stream can be held back, so that no event helps.
func deaf(t testing.TB, addr string) (rdb *redis.Client, tr *invalidate.Tracker, hold func()) {
	t.Helper()
	p := faultproxy.New(t, addr)
	rdb = redis.NewClient(&redis.Options{Addr: p.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	tr = connect(t, rdb, invalidate.Options{Notify: notify.Options{PongTimeout: time.Hour, AuditEvery: -1}})
	return rdb, tr, func() { p.Having("psubscribe").Hold(faultproxy.ToClient) }
}

// of fills in what every test's cache needs.
func of[V any](opts cache.Options[string, V]) cache.Options[string, V] {
	if opts.Prefix == "" {
		opts.Prefix = "p:"
	}
	opts.MaxEntries, opts.MaxStaleness = 10_000, slack
	return opts
}

func texts(t testing.TB, tr *invalidate.Tracker, rdb redis.UniversalClient) *cache.Cache[string, string] {
	t.Helper()
	return keep(t)(New(tr, rdb, Text(), of(cache.Options[string, string]{NegativeTTL: slack})))
}

// keep closes a cache at the test's end.
func keep(t testing.TB) func(*cache.Cache[string, string], error) *cache.Cache[string, string] {
	return func(c *cache.Cache[string, string], err error) *cache.Cache[string, string] { return kept(t, c, err) }
}

func kept[V any](t testing.TB, c *cache.Cache[string, V], err error) *cache.Cache[string, V] {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// do runs one command.
func do(t testing.TB, rdb *redis.Client, args ...any) {
	t.Helper()
	if err := rdb.Do(t.Context(), args...).Err(); err != nil && err != redis.Nil {
		t.Fatalf("%v: %v", args, err)
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

// read is Read that must succeed.
func read[V any](t testing.TB, c *cache.Cache[string, V], k string) cache.Result[V] {
	t.Helper()
	r, err := c.Read(t.Context(), k, cache.ReadOptions{})
	if err != nil {
		t.Fatalf("%s: %v", k, err)
	}
	return r
}

// pipelines lets a test step between a client's pipelines and the server.
type pipelines struct {
	trips atomic.Int64
	each  func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error // nil: pass
}

func (h *pipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.trips.Add(1)
		if h.each != nil {
			return h.each(ctx, cmds, next)
		}
		return next(ctx, cmds)
	}
}
