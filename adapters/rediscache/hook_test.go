package rediscache

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// get is a GET that must succeed.
func get(t testing.TB, c redis.Cmdable, key string) string {
	t.Helper()
	v, err := c.Get(t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%s: %v", key, err)
	}
	return v
}

// What others change falls within a fence.
func TestHookFallsByEvents(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	plain := s.Client(t)
	tr := connect(t, plain, invalidate.Options{FollowCaches: true})
	rdb, h := hooked(t, s, tr)
	fillAll(t, plain)
	for _, change := range [][]any{
		{"APPEND", "p:string", "more"}, {"HSET", "p:hash", "a", "2"}, {"LSET", "p:list", 0, "z"}, {"SADD", "p:set", "new"},
		{"ZINCRBY", "p:zset", 5, "a"}, {"GEOADD", "p:geo", 1, 1, "home"}, {"SET", "p:absent", "made"}, {"INCR", "p:number"},
		{"RENAME", "p:string", "p:absent"}, {"FLUSHDB"},
	} {
		fence(t, tr)
		for name, ask := range asks {
			for _, key := range keysOfAll {
				ask(t.Context(), rdb, key)
				if name == "get" && key == "p:string" && h.Stats().Entries == 0 {
					t.Fatal("nothing is kept: this schedule proves nothing")
				}
			}
		}
		do(t, plain, change...)
		fence(t, tr)
		for name, ask := range asks {
			for _, key := range keysOfAll {
				if got, want := outcome(ask(t.Context(), rdb, key)), outcome(ask(t.Context(), plain, key)); got != want {
					t.Errorf("after %v, %s %s:\n got %s\nwant %s", change, name, key, got, want)
				}
			}
		}
	}
}

// R12. Whatever way a client writes, its own next read sees it, though no event has come: also through what a hook does
// not serve, after an error, and when the keys are those of a script.
// Seen to fail, each for its own ways, without the defers in pass and in passMany, and without either f.all in falls.
func TestHookOwnWrites(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb, tr, hold := deaf(t, s.Addr())
	h := hookOn(t, tr, rdb, HookOptions{})
	ctx := t.Context()
	auto, err := rdb.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	future, err := rdb.AsyncAutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	fence(t, tr)
	hold()
	for name, write := range map[string]func() error{
		"set":   func() error { return rdb.Set(ctx, "p:k", "new", 0).Err() },
		"bytes": func() error { return rdb.Do(ctx, []byte("SET"), []byte("p:k"), "new").Err() },
		"mset":  func() error { return rdb.MSet(ctx, "q:x", 1, "p:k", "new").Err() },
		"rename": func() error {
			return errors.Join(rdb.Set(ctx, "q:k", "new", 0).Err(), rdb.Rename(ctx, "q:k", "p:k").Err())
		},
		"pipeline": func() error {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "p:k", "new", 0).Err() })
			return err
		},
		"transaction": func() error {
			_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "p:k", "new", 0).Err() })
			return err
		},
		"watch": func() error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error {
				_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "p:k", "new", 0).Err() })
				return err
			}, "p:k")
		},
		"conn": func() error {
			c := rdb.Conn()
			return errors.Join(c.Set(ctx, "p:k", "new", 0).Err(), c.Close())
		},
		"by hand": func() error {
			c := rdb.Conn()
			errs := []error{c.Do(ctx, "multi").Err(), c.Do(ctx, "set", "p:k", "new").Err()}
			if v := get(t, rdb, "p:k"); v != "old" {
				t.Errorf("before EXEC: %q", v)
			}
			return errors.Join(append(errs, c.Do(ctx, "exec").Err(), c.Close())...)
		},
		"autopipeline": func() error { return auto.Set(ctx, "p:k", "new", 0).Err() },
		"async":        func() error { return future.Set(ctx, "p:k", "new", 0).Err() },
		"script": func() error {
			return rdb.Eval(ctx, "return redis.call('set', KEYS[1], 'new')", []string{"p:k"}).Err()
		},
		"failing script": func() error {
			err := rdb.Eval(ctx, "redis.call('set', KEYS[1], 'new') error('after it')", []string{"p:k"}).Err()
			if err == nil {
				return errors.New("it did not fail")
			}
			return nil
		},
		"delete":  func() error { return rdb.Del(ctx, "p:k").Err() },
		"unknown": func() error { return rdb.Do(ctx, "GETEX", "p:k", "PX", 1_000_000).Err() },
		"flush":   func() error { return rdb.FlushDB(ctx).Err() },
	} {
		do(t, rdb, "SET", "p:k", "old")
		for range 2 {
			if v := get(t, rdb, "p:k"); v != "old" {
				t.Fatalf("%s: before it: %q", name, v)
			}
		}
		hits := h.Stats().Hits
		if get(t, rdb, "p:k"); h.Stats().Hits == hits {
			t.Fatalf("%s: nothing is kept: this schedule proves nothing", name)
		}
		if err := write(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := map[string]string{"delete": "", "flush": "", "unknown": "old"}
		w, ok := want[name]
		if !ok {
			w = "new"
		}
		loads := h.Stats().Loads
		if v := get(t, rdb, "p:k"); v != w || h.Stats().Loads == loads {
			t.Errorf("%s: %q is read after it", name, v)
		}
	}
}

// A write whose outcome is unknown makes its keys fall too.
func TestHookWriteFails(t *testing.T) {
	_, rdb, tr := server(t)
	h := hookOn(t, tr, rdb, HookOptions{})
	do(t, rdb, "SET", "p:k", "v")
	fence(t, tr)
	get(t, rdb, "p:k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rdb.Set(ctx, "p:k", "v", 0).Err(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	loads := h.Stats().Loads
	if get(t, rdb, "p:k"); h.Stats().Loads == loads {
		t.Error("it is still kept")
	}
}

// R6. What is built on replies from memory falls with their keys, and lives no longer.
// Seen to fail (the value built stayed) with the record detached from ctx in process, and in answer.
func TestHookInsideALoad(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	plain := s.Client(t)
	tr := connect(t, plain, invalidate.Options{})
	rdb, h := hooked(t, s, tr)
	built := keep(t)(cache.New(tr, of(cache.Options[string, string]{Prefix: "built:", Load: func(ctx context.Context, _ string) (string, error) {
		one, err := rdb.Get(ctx, "p:a").Result()
		if err != nil {
			return "", err
		}
		pipe := rdb.Pipeline()
		two := pipe.HGet(ctx, "p:h", "f")
		_, err = pipe.Exec(ctx)
		return one + two.Val(), err
	}})))
	do(t, plain, "SET", "p:a", "1")
	do(t, plain, "HSET", "p:h", "f", "2")
	fence(t, tr)
	get(t, rdb, "p:a")
	rdb.HGet(t.Context(), "p:h", "f")
	hits := h.Stats().Hits
	for range 2 {
		if r := read(t, built, "x"); r.Value != "12" {
			t.Errorf("%+v", r)
		}
	}
	if n := h.Stats().Hits - hits; n != 2 {
		t.Errorf("%d hits inside the load: this schedule proves nothing", n)
	}
	for i, change := range [][]any{{"SET", "p:a", "3"}, {"HSET", "p:h", "f", "4"}} {
		do(t, plain, change...)
		fence(t, tr)
		if r := read(t, built, "x"); r.Value != []string{"32", "34"}[i] {
			t.Errorf("after %v: %+v", change, r)
		}
	}
}

// A caller that has given up gets its own error, also where memory knows the answer; a closed hook lets everything pass.
func TestHookCancelAndClose(t *testing.T) {
	leak.Check(t)
	_, rdb, tr := server(t)
	h := hookOn(t, tr, rdb, HookOptions{})
	do(t, rdb, "SET", "p:k", "v")
	fence(t, tr)
	get(t, rdb, "p:k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, key := range []string{"p:k", "p:other"} {
		if err := rdb.Get(ctx, key).Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", key, err)
		}
		if err := rdb.MGet(ctx, key, key).Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("MGET %s: %v", key, err)
		}
		pipe := rdb.Pipeline()
		cmd := pipe.Get(ctx, key)
		if _, err := pipe.Exec(ctx); !errors.Is(err, context.Canceled) || !errors.Is(cmd.Err(), context.Canceled) {
			t.Errorf("a pipeline with %s: %v, %v", key, err, cmd.Err())
		}
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	before := h.Stats()
	if v := get(t, rdb, "p:k"); v != "v" {
		t.Error(v)
	}
	if v := rdb.MGet(t.Context(), "p:k").Val(); len(v) != 1 || v[0] != "v" {
		t.Error(v)
	}
	if after := h.Stats(); after.Hits != before.Hits || after.Misses != before.Misses {
		t.Errorf("%+v, then %+v", before, after)
	}
}

// No server, no answer: errors are go-redis's, nothing is taken for absent, and what memory may still serve it does.
func TestHookServerGone(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client(t, func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 })
	tr := connect(t, rdb, invalidate.Options{})
	hookOn(t, tr, rdb, HookOptions{NegativeTTL: slack})
	s.Kill()
	for range 2 {
		if err := rdb.Get(t.Context(), "p:k").Err(); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("GET: %v", err)
		}
		pipe := rdb.Pipeline()
		one, two := pipe.Get(t.Context(), "p:k"), pipe.TTL(t.Context(), "p:k")
		if _, err := pipe.Exec(t.Context()); err == nil || one.Err() == nil || two.Err() == nil || errors.Is(err, redis.Nil) {
			t.Errorf("a pipeline: %v, %v, %v", err, one.Err(), two.Err())
		}
	}
}

// What cannot keep the promise is refused, with what to give instead.
func TestHookRefuses(t *testing.T) {
	leak.Check(t)
	s, rdb, tr := server(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.Addr()}})
	defer ring.Close()
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{s.Addr()}})
	defer failover.Close()
	caching := s.Client(t, func(o *redis.Options) {
		o.Protocol, o.ClientSideCacheConfig = 3, &redis.ClientSideCacheConfig{MaxEntries: 10}
	})
	fit := HookOptions{Prefixes: []string{"p:"}, MaxEntries: 1}
	for says, c := range map[string]redis.UniversalClient{
		"rdb is nil": (*redis.Client)(nil), "a client of a Cluster": cluster, "*redis.Ring": ring, "NewFailoverClient": failover,
		"client-side cache": caching, "database 3": s.Client(t, inDB(3)), "the same servers": redistest.Start(t).Client(t),
	} {
		if _, err := NewHook(tr, c, fit); !errors.Is(err, invalidate.ErrWrongClient) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	for says, o := range map[string]HookOptions{
		"Prefixes is empty":          {MaxEntries: 1},
		"MaxEntries and MaxBytes":    {Prefixes: fit.Prefixes},
		"MaxStaleness is 1ns, below": {Prefixes: fit.Prefixes, MaxEntries: 1, MaxStaleness: 1},
		"Freshet's own":              {Prefixes: []string{"p:", "freshet:name:"}, MaxEntries: 1},
	} {
		if _, err := NewHook(tr, rdb, o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := NewHook(nil, rdb, fit); err == nil || !strings.Contains(err.Error(), "tracker is nil") {
		t.Errorf("no tracker: %v", err)
	}
	s.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all", "-pttl")
	app := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
	if _, err := NewHook(tr, app, fit); err == nil || !strings.Contains(err.Error(), "+pttl") {
		t.Errorf("PTTL refused: %v", err)
	}
}
