package rediscache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// hooked is a second client of rdb's server, with a hook on a tracker of its own.
func hooked(t testing.TB, s *redistest.Server, tr *invalidate.Tracker, opts ...func(*redis.Options)) (*redis.Client, *Hook) {
	t.Helper()
	rdb := s.Client(t, opts...)
	return rdb, hookOn(t, tr, rdb, HookOptions{NegativeTTL: slack})
}

func hookOn(t testing.TB, tr *invalidate.Tracker, rdb redis.UniversalClient, o HookOptions) *Hook {
	t.Helper()
	if o.Prefixes == nil {
		o.Prefixes = []string{"p:"}
	}
	if o.MaxBytes == 0 {
		o.MaxEntries = 10_000
	}
	if o.MaxStaleness == 0 {
		o.MaxStaleness = slack
	}
	h, err := NewHook(tr, rdb, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func withProtocol(n int) func(*redis.Options) { return func(o *redis.Options) { o.Protocol = n } }

// asks are the commands that a hook answers, as go-redis's own methods put them, on every sort of key.
var asks = map[string]func(ctx context.Context, c redis.Cmdable, key string) redis.Cmder{
	"get":      func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.Get(ctx, k) },
	"strlen":   func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.StrLen(ctx, k) },
	"getrange": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.GetRange(ctx, k, 1, -2) },
	"getbit":   func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.GetBit(ctx, k, 3) },
	"bitcount": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.BitCount(ctx, k, &redis.BitCount{Start: 0, End: 1})
	},
	"bitpos":      func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.BitPos(ctx, k, 1, 0) },
	"bitfield_ro": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.BitFieldRO(ctx, k, "u4", 0) },
	"mget one":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.MGet(ctx, k) },
	"mget": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.MGet(ctx, "p:string", k, "p:absent", k)
	},
	"exists": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.Exists(ctx, k, "p:string", k, "p:absent")
	},
	"type":      func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.Type(ctx, k) },
	"hget":      func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HGet(ctx, k, "a") },
	"hget none": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HGet(ctx, k, "none") },
	"hmget": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.HMGet(ctx, k, "a", "none", "b")
	},
	"hgetall": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HGetAll(ctx, k) },
	"hkeys":   func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HKeys(ctx, k) },
	"hvals":   func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HVals(ctx, k) },
	"hlen":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HLen(ctx, k) },
	"hexists": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HExists(ctx, k, "a") },
	"hstrlen": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.HStrLen(ctx, k, "a") },
	"lrange":  func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.LRange(ctx, k, 0, -1) },
	"lindex":  func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.LIndex(ctx, k, 1) },
	"llen":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.LLen(ctx, k) },
	"lpos": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.LPos(ctx, k, "y", redis.LPosArgs{})
	},
	"lpos count": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.LPosCount(ctx, k, "x", 2, redis.LPosArgs{})
	},
	"smembers": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.SMembers(ctx, k) },
	"smembers map": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.SMembersMap(ctx, k)
	},
	"scard":      func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.SCard(ctx, k) },
	"sismember":  func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.SIsMember(ctx, k, 1) },
	"smismember": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.SMIsMember(ctx, k, "1", 7) },
	"zrange":     func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZRange(ctx, k, 0, -1) },
	"zrange scores": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRangeWithScores(ctx, k, 0, -1)
	},
	"zrange args": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRangeArgs(ctx, redis.ZRangeArgs{Key: k, Start: "-inf", Stop: "(3", ByScore: true, Rev: true, Count: 2})
	},
	"zrevrange": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZRevRange(ctx, k, 0, 1) },
	"zrangebyscore": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRangeByScore(ctx, k, &redis.ZRangeBy{Min: "1", Max: "+inf", Offset: 1, Count: 1})
	},
	"zrangebyscore scores": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRangeByScoreWithScores(ctx, k, &redis.ZRangeBy{Min: "-inf", Max: "2"})
	},
	"zrevrangebyscore": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRevRangeByScore(ctx, k, &redis.ZRangeBy{Min: "1", Max: "+inf"})
	},
	"zrangebylex": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRangeByLex(ctx, k, &redis.ZRangeBy{Min: "-", Max: "+"})
	},
	"zrevrangebylex": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRevRangeByLex(ctx, k, &redis.ZRangeBy{Min: "-", Max: "+"})
	},
	"zcard":     func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZCard(ctx, k) },
	"zcount":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZCount(ctx, k, "1", "2") },
	"zlexcount": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZLexCount(ctx, k, "-", "+") },
	"zscore":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZScore(ctx, k, "b") },
	"zmscore": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZMScore(ctx, k, "b", "none")
	},
	"zrank":    func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZRank(ctx, k, "b") },
	"zrevrank": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder { return c.ZRevRank(ctx, k, "b") },
	"zrank score": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.ZRankWithScore(ctx, k, "b")
	},
	"geopos": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.GeoPos(ctx, k, "home", "none")
	},
	"geodist": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.GeoDist(ctx, k, "home", "work", "m")
	},
	"geohash": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.GeoHash(ctx, k, "home", "work")
	},
	"geosearch": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		return c.GeoSearch(ctx, k, &redis.GeoSearchQuery{Member: "home", Radius: 100, RadiusUnit: "km", Sort: "ASC"})
	},
	"bytes": func(ctx context.Context, c redis.Cmdable, _ string) redis.Cmder {
		cmd := redis.NewStringCmd(ctx, []byte("GET"), []byte("p:string"))
		_ = c.(interface {
			Process(context.Context, redis.Cmder) error
		}).Process(ctx, cmd)
		return cmd
	},
	"another type": func(ctx context.Context, c redis.Cmdable, k string) redis.Cmder {
		cmd := redis.NewStringSliceCmd(ctx, "hgetall", k)
		_ = c.(interface {
			Process(context.Context, redis.Cmder) error
		}).Process(ctx, cmd)
		return cmd
	},
}

// raws are the same through Do, whose replies are whatever the protocol has; they go with asks' keys.
var raws = [][]any{
	{"GET"}, {"hgetall"}, {"HGET", "a"}, {"hmget", "a", "none"}, {"smembers"}, {"zrange", 0, -1, "withscores"},
	{"zscore", "b"}, {"zmscore", "b", "none"}, {"lrange", 0, -1}, {"type"}, {"exists"}, {"mget"}, {"getrange", 0},
	{"geopos", "home"}, {"zrange", 0, "x"}, {"hget"}, {"strlen", "more"}, {"bitcount", 0, -1, "BIT"}, {"lindex", int64(-1)},
	{"sismember", true}, {"zcount", 1.5, "+inf"},
}

func byDo(raw []any) func(ctx context.Context, c redis.Cmdable, key string) redis.Cmder {
	return func(ctx context.Context, c redis.Cmdable, key string) redis.Cmder {
		args := append([]any{raw[0], key}, raw[1:]...)
		return c.(interface {
			Do(context.Context, ...any) *redis.Cmd
		}).Do(ctx, args...)
	}
}

func everything() map[string]func(ctx context.Context, c redis.Cmdable, key string) redis.Cmder {
	all := make(map[string]func(ctx context.Context, c redis.Cmdable, key string) redis.Cmder)
	for name, ask := range asks {
		all[name] = ask
	}
	for _, raw := range raws {
		all[fmt.Sprint("Do", raw)] = byDo(raw)
	}
	return all
}

var keysOfAll = []string{"p:string", "p:hash", "p:list", "p:set", "p:zset", "p:geo", "p:absent", "p:number"}

func fillAll(t testing.TB, rdb *redis.Client) {
	t.Helper()
	for _, args := range [][]any{
		{"SET", "p:string", "a\x00\xffvalue\r\n"}, {"SET", "p:number", 12}, {"HSET", "p:hash", "a", "1", "b", ""},
		{"RPUSH", "p:list", "x", "y", "x", ""}, {"SADD", "p:set", 1, 2, "x"}, {"ZADD", "p:zset", 1, "a", 2.5, "b", "+inf", "c"},
		{"GEOADD", "p:geo", 13.36, 38.11, "home", 15.08, 37.5, "work"}, {"DEL", "p:absent"},
	} {
		do(t, rdb, args...)
	}
}

// outcome is what a command's reader sees.
func outcome(cmd redis.Cmder) string {
	out := reflect.ValueOf(cmd).MethodByName("Result").Call(nil)
	return fmt.Sprintf("%T %#v, %#v", cmd, plain(out[0].Interface()), out[1].Interface())
}

// plain follows pointers.
func plain(v any) any {
	if pos, ok := v.([]*redis.GeoPos); ok {
		all := make([]any, len(pos))
		for i, p := range pos {
			if p != nil {
				all[i] = *p
			}
		}
		return all
	}
	return v
}

// The same commands give equal replies and errors with the hook and without, from Redis as from memory, one by one as in
// a pipeline, by either protocol, on keys of every type and none.
func TestHookConforms(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			leak.Check(t)
			s := redistest.Start(t)
			without := s.Client(t, withProtocol(protocol))
			tr := connect(t, without, invalidate.Options{})
			with, h := hooked(t, s, tr, withProtocol(protocol))
			fillAll(t, without)
			fence(t, tr)
			for name, ask := range everything() {
				for _, key := range keysOfAll {
					want := outcome(ask(t.Context(), without, key))
					pipe := without.Pipeline()
					asked := ask(t.Context(), pipe, key)
					_, werr := pipe.Exec(t.Context())
					wantPiped := outcome(asked)
					for _, when := range []string{"cold", "warm", "warm still"} {
						if got := outcome(ask(t.Context(), with, key)); got != want {
							t.Errorf("%s %s, %s:\n got %s\nwant %s", name, key, when, got, want)
						}
						if when == "cold" {
							tr.Forget(invalidate.Prefix("p:"))
						}
						pipe := with.Pipeline()
						asked := ask(t.Context(), pipe, key)
						_, err := pipe.Exec(t.Context())
						if got := outcome(asked); got != wantPiped || fmt.Sprint(err) != fmt.Sprint(werr) {
							t.Errorf("%s %s in a pipeline, %s:\n got %s, %v\nwant %s, %v", name, key, when, got, err, wantPiped, werr)
						}
					}
				}
			}
			if st := h.Stats(); st.Hits < 5*uint64(st.Entries) {
				t.Errorf("hardly anything came from memory: %+v", st)
			}
		})
	}
}

// Every command of the whitelist that has a value is really served from memory, or the test above says nothing of it.
func TestHookServesWhatItSays(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	tr := connect(t, s.Client(t), invalidate.Options{})
	rdb, h := hooked(t, s, tr)
	fillAll(t, rdb)
	fence(t, tr)
	rdb.HGetAll(t.Context(), "p:hash") // the first hash tells whether fields have lives, and is not kept if they have
	seen := map[string]bool{}
	for name, ask := range everything() {
		for _, key := range keysOfAll {
			cmd := ask(t.Context(), rdb, key)
			if cmd.Err() != nil {
				continue
			}
			before := h.Stats()
			ask(t.Context(), rdb, key)
			after := h.Stats()
			if after.Hits == before.Hits || after.Misses != before.Misses {
				t.Errorf("%s %s: %+v, then %+v", name, key, before, after)
			}
			seen[cmd.Name()] = true
		}
	}
	delete(seen, "")
	for _, r := range readables {
		if !seen[r.name] && r.name != "substr" {
			t.Errorf("%s is in the whitelist and not in this test", r.name)
		}
	}
}

// A name is in the whitelist if readables has it, and only then.
// Seen to fail with one place of whitelist for each name (some are not found) and without the comparison in readableBy.
func TestWhitelist(t *testing.T) {
	known := map[string]command{}
	for i, r := range readables {
		known[r.name] = command(i)
	}
	asked := []string{"", "g", "ge", "GET", "gets", "hgot"}
	for _, names := range []map[string]bool{looks, turns, clears} {
		asked = slices.AppendSeq(asked, maps.Keys(names))
	}
	for name := range known {
		asked = append(asked, name, name+"x", name[1:]+name[:1])
	}
	for _, name := range asked {
		want, in := known[name]
		if c, ok := readableBy(name); c != want && in || ok != in {
			t.Errorf("%q: %d, %v, want %d, %v", name, c, ok, want, in)
		}
	}
}

// Questions that differ in anything lie apart in memory.
// Seen to fail without each of command, shape, rest and the number of arguments in hash, and without the rotation.
func TestQuestionsLieApart(t *testing.T) {
	seed := maphash.MakeSeed()
	seen := map[uint64]question{}
	for _, key := range []string{"a", "b", "ab"} {
		for _, args := range [][]any{{}, {""}, {"a"}, {"b"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"\x01a\x01b"}} {
			for c := range command(len(readables)) {
				for s := none + 1; s <= positions; s++ {
					q := question{command: c, shape: s, key: key}
					if !q.setRest(args) {
						t.Fatal(args)
					}
					h := hash(seed, q)
					if other, twice := seen[h]; twice {
						t.Fatalf("%+v and %+v have one hash", q, other)
					}
					seen[h] = q
				}
			}
		}
	}
}

// What the hook does not answer goes to Redis untouched: other keys, other commands, other types of reply, arguments that
// go-redis refuses.
func TestHookPasses(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	tr := connect(t, s.Client(t), invalidate.Options{})
	rdb, h := hooked(t, s, tr)
	fillAll(t, rdb)
	do(t, rdb, "SET", "q:string", "v")
	ctx := t.Context()
	type opaque struct{}
	for name, cmd := range map[string]redis.Cmder{
		"other key":      rdb.Get(ctx, "q:string"),
		"some other key": rdb.MGet(ctx, "p:string", "q:string"),
		"ttl":            rdb.TTL(ctx, "p:string"),
		"object":         rdb.ObjectEncoding(ctx, "p:string"),
		"random":         rdb.SRandMember(ctx, "p:set"),
		"scan":           rdb.HScan(ctx, "p:hash", 0, "", 0),
		"several":        rdb.SInter(ctx, "p:set"),
		"buffer":         rdb.GetToBuffer(ctx, "p:string", make([]byte, 100)),
		"script":         rdb.Eval(ctx, "return redis.call('get', KEYS[1])", []string{"p:string"}),
		"no arguments":   rdb.Do(ctx, "get"),
		"refused":        rdb.Do(ctx, "get", "p:string", opaque{}),
		"refused key":    rdb.Do(ctx, "get", opaque{}),
	} {
		if _, err := cmd, cmd.Err(); (err != nil) != (name == "no arguments" || name == "refused" || name == "refused key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st := h.Stats(); st.Hits+st.Misses != 0 {
		t.Errorf("%+v", st)
	}
	if err := rdb.Get(ctx, "p:hash").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("a wrong type: %v", err)
	}
	if st := h.Stats(); st.Entries != 0 {
		t.Errorf("an error is kept: %+v", st)
	}
}
