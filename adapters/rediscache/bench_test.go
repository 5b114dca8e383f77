package rediscache

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// BenchmarkHook puts the same reads to a hooked client, to one with go-redis's own client-side cache and to one without
// any, all on one server: go test -bench Hook -count 6 ./adapters/rediscache
func BenchmarkHook(b *testing.B) {
	s := redistest.Start(b)
	plain := s.Client(b, withProtocol(3))
	tr := connect(b, plain, invalidate.Options{})
	ctx := context.Background()
	for _, size := range []int{100, 1 << 10, 10 << 10} {
		do(b, plain, "SET", fmt.Sprint("p:string", size), strings.Repeat("v", size))
	}
	for i := range 10 {
		do(b, plain, "SET", fmt.Sprint("p:", i), i)
		do(b, plain, "HSET", "p:hash", fmt.Sprint("field", i), i)
		do(b, plain, "ZADD", "p:zset", i, fmt.Sprint("member", i))
	}
	own := s.Client(b, withProtocol(3), func(o *redis.Options) {
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{MaxEntries: 10_000}
	})
	with := s.Client(b, withProtocol(3))
	h := hookOn(b, tr, with, HookOptions{})
	clients := []struct {
		name string
		rdb  *redis.Client
	}{{"hook", with}, {"go-redis client-side cache", own}, {"no cache", plain}}
	many := make([]string, 10)
	for i := range many {
		many[i] = fmt.Sprint("p:", i)
	}
	reads := []struct {
		name string
		read func(rdb *redis.Client) error
	}{
		{"GET of 100 B", func(rdb *redis.Client) error { return rdb.Get(ctx, "p:string100").Err() }},
		{"GET of 1 KiB", func(rdb *redis.Client) error { return rdb.Get(ctx, "p:string1024").Err() }},
		{"GET of 10 KiB", func(rdb *redis.Client) error { return rdb.Get(ctx, "p:string10240").Err() }},
		{"HGET", func(rdb *redis.Client) error { return rdb.HGet(ctx, "p:hash", "field1").Err() }},
		{"ZRANGE", func(rdb *redis.Client) error { return rdb.ZRange(ctx, "p:zset", 0, -1).Err() }},
		{"HGETALL of 10", func(rdb *redis.Client) error { return rdb.HGetAll(ctx, "p:hash").Err() }},
		{"MGET of 10", func(rdb *redis.Client) error { return rdb.MGet(ctx, many...).Err() }},
		{"pipeline of 10 GET", func(rdb *redis.Client) error {
			pipe := rdb.Pipeline()
			for _, k := range many {
				pipe.Get(ctx, k)
			}
			_, err := pipe.Exec(ctx)
			return err
		}},
	}
	for _, r := range reads {
		for _, c := range clients {
			b.Run(r.name+"/"+c.name, func(b *testing.B) {
				for range 10 { // both caches may take a moment to keep it
					if err := r.read(c.rdb); err != nil {
						b.Fatal(err)
					}
				}
				misses := h.Stats().Misses
				b.ReportAllocs()
				for b.Loop() {
					if err := r.read(c.rdb); err != nil {
						b.Fatal(err)
					}
				}
				if c.name == "hook" && h.Stats().Misses != misses {
					b.Errorf("%d misses", h.Stats().Misses-misses)
				}
			})
		}
	}
}

// BenchmarkHookParallel is a GET from memory by all cores at once.
func BenchmarkHookParallel(b *testing.B) {
	s := redistest.Start(b)
	with := s.Client(b, withProtocol(3))
	tr := connect(b, with, invalidate.Options{})
	do(b, with, "SET", "p:string", strings.Repeat("v", 100))
	hookOn(b, tr, with, HookOptions{})
	own := s.Client(b, withProtocol(3), func(o *redis.Options) {
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{MaxEntries: 10_000}
	})
	for _, c := range []struct {
		name string
		rdb  *redis.Client
	}{{"hook", with}, {"go-redis client-side cache", own}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.rdb.Get(context.Background(), "p:string").Err(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
