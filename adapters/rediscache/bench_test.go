package rediscache

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// contender is a client that answers reads in its own way. All are made alike and talk to one server.
type contender struct {
	name string
	rdb  *redis.Client
	hook *Hook // or nil
	gets bool  // it answers GET alone
}

// BenchmarkHook puts the same reads to a hooked client, to one with go-redis's own client-side cache, to one without any,
// and to two that show what no hook can do without. The machine's mood changes from one second to the next: compare
// medians of many short runs, each a process of its own.
func BenchmarkHook(b *testing.B) {
	ctx := context.Background()
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
	clients := contenders(b)
	for _, r := range reads {
		for _, c := range clients {
			if c.gets && !strings.HasPrefix(r.name, "GET") {
				continue
			}
			b.Run(r.name+"/"+c.name, func(b *testing.B) {
				c.bench(b, r.read, func(read func() bool) {
					for b.Loop() && read() {
					}
				})
			})
		}
	}
}

// BenchmarkHookParallel is a GET from memory by all cores at once.
func BenchmarkHookParallel(b *testing.B) {
	ctx := context.Background()
	clients := contenders(b)
	for _, size := range []string{"100", "1024", "10240"} {
		key := "p:string" + size
		get := func(rdb *redis.Client) error { return rdb.Get(ctx, key).Err() }
		for _, c := range clients {
			b.Run(size+" B/"+c.name, func(b *testing.B) {
				c.bench(b, get, func(read func() bool) {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() && read() {
						}
					})
				})
			})
		}
	}
}

// bench measures read, warmed up, as run repeats it.
func (c contender) bench(b *testing.B, read func(*redis.Client) error, run func(read func() bool)) {
	for range 10 { // a cache may take a moment to keep it
		if err := read(c.rdb); err != nil {
			b.Fatal(err)
		}
	}
	var misses uint64
	if c.hook != nil {
		misses = c.hook.Stats().Misses
	}
	b.ReportAllocs()
	run(func() bool {
		err := read(c.rdb)
		if err != nil {
			b.Error(err)
		}
		return err == nil
	})
	if c.hook != nil && c.hook.Stats().Misses != misses {
		b.Errorf("%d misses", c.hook.Stats().Misses-misses)
	}
}

func contenders(b *testing.B) []contender {
	s := redistest.Start(b)
	plain := s.Client(b, withProtocol(3))
	tr := connect(b, plain, invalidate.Options{})
	known := make(map[string]string)
	for _, size := range []int{100, 1 << 10, 10 << 10} {
		k, v := fmt.Sprint("p:string", size), strings.Repeat("v", size)
		known[k] = v
		do(b, plain, "SET", k, v)
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
	bare, clocked := s.Client(b, withProtocol(3)), s.Client(b, withProtocol(3))
	bare.AddHook(&memo{known: known})
	clocked.AddHook(&memo{known: known, now: time.Now, began: time.Now()})
	return []contender{
		{name: "hook", rdb: with, hook: h}, {name: "go-redis client-side cache", rdb: own}, {name: "no cache", rdb: plain},
		{name: "bare map", rdb: bare, gets: true}, {name: "bare map and clock", rdb: clocked, gets: true},
	}
}

// memo answers GET from a Go map, whoever has changed the key since: no hook can be faster. With now it reads the clock
// too, as a hook that bounds staleness by the real clock must. Other commands it lets pass.
type memo struct {
	known map[string]string // never changed
	now   func() time.Time
	began time.Time
}

func (m *memo) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *memo) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (m *memo) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		get, ok := cmd.(*redis.StringCmd)
		if !ok {
			return next(ctx, cmd)
		}
		key, _ := get.Args()[1].(string)
		v, ok := m.known[key]
		if !ok || m.now != nil && m.now().Before(m.began) {
			return next(ctx, cmd)
		}
		get.SetVal(v)
		return nil
	}
}
