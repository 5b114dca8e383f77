package rediscache

import (
	"context"
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

type item struct {
	Name  string  `redis:"name"`
	Price int64   `redis:"price,omitempty"`
	Rate  float64 `redis:"rate"`
	Sold  bool    `redis:"sold"`
	Note  *string `redis:"note"`
	Rest  []byte  `redis:"-"`
	plain int
}

func hashes(t testing.TB, tr *invalidate.Tracker, rdb *redis.Client) *cache.Cache[string, item] {
	t.Helper()
	c, err := NewHash(tr, rdb, of(cache.Options[string, item]{NegativeTTL: slack}))
	return kept(t, c, err)
}

func TestHash(t *testing.T) {
	leak.Check(t)
	_, rdb, tr := server(t)
	c := hashes(t, tr, rdb)
	do(t, rdb, "HSET", "p:a", "name", "lamp", "price", 9, "rate", 0.5, "sold", 1, "note", "n", "unknown", "x", "Rest", "x")
	do(t, rdb, "HSET", "p:b", "name", "desk")
	do(t, rdb, "HSET", "p:bad", "price", "nine")
	do(t, rdb, "SET", "p:string", "x")
	fence(t, tr)
	for n := range 2 {
		r := read(t, c, "a")
		v := r.Value
		if v.Name != "lamp" || v.Price != 9 || v.Rate != 0.5 || !v.Sold || v.Note == nil || *v.Note != "n" || v.Rest != nil || v.plain != 0 || r.Hit != (n > 0) {
			t.Errorf("%+v", r)
		}
	}
	for range 2 {
		if _, err := c.Get(t.Context(), "absent"); err != redis.Nil {
			t.Errorf("absent: %v", err)
		}
	}
	if s := c.Stats(); s.NegativeHits != 1 {
		t.Errorf("%+v", s)
	}
	got, err := c.GetMany(t.Context(), []string{"a", "b", "absent"})
	if err != nil || len(got) != 2 || got["b"].Name != "desk" || got["b"].Price != 0 {
		t.Errorf("GetMany: %+v, %v", got, err)
	}
	for key, want := range map[string]string{"bad": `"p:bad"`, "string": "WRONGTYPE"} {
		if _, err := c.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
	}
	do(t, rdb, "HINCRBY", "p:a", "price", 1)
	do(t, rdb, "HSET", "p:absent", "name", "new")
	fence(t, tr)
	if v := read(t, c, "a").Value; v.Price != 10 {
		t.Errorf("after HINCRBY: %+v", v)
	}
	if v := read(t, c, "absent").Value; v.Name != "new" {
		t.Errorf("made since: %+v", v)
	}
	if v, err := GetHash[item](t.Context(), rdb, "p:b"); v.Name != "desk" || err != nil {
		t.Errorf("GetHash: %+v, %v", v, err)
	}
	if _, err := GetHash[item](t.Context(), rdb, "p:gone"); err != redis.Nil {
		t.Errorf("GetHash of nothing: %v", err)
	}
}

// A type that no field of a hash can be read into is an error that says so, before anything is read.
func TestHashTypes(t *testing.T) {
	_, rdb, tr := server(t)
	do(t, rdb, "HSET", "p:a", "name", "v")
	try := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), `redis:"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	type untagged struct{ Name string }
	type hidden struct {
		Name string `redis:"name"`
		note string `redis:"note"`
	}
	_ = hidden{}.note
	_, err := NewHash(tr, rdb, of(cache.Options[string, untagged]{}))
	try("no tags", err)
	_, err = NewHash(tr, rdb, of(cache.Options[string, string]{}))
	try("no struct", err)
	_, err = NewHash(tr, rdb, of(cache.Options[string, *item]{}))
	try("a pointer", err)
	_, err = NewHash(tr, rdb, of(cache.Options[string, map[string]string]{}))
	try("a map", err)
	_, err = NewHash(tr, rdb, of(cache.Options[string, hidden]{}))
	try("an unexported field", err)
	_, err = GetHash[untagged](t.Context(), rdb, "p:a")
	try("GetHash", err)
	_, err = GetHash[hidden](t.Context(), rdb, "p:a")
	try("GetHash of an unexported field", err)
}

// R3. A hash's entry outlives neither its key nor, where fields have lives of their own, any field that was read. Fields
// that nobody reads do not count.
// Seen to fail with the calls of expire and expireFields removed from hashReader.
func TestHashTTL(t *testing.T) {
	const life = 500 * time.Millisecond
	// mortal gives one field of p:field a life; nil where there is no such thing. From hold on no event helps.
	run := func(t *testing.T, rdb *redis.Client, tr *invalidate.Tracker, mortal func(), hold func()) {
		c := hashes(t, tr, rdb)
		built, err := cache.New(tr, of(cache.Options[string, string]{Prefix: "built:", Load: func(ctx context.Context, k string) (string, error) {
			v, err := GetHash[item](ctx, rdb, "p:"+k)
			return v.Name, err
		}}))
		built = kept(t, built, err)
		keys := []string{"key", "field", "unread", "lasting"}
		for _, k := range keys {
			do(t, rdb, "HSET", "p:"+k, "name", "v", "price", 1, "unread", "x")
		}
		do(t, rdb, "PEXPIRE", "p:key", life.Milliseconds())
		ends := map[string]time.Time{"key": time.Now().Add(life)}
		if mortal != nil {
			mortal()
			ends["field"] = time.Now().Add(life)
		}
		fence(t, tr)
		for _, k := range keys {
			read(t, c, k)
			read(t, built, k)
		}
		hold()
		seen := map[string]bool{}
		for done := false; !done; time.Sleep(time.Millisecond) {
			done = true
			for _, k := range keys {
				end, dies := ends[k]
				passed := dies && time.Now().After(end)
				done = done && (!dies || passed)
				_, hit := c.Peek(k)
				_, builtHit := built.Peek(k)
				seen[k] = seen[k] || hit && builtHit
				if passed && (hit || builtHit) {
					t.Errorf("%s: an entry outlives what it was read from", k)
				}
				if !dies && !(hit && builtHit) {
					t.Fatalf("%s: went before its time", k)
				}
			}
		}
		for _, k := range keys {
			if !seen[k] {
				t.Errorf("%s was never kept: this schedule proves nothing", k)
			}
		}
	}
	t.Run("real server", func(t *testing.T) {
		s, rdb, tr := server(t, "--enable-debug-command", "yes")
		do(t, rdb, "DEBUG", "SET-ACTIVE-EXPIRE", 0)
		var mortal func() // the embedded server's fields have lives in any case
		if s.Knows(t, "HPTTL") {
			mortal = func() {
				do(t, rdb, "HPEXPIRE", "p:field", life.Milliseconds(), "FIELDS", 1, "price")
				do(t, rdb, "HPEXPIRE", "p:unread", life.Milliseconds(), "FIELDS", 1, "unread")
			}
		}
		run(t, rdb, tr, mortal, func() {})
	})
	t.Run("embedded server", func(t *testing.T) {
		rdb, tr, hold := deaf(t, notifytest.Start(t).Addr)
		run(t, rdb, tr, func() {
			do(t, rdb, "HSETEX", "p:field", "PX", life.Milliseconds(), "FIELDS", 1, "price", 1)
			do(t, rdb, "HSETEX", "p:unread", "PX", life.Milliseconds(), "FIELDS", 1, "unread", "x")
		}, hold)
	})
}

// Where the lives of the fields may not be asked for, or those of a hash that was there a moment ago, nothing is kept.
// Seen to fail without the NoStore in expireFields.
func TestHashLivesUnknown(t *testing.T) {
	s := redistest.Start(t)
	s.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all")
	rdb := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
	c := hashes(t, connect(t, rdb, invalidate.Options{}), rdb)
	s.AddUser(t, "app", "-pttl") // once the cache is there
	do(t, rdb, "HSET", "p:a", "name", "v")
	for range 2 {
		if r := read(t, c, "a"); r.Value.Name != "v" || r.Hit {
			t.Errorf("PTTL refused: %+v", r)
		}
	}

	e := notifytest.Start(t).Client(t) // knows HPTTL
	tr := connect(t, e, invalidate.Options{})
	c = hashes(t, tr, e)
	do(t, e, "HSET", "p:a", "name", "v")
	fence(t, tr)
	read(t, c, "a")
	if r := read(t, c, "a"); !r.Hit {
		t.Fatal("not kept: this schedule proves nothing")
	}
	tr.Forget(c.NameOf("a"))
	e.AddHook(&pipelines{each: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if cmd.Name() == "hpttl" {
				cmd.(*redis.Cmd).SetVal([]any{int64(-1)}) // too few
			}
		}
		return err
	}})
	for range 2 {
		if r := read(t, c, "a"); r.Value.Name != "v" || r.Hit {
			t.Errorf("an answer that tells too little: %+v", r)
		}
	}
}
