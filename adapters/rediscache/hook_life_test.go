package rediscache

import (
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// R3. No reply outlives what it speaks of: its key, of several the one that dies, or a field of a hash.
// Seen to fail without the calls of expire and of expireFields in answer.
func TestHookTTL(t *testing.T) {
	const life = 500 * time.Millisecond
	run := func(t *testing.T, rdb *redis.Client, tr *invalidate.Tracker, mortal func(), hold func(), short map[string]func(redis.Cmdable) redis.Cmder) {
		h := hookOn(t, tr, rdb, HookOptions{})
		do(t, rdb, "SET", "p:lasting", "v")
		mortal()
		ends := time.Now().Add(life)
		fence(t, tr)
		lasting := map[string]func(redis.Cmdable) redis.Cmder{
			"lasting": func(c redis.Cmdable) redis.Cmder { return c.Get(t.Context(), "p:lasting") },
		}
		alive := map[string]string{}
		for name, ask := range short {
			ask(rdb) // what a server knows of fields' lives is found out by the first
			alive[name] = outcome(ask(rdb))
		}
		lasting["lasting"](rdb)
		hold()
		seen := map[string]bool{}
		for passed := false; !passed; time.Sleep(time.Millisecond) {
			passed = time.Now().After(ends)
			for name, ask := range short {
				hits := h.Stats().Hits
				got := outcome(ask(rdb))
				if hit := h.Stats().Hits > hits; hit && !passed {
					seen[name] = true
				} else if hit && got == alive[name] {
					t.Errorf("%s: from memory when it is over: %s", name, got)
				}
			}
		}
		for name := range short {
			if !seen[name] {
				t.Errorf("%s was never kept: this schedule proves nothing", name)
			}
		}
		hits := h.Stats().Hits
		if lasting["lasting"](rdb); h.Stats().Hits != hits+1 {
			t.Error("what lasts is not kept")
		}
	}
	t.Run("keys", func(t *testing.T) {
		leak.Check(t)
		_, rdb, tr := server(t, "--enable-debug-command", "yes")
		do(t, rdb, "DEBUG", "SET-ACTIVE-EXPIRE", 0)
		ctx := t.Context()
		run(t, rdb, tr, func() {
			do(t, rdb, "SET", "p:s", "v", "PX", life.Milliseconds())
			do(t, rdb, "HSET", "p:h", "a", 1)
			do(t, rdb, "PEXPIRE", "p:h", life.Milliseconds())
		}, func() {}, map[string]func(redis.Cmdable) redis.Cmder{
			"get":     func(c redis.Cmdable) redis.Cmder { return c.Get(ctx, "p:s") },
			"mget":    func(c redis.Cmdable) redis.Cmder { return c.MGet(ctx, "p:lasting", "p:s") },
			"exists":  func(c redis.Cmdable) redis.Cmder { return c.Exists(ctx, "p:lasting", "p:s") },
			"type":    func(c redis.Cmdable) redis.Cmder { return c.Type(ctx, "p:s") },
			"hget":    func(c redis.Cmdable) redis.Cmder { return c.HGet(ctx, "p:h", "a") },
			"hgetall": func(c redis.Cmdable) redis.Cmder { return c.HGetAll(ctx, "p:h") },
			"piped": func(c redis.Cmdable) redis.Cmder {
				pipe := c.Pipeline()
				cmd := pipe.Get(ctx, "p:s")
				_, _ = pipe.Exec(ctx)
				return cmd
			},
		})
	})
	t.Run("fields", func(t *testing.T) { // the embedded server has HPTTL
		rdb, tr, hold := deaf(t, notifytest.Start(t).Addr)
		ctx := t.Context()
		run(t, rdb, tr, func() {
			for _, k := range []string{"p:h", "p:i"} {
				do(t, rdb, "HSET", k, "lasting", 1, "also", 2)
				do(t, rdb, "HSETEX", k, "PX", life.Milliseconds(), "FIELDS", 1, "mortal", 1)
			}
		}, hold, map[string]func(redis.Cmdable) redis.Cmder{
			"hget":    func(c redis.Cmdable) redis.Cmder { return c.HGet(ctx, "p:h", "mortal") },
			"hmget":   func(c redis.Cmdable) redis.Cmder { return c.HMGet(ctx, "p:h", "lasting", "mortal") },
			"hexists": func(c redis.Cmdable) redis.Cmder { return c.HExists(ctx, "p:h", "mortal") },
			"hgetall": func(c redis.Cmdable) redis.Cmder { return c.HGetAll(ctx, "p:i") },
			"hkeys":   func(c redis.Cmdable) redis.Cmder { return c.HKeys(ctx, "p:i") },
			"hvals":   func(c redis.Cmdable) redis.Cmder { return c.HVals(ctx, "p:i") },
		})
	})
}

// Absences are kept by option alone, in whatever words they come, and fall when the key is made.
func TestHookAbsent(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	tr := connect(t, s.Client(t), invalidate.Options{})
	for _, o := range []HookOptions{{}, {NegativeTTL: slack}} {
		rdb := s.Client(t)
		h := hookOn(t, tr, rdb, o)
		ctx := t.Context()
		kept := o.NegativeTTL > 0
		for name, ask := range asks {
			if name == "bytes" {
				continue
			}
			do(t, rdb, "DEL", "p:absent")
			fence(t, tr)
			ask(ctx, rdb, "p:absent")
			before := h.Stats()
			cmd := ask(ctx, rdb, "p:absent")
			first, after := outcome(cmd), h.Stats()
			if cmd.Err() != nil && !absent(cmd.Err()) {
				continue
			}
			if hit := after.Misses == before.Misses; hit != kept && !strings.HasPrefix(name, "mget") && name != "exists" || hit && !kept {
				t.Errorf("NegativeTTL %v, %s: kept %v", o.NegativeTTL, name, hit)
			}
			do(t, s.Client(t), "SET", "p:absent", "made")
			fence(t, tr)
			if got := outcome(ask(ctx, rdb, "p:absent")); got == first && name != "getbit" {
				t.Errorf("%s: made since, and still %s", name, got)
			}
		}
	}
}

// A reply belongs to who asked: what one changes in it nobody else sees.
// Seen to fail for each kind of reply whose form has no clone.
func TestHookRepliesAreCopies(t *testing.T) {
	leak.Check(t)
	_, rdb, tr := server(t)
	h := hookOn(t, tr, rdb, HookOptions{MaxBytes: 1 << 20})
	fillAll(t, rdb)
	fence(t, tr)
	ctx := t.Context()
	spoil := func(cmd redis.Cmder) {
		switch c := cmd.(type) {
		case *redis.StringSliceCmd:
			c.Val()[0] = "spoilt"
		case *redis.SliceCmd:
			c.Val()[0] = "spoilt"
		case *redis.MapStringStringCmd:
			c.Val()["a"] = "spoilt"
		case *redis.StringStructMapCmd:
			clear(c.Val())
		case *redis.ZSliceCmd:
			c.Val()[0] = redis.Z{}
		case *redis.FloatSliceCmd:
			c.Val()[0] = -1
		case *redis.IntSliceCmd:
			c.Val()[0] = -1
		case *redis.BoolSliceCmd:
			c.Val()[0] = !c.Val()[0]
		case *redis.GeoPosCmd:
			if c.Val()[0] != nil {
				c.Val()[0].Latitude = -1
			}
		case *redis.Cmd:
			switch v := c.Val().(type) {
			case []any:
				if inner, ok := v[0].([]any); ok {
					inner[0] = "spoilt"
				} else {
					v[0] = "spoilt"
				}
			case map[any]any:
				clear(v)
			}
		}
	}
	for name, ask := range everything() {
		for _, key := range keysOfAll {
			cmd := ask(ctx, rdb, key)
			want := outcome(cmd)
			if cmd.Err() != nil || empty(cmd) {
				continue
			}
			for range 3 {
				spoil(cmd)
				if cmd = ask(ctx, rdb, key); outcome(cmd) != want {
					t.Fatalf("%s %s: %s, was %s", name, key, outcome(cmd), want)
				}
			}
			pipe := rdb.Pipeline()
			one, two := ask(ctx, pipe, key), ask(ctx, pipe, key)
			_, _ = pipe.Exec(ctx)
			if spoil(one); outcome(two) != want {
				t.Fatalf("%s %s, twice in a pipeline: %s, was %s", name, key, outcome(two), want)
			}
		}
	}
	if st := h.Stats(); st.Bytes <= st.Entries*cache.EntryOverhead {
		t.Errorf("replies weigh nothing: %+v", st)
	}
}

// empty reports a reply with nothing in it to spoil.
func empty(cmd redis.Cmder) bool {
	if set, ok := cmd.(*redis.StringStructMapCmd); ok { // whose members' values are written {} too
		return len(set.Val()) == 0
	}
	s := outcome(cmd)
	return strings.Contains(s, "{}, ") || strings.Contains(s, "{interface {}(nil)}, ")
}
