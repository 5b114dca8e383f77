package rediscache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// Whatever happens to the connections, what two processes read through hooked clients, alone, several at once and in
// pipelines, while a stranger and they themselves write, keeps I1 and I2.
// Seen to find violations of I1 and of I2 with the call of DependOn removed from load.
func TestHookHistory(t *testing.T) {
	leak.Check(t)
	const bound = 200 * time.Millisecond
	s := redistest.Start(t)
	stranger := s.Client(t, func(o *redis.Options) { o.MaxRetries, o.ContextTimeoutEnabled = -1, true })
	c := history.Config{
		Seed: rand.Uint64(), Duration: 5 * time.Second, Readers: 3, OpTimeout: time.Second,
		WritePause: 2 * time.Millisecond, ReadPause: time.Millisecond, FencePause: 5 * time.Millisecond, FaultPause: 150 * time.Millisecond,
		TTL: 30 * time.Millisecond,
	}
	var hooks []*Hook
	writers := []*redis.Client{stranger}
	for protocol := 2; protocol <= 3; protocol++ {
		p := faultproxy.New(t, s.Addr())
		rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), Protocol: protocol, MaxRetries: -1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = rdb.Close() })
		tr := connect(t, rdb, invalidate.Options{Notify: notify.Options{Heartbeat: 20 * time.Millisecond, PongTimeout: 100 * time.Millisecond}})
		h := hookOn(t, tr, rdb, HookOptions{MaxStaleness: bound, NegativeTTL: slack})
		hooks, writers = append(hooks, h), append(writers, rdb)
		c.Instances = append(c.Instances, history.Instance{
			Name: fmt.Sprint("RESP", protocol), Synced: tr.Synced, Fence: tr.Fence,
			Read: func(ctx context.Context, key string) (history.Observation, error) {
				v, err := readSomehow(ctx, rdb, "p:"+key)
				return history.Observation{Version: v, Hit: true, Bound: bound}, err
			},
		})
		c.Faults = append(c.Faults,
			history.Step{Name: "cut", Do: func(context.Context, *rand.Rand) error { p.Cut(faultproxy.RST); return nil }},
			history.Step{Name: "deaf", Do: func(context.Context, *rand.Rand) error {
				held := p.Having("psubscribe")
				held.Hold(faultproxy.ToClient)
				time.Sleep(80 * time.Millisecond)
				held.Release(faultproxy.ToClient)
				return nil
			}},
		)
	}
	c.Faults = append(c.Faults, history.Step{Name: "flush", Absent: true, Do: func(ctx context.Context, _ *rand.Rand) error {
		return stranger.FlushAll(context.WithoutCancel(ctx)).Err()
	}})
	var turn atomic.Uint64
	c.Write = func(ctx context.Context, key string, version uint64, ttl time.Duration) error {
		return writers[turn.Add(1)%3].Set(ctx, "p:"+key, version, ttl).Err()
	}
	c.Delete = func(ctx context.Context, key string) error {
		return writers[turn.Add(1)%3].Del(ctx, "p:"+key).Err()
	}
	keepsPromises(t, c, hooks)
}

// keepsPromises runs c and judges it.
func keepsPromises(t *testing.T, c history.Config, hooks []*Hook) {
	t.Helper()
	h, err := history.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := history.Check(h, history.Options{Require: []history.Kind{history.I1, history.I2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if err := r.Err(); err != nil {
		t.Errorf("seed %d: %v", c.Seed, err)
	}
	for _, h := range hooks {
		if st := h.Stats(); st.Hits < 100 || st.Misses < 100 {
			t.Errorf("nothing was seen: %+v", st)
		}
	}
}

// readSomehow is a GET, or what says the same.
func readSomehow(ctx context.Context, rdb *redis.Client, key string) (uint64, error) {
	switch rand.IntN(4) {
	case 0:
		got, err := rdb.MGet(ctx, key, "p:other").Result()
		if err != nil || got[0] == nil {
			return 0, err
		}
		return strconv.ParseUint(got[0].(string), 10, 64)
	case 1:
		pipe := rdb.Pipeline()
		cmd := pipe.Get(ctx, key)
		pipe.TTL(ctx, key)
		_, _ = pipe.Exec(ctx)
		return orAbsent(cmd.Uint64())
	}
	return orAbsent(rdb.Get(ctx, key).Uint64())
}

func orAbsent(v uint64, err error) (uint64, error) {
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return v, err
}

// Many goroutines read, write, add hooks and open transactions on one client while it is closed.
func TestHookRaces(t *testing.T) {
	leak.Check(t)
	_, rdb, tr := server(t)
	h := hookOn(t, tr, rdb, HookOptions{})
	fillAll(t, rdb)
	ctx := t.Context()
	var wg sync.WaitGroup
	all := everything()
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				for _, ask := range all {
					ask(ctx, rdb, keysOfAll[(i+n)%len(keysOfAll)])
				}
				_, _ = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
					p.HGetAll(ctx, "p:hash")
					p.Incr(ctx, "p:number")
					p.Get(ctx, "p:number")
					return nil
				})
				switch {
				case i == 0 && n%5 == 0:
					rdb.AddHook(&pipelines{})
				case i == 1:
					_ = rdb.Watch(ctx, func(tx *redis.Tx) error { return tx.Get(ctx, "p:number").Err() }, "p:number")
				case i == 2:
					h.probe(ctx)
				case i == 3 && n == 18:
					_ = h.Close()
				}
			}
		})
	}
	wg.Wait()
	if v := get(t, rdb, "p:number"); v != strconv.Itoa(12+8*20) {
		t.Errorf("%s", v)
	}
}

// A question is the same as the command it came from: its arguments come back as they would be sent, and different ones
// are different questions.
func FuzzQuestion(f *testing.F) {
	f.Add("k", "a", "b", int64(3), uint8(3))
	f.Add("k", "", "\x01a", int64(-1), uint8(2))
	f.Add("k", "a\x00", "", int64(0), uint8(0))
	f.Fuzz(func(t *testing.T, key, a, b string, n int64, count uint8) {
		args := []any{a, []byte(b), n, b}[:count%5]
		var q, other question
		if !q.setRest(args) {
			t.Fatalf("refused %v", args)
		}
		got := q.arguments()
		if len(got) != len(args) {
			t.Fatalf("%d of %d", len(got), len(args))
		}
		for i := range args {
			if want, _ := text(args[i]); got[i] != want {
				t.Errorf("argument %d is %q of %q", i, got[i], want)
			}
		}
		if a != b && other.setRest([]any{b, a}) && count%5 == 2 && other == q {
			t.Error("the order does not matter")
		}
		if joined := (question{}); joined.setRest([]any{a + b}) && count%5 == 2 && joined == q {
			t.Error("the bounds do not matter")
		}
	})
}
