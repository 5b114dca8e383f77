package cache

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/gofreshet/freshet/invalidate"
)

// benchKeys are how many keys are read in turn: few enough for the processor's caches, and not.
var benchKeys = []int{1 << 10, 1 << 14}

func benchCache[K comparable](b *testing.B, n int, key func(int) K, opts Options[K, *int]) (*Cache[K, *int], []K) {
	opts.MaxEntries = 4 * n
	if opts.Load == nil {
		opts.Load = func(context.Context, K) (*int, error) { return new(int), nil }
	}
	c := build(b, tracker(b), opts)
	keys := make([]K, n)
	for i := range keys {
		keys[i] = key(i)
		if _, err := c.Get(b.Context(), keys[i]); err != nil {
			b.Fatal(err)
		}
	}
	return c, keys
}

func text(i int) string { return fmt.Sprintf("product-%08d", i) }

// hits is the loop that all hit benchmarks share.
func hits[K comparable](b *testing.B, c *Cache[K, *int], ctx context.Context, keys []K) {
	before := c.Stats().Misses
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := c.Get(ctx, keys[i&(len(keys)-1)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(c.Stats().Misses-before)/float64(b.N), "misses/op")
}

// BenchmarkHit compares a hit with a bare ristretto string-key Get whose entries have a TTL. Read both from one run.
func BenchmarkHit(b *testing.B) {
	for _, n := range benchKeys {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkHit(b, n) })
	}
}

func benchmarkHit(b *testing.B, n int) {
	ctx := context.Background()
	b.Run("ristretto", func(b *testing.B) {
		r, keys := bareRistretto(b, n)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, ok := r.Get(keys[i&(len(keys)-1)]); !ok {
				b.Fatal("missed")
			}
			i++
		}
	})
	b.Run("string", func(b *testing.B) {
		c, keys := benchCache(b, n, text, Options[string, *int]{})
		hits(b, c, ctx, keys)
	})
	b.Run("int64", func(b *testing.B) {
		c, keys := benchCache(b, n, func(i int) int64 { return int64(i) * 7919 }, Options[int64, *int]{})
		hits(b, c, ctx, keys)
	})
	b.Run("struct", func(b *testing.B) {
		type tenantKey struct {
			Tenant string
			ID     int64
		}
		c, keys := benchCache(b, n, func(i int) tenantKey { return tenantKey{"acme", int64(i)} },
			Options[tenantKey, *int]{AppendKey: func(dst []byte, k tenantKey) []byte {
				return strconv.AppendInt(append(append(dst, k.Tenant...), ':'), k.ID, 10)
			}})
		hits(b, c, ctx, keys)
	})
	b.Run("10deps", func(b *testing.B) {
		c, keys := benchCache(b, n, text, Options[string, *int]{Load: func(ctx context.Context, k string) (*int, error) {
			for i := range 10 {
				invalidate.DependOn(ctx, invalidate.Key(fmt.Sprintf("part:%s:%d", k, i)))
			}
			return new(int), nil
		}})
		hits(b, c, ctx, keys)
	})
	b.Run("12layers", func(b *testing.B) {
		c, keys := benchCache(b, n, text, Options[string, *int]{})
		deep := ctx
		for i := range 12 {
			deep = context.WithValue(deep, ctxKey{}, i)
		}
		hits(b, c, deep, keys)
	})
	b.Run("nested", func(b *testing.B) { // inside a load: recorded
		c, keys := benchCache(b, n, text, Options[string, *int]{})
		_, in := c.tracker.Record(ctx)
		hits(b, c, in, keys)
	})
}

func bareRistretto(b *testing.B, n int) (*ristretto.Cache[string, *int], []string) {
	r, err := ristretto.NewCache(&ristretto.Config[string, *int]{
		NumCounters: int64(10 * 4 * n), MaxCost: int64(4 * n), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = text(i)
		for !r.SetWithTTL(keys[i], new(int), 1, time.Hour) {
		}
		r.Wait()
	}
	return r, keys
}

// BenchmarkHitMany is ten hits by one call.
func BenchmarkHitMany(b *testing.B) {
	ctx := context.Background()
	c, keys := benchCache(b, 10, text, Options[string, *int]{})
	b.Run("GetMany", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := c.GetMany(ctx, keys); len(found) != len(keys) || err != nil {
				b.Fatal(len(found), err)
			}
		}
	})
	b.Run("LookupMany", func(b *testing.B) {
		found := make([]Found[*int], len(keys))
		b.ReportAllocs()
		for b.Loop() {
			if c.LookupMany(ctx, keys, found); !found[0].OK {
				b.Fatal("missed")
			}
		}
	})
}

// BenchmarkHitParallel shows whether hits scale: compare -cpu 1,2.
func BenchmarkHitParallel(b *testing.B) {
	for _, n := range benchKeys {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkHitParallel(b, n) })
	}
}

func benchmarkHitParallel(b *testing.B, n int) {
	ctx := context.Background()
	b.Run("ristretto", func(b *testing.B) {
		r, keys := bareRistretto(b, n)
		b.ReportAllocs()
		b.ResetTimer() // b.Loop would do it, RunParallel does not
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				r.Get(keys[i*31&(len(keys)-1)])
			}
		})
	})
	b.Run("freshet", func(b *testing.B) {
		c, keys := benchCache(b, n, text, Options[string, *int]{})
		b.ReportAllocs()
		b.ResetTimer() // b.Loop would do it, RunParallel does not
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				_, _ = c.Get(ctx, keys[i*31&(len(keys)-1)])
			}
		})
	})
}

// BenchmarkMiss is a load that costs nothing: what a flight adds to one.
func BenchmarkMiss(b *testing.B) {
	c := build(b, tracker(b), Options[int64, int64]{MaxEntries: 1024, Load: func(_ context.Context, k int64) (int64, error) {
		return k, nil
	}})
	b.ReportAllocs()
	var k int64
	for b.Loop() {
		k++
		if _, err := c.Get(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
}
