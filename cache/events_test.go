package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// row runs changes on one client through one cache.
type row struct {
	t   *testing.T
	rdb *redis.Client
	tr  *invalidate.Tracker
	c   *Cache[string, int64]
	id  string
}

func (r *row) key(name string) string { return r.id + name }

// args writes a command's arguments with this run's keys.
func (r *row) args(line string) []any {
	var args []any
	for _, f := range strings.Fields(line) {
		switch {
		case f == "$$":
			args = append(args, "$")
		case f[0] == '@':
			args = append(args, "k:"+r.key(f[1:]))
		case f[0] == '$':
			args = append(args, r.rdb.Dump(r.t.Context(), "k:"+r.key(f[1:])).Val())
		default:
			args = append(args, f)
		}
	}
	return args
}

// warm makes every key a hit. After a flush it may take two loads: all falls once more when the listener has put its
// marker back.
func (r *row) warm(keys []string) {
	r.t.Helper()
	for _, k := range keys {
		eventually(r.t, k+" is warm", func() bool {
			res, err := r.c.Read(r.t.Context(), k, ReadOptions{})
			return res.Hit && err == nil
		})
	}
}

func (r *row) hit(k string) bool {
	_, ok := r.c.Peek(k)
	return ok
}

// run is one change: its setup, entries that are hits, the command by way of do, a fence, and who has fallen.
func (r *row) run(ch change, do func(args []any) error) {
	t := r.t
	t.Helper()
	for line := range strings.SplitSeq(ch.setup, ";") {
		if args := r.args(line); len(args) > 0 {
			if err := r.rdb.Do(t.Context(), args...).Err(); err != nil && err != redis.Nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	falls := strings.Fields(ch.falls)
	keys := []string{r.key("bystander")}
	for _, f := range strings.Fields(ch.setup + " " + ch.do) {
		f = strings.TrimSuffix(f, ";")
		if f[0] == '@' && !slices.Contains(keys, r.key(f[1:])) {
			keys = append(keys, r.key(f[1:]))
		}
	}
	args := r.args(ch.do)
	fence(t, r.tr)
	r.warm(keys)
	if err := do(args); err != nil && err != redis.Nil {
		t.Errorf("%s: %v", ch.do, err)
		return
	}
	fence(t, r.tr)
	for _, k := range keys {
		must := slices.ContainsFunc(falls, func(f string) bool { return r.key(f[1:]) == k })
		switch hit := r.hit(k); {
		case must && hit:
			t.Errorf("%s (after %q): %s is still a hit", ch.do, ch.setup, k)
		case !must && !hit:
			t.Errorf("%s (after %q): %s fell", ch.do, ch.setup, k)
		}
	}
}

func inDB(db int) func(*redis.Options) { return func(o *redis.Options) { o.DB = db } }

// connectAs is connect for a client of one's own.
func connectAs(t *testing.T, rdb *redis.Client, opts invalidate.Options) *invalidate.Tracker {
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

// counting is a cache whose values say nothing of Redis: only an event evicts from it.
func counting(t *testing.T, tr *invalidate.Tracker) *Cache[string, int64] {
	t.Helper()
	var truth origin
	return build(t, tr, Options[string, int64]{MaxEntries: 100_000, TTL: time.Hour, Load: truth.load})
}

// Every command evicts what it changes and nothing else: alone, inside MULTI, inside EVAL, and in another database,
// whose events leave the same keys of database 0 alone.
// Seen to fail, every row of it that evicts, with guard.Slots taken out of the tracker.
func TestEveryCommandEvicts(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	zero := s.Client(t)
	ctx := t.Context()
	const eval = "return redis.call(unpack(ARGV))"
	modes := []struct {
		name string
		db   int
		do   func(rdb *redis.Client, args []any) error
	}{
		{"alone", 0, func(rdb *redis.Client, args []any) error { return rdb.Do(ctx, args...).Err() }},
		{"MULTI", 0, func(rdb *redis.Client, args []any) error {
			_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Do(ctx, args...); return nil })
			return err
		}},
		{"EVAL", 0, func(rdb *redis.Client, args []any) error { return rdb.Eval(ctx, eval, nil, args...).Err() }},
		{"db 3", 3, func(rdb *redis.Client, args []any) error { return rdb.Do(ctx, args...).Err() }},
	}
	var known []change
	for _, ch := range changes {
		if ch.needs == "" || s.Knows(t, ch.needs) {
			known = append(known, ch)
		}
	}
	home := connectAs(t, zero, invalidate.Options{})
	same := row{t: t, rdb: zero, tr: home, c: counting(t, home)}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			rdb := s.Client(t, inDB(mode.db))
			tr := connectAs(t, rdb, invalidate.Options{})
			r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
			for i, ch := range known {
				if mode.name == "EVAL" && strings.HasPrefix(ch.do, "B") && strings.HasSuffix(ch.do, " 0") {
					continue // scripts may not block
				}
				r.id = fmt.Sprintf("%s.%d.", mode.name, i)
				if mode.db != 0 {
					same.id = r.id
					same.warm([]string{r.key("a"), r.key("b"), r.key("c")})
				}
				r.run(ch, func(args []any) error { return mode.do(rdb, args) })
				if mode.db == 0 {
					continue
				}
				fence(t, home)
				for _, k := range []string{"a", "b", "c"} {
					if !same.hit(r.key(k)) {
						t.Errorf("%s in database %d: %s of database 0 fell", ch.do, mode.db, k)
					}
				}
			}
			if st := tr.Stats(); st.Gaps != 0 {
				t.Errorf("gaps made keys fall: %+v", st.GapsByReason)
			}
		})
	}
}

// Several commands in one transaction, one script, one function: all that they touch falls.
func TestTransactionsAndScriptsEvict(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	tr := connectAs(t, rdb, invalidate.Options{})
	r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
	ctx := t.Context()
	const body = "redis.call('set', KEYS[1], 1) redis.call('hset', KEYS[2], 'f', 1) redis.call('del', KEYS[1])"
	if err := rdb.Do(ctx, "FUNCTION", "LOAD",
		"#!lua name=mine\nredis.register_function('both', function(KEYS) "+body+" end)").Err(); err != nil {
		t.Fatal(err)
	}
	all := change{do: "two @a @b", falls: "@a @b"}
	r.id = "multi."
	r.run(all, func(args []any) error {
		_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Do(ctx, "SADD", args[1], 1)
			p.Do(ctx, "XADD", args[2], "*", "f", 1)
			return nil
		})
		return err
	})
	r.id = "eval."
	r.run(all, func(args []any) error { return rdb.Do(ctx, "EVAL", body, 2, args[1], args[2]).Err() })
	r.id = "fcall."
	r.run(all, func(args []any) error { return rdb.Do(ctx, "FCALL", "both", 2, args[1], args[2]).Err() })
	r.id = "failing."
	r.run(all, func(args []any) error { // what it wrote before it failed stays written
		err := rdb.Do(ctx, "EVAL", body+" error('no')", 2, args[1], args[2]).Err()
		if err == nil {
			return fmt.Errorf("a failing script did not fail")
		}
		return nil
	})
	r.id = "discarded."
	r.run(change{do: "two @a @b"}, func(args []any) error {
		conn := rdb.Conn()
		defer conn.Close()
		for _, cmd := range [][]any{{"MULTI"}, {"SET", args[1], 1}, {"SET", args[2], 1}, {"DISCARD"}} {
			if err := conn.Do(ctx, cmd...).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

// A flush evicts everything, also inside MULTI and EVAL. Redis does not say which database was flushed.
// Seen to fail with guard.Flush taken out of the tracker.
func TestFlushEvicts(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	tr := connectAs(t, rdb, invalidate.Options{})
	r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
	ctx := t.Context()
	for _, line := range []string{"FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"} {
		for mode, do := range map[string]func(args []any) error{
			"alone": func(args []any) error { return rdb.Do(ctx, args...).Err() },
			"MULTI": func(args []any) error {
				_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Do(ctx, args...); return nil })
				return err
			},
			"EVAL": func(args []any) error { return rdb.Eval(ctx, "return redis.call(unpack(ARGV))", nil, args...).Err() },
		} {
			r.warm([]string{"a", "b"})
			if err := do(r.args(line)); err != nil {
				t.Fatal(err)
			}
			fence(t, tr)
			if r.hit("a") || r.hit("b") {
				t.Errorf("%s (%s): still a hit", line, mode)
			}
		}
	}
	if st := tr.Stats(); st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
}

// MOVE, COPY DB and MIGRATE are seen at both ends.
func TestBetweenDatabasesAndServers(t *testing.T) {
	leak.Check(t)
	s, other := redistest.Start(t), redistest.Start(t)
	ctx := t.Context()
	on := func(s *redistest.Server, db int) row {
		rdb := s.Client(t, inDB(db))
		tr := connectAs(t, rdb, invalidate.Options{})
		return row{t: t, rdb: rdb, tr: tr, c: counting(t, tr), id: "x."}
	}
	zero, three, abroad := on(s, 0), on(s, 3), on(other, 0)
	all := map[string]row{"0": zero, "3": three, "abroad": abroad}
	for _, c := range []struct {
		do    []any
		key   string
		falls []string
	}{
		{[]any{"MOVE", "k:x.m", 3}, "x.m", []string{"0", "3"}},
		{[]any{"COPY", "k:x.c", "k:x.c", "DB", 3}, "x.c", []string{"3"}},
		{[]any{"MIGRATE", "127.0.0.1", other.Port(), "k:x.g", 0, 5000}, "x.g", []string{"0", "abroad"}},
	} {
		if err := zero.rdb.Set(ctx, "k:"+c.key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			fence(t, r.tr)
			r.warm([]string{c.key})
		}
		if err := zero.rdb.Do(ctx, c.do...).Err(); err != nil {
			t.Fatalf("%v: %v", c.do, err)
		}
		for where, r := range all {
			fence(t, r.tr)
			if hit, must := r.hit(c.key), slices.Contains(c.falls, where); hit == must {
				t.Errorf("%v: in %s hit %v, must fall %v", c.do, where, hit, must)
			}
		}
	}
}

// A key that expires evicts when Redis deletes it: by its own rounds, or when somebody asks for the key. Until then
// there is no event; that is why rediscache bounds entries by the key's own TTL.
func TestExpiryEvicts(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t, "--enable-debug-command", "yes")
	rdb := s.Client(t)
	tr := connectAs(t, rdb, invalidate.Options{})
	r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
	ctx := t.Context()
	set := func(k string, life time.Duration) {
		t.Helper()
		if err := rdb.Set(ctx, "k:"+k, 1, life).Err(); err != nil {
			t.Fatal(err)
		}
		fence(t, tr)
		r.warm([]string{k, "bystander"})
	}
	for rdb.PTTL(ctx, "k:active").Val() <= 0 { // it must outlive the making of its entry
		set("active", 200*time.Millisecond)
	}
	eventually(t, "Redis's rounds find the key", func() bool { return !r.hit("active") })

	if err := rdb.Do(ctx, "DEBUG", "SET-ACTIVE-EXPIRE", 0).Err(); err != nil {
		t.Fatal(err)
	}
	const life = 100 * time.Millisecond
	set("lazy", life)
	time.Sleep(life) // its time has passed, and nobody has looked
	fence(t, tr)
	if !r.hit("lazy") {
		t.Error("fell before Redis deleted the key: this schedule proves nothing")
	}
	if err := rdb.Get(ctx, "k:lazy").Err(); err != redis.Nil {
		t.Fatalf("the expired key: %v", err)
	}
	fence(t, tr)
	if r.hit("lazy") {
		t.Error("still a hit after Redis deleted the key")
	}
	if !r.hit("bystander") {
		t.Error("a bystander fell")
	}
}

// A hash's field that expires evicts the hash (Redis 7.4 and later, Valkey 9).
func TestFieldExpiryEvicts(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	if !s.Knows(t, "HPEXPIRE") {
		return
	}
	tr := connectAs(t, rdb, invalidate.Options{})
	r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
	for _, fields := range [][]any{{"f", 1}, {"f", 1, "g", 2}} { // the last field, and one of two
		k := fmt.Sprint("hash", len(fields))
		for _, cmd := range [][]any{
			append([]any{"HSET", "k:" + k}, fields...),
			{"HPEXPIRE", "k:" + k, 1000, "FIELDS", 1, "f"},
		} {
			if err := rdb.Do(t.Context(), cmd...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		fence(t, tr)
		r.warm([]string{k, "bystander"})
		eventually(t, "the field goes and the hash's entry with it", func() bool { return !r.hit(k) })
		if !r.hit("bystander") {
			t.Error("a bystander fell")
		}
	}
}

// What Redis throws out for want of memory falls, and nothing else does.
func TestMaxmemoryEvicts(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	rdb := s.Client(t)
	// Without audits: the marker may be evicted too, and that would be a gap.
	tr := connectAs(t, rdb, invalidate.Options{Notify: notify.Options{AuditEvery: -1}})
	r := row{t: t, rdb: rdb, tr: tr, c: counting(t, tr)}
	ctx := t.Context()
	var keys []string
	for i := range 50 {
		k := fmt.Sprint("old", i)
		keys = append(keys, k)
		if err := rdb.Set(ctx, "k:"+k, strings.Repeat("x", 10_000), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	fence(t, tr)
	r.warm(keys)
	used, err := rdb.InfoMap(ctx, "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	now, err := strconv.Atoi(used["Memory"]["used_memory"])
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", strconv.Itoa(now+1<<20)).Err(); err != nil {
		t.Fatal(err)
	}
	evicted := func() int {
		n := 0
		for _, k := range keys {
			n += 1 - int(rdb.Exists(ctx, "k:"+k).Val())
		}
		return n
	}
	for i := 0; evicted() < 10; i++ {
		if i == 5000 {
			t.Fatal("Redis evicts nothing")
		}
		for j := range 10 {
			if err := rdb.Set(ctx, fmt.Sprintf("filler%d.%d", i, j), strings.Repeat("x", 10_000), 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fence(t, tr)
	for _, k := range keys {
		if is := rdb.Exists(ctx, "k:"+k).Val() == 1; is != r.hit(k) {
			t.Errorf("%s: in Redis %v, a hit %v", k, is, r.hit(k))
		}
	}
	if st := tr.Stats(); st.Gaps != 0 || st.Epochs != 1 {
		t.Errorf("everything fell: %+v", st)
	}
}
