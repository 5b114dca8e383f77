package cache

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

func TestGetHitsAfterOneLoad(t *testing.T) {
	c := build(t, tracker(t), Options[string, int64]{Load: func(context.Context, string) (int64, error) { return 9, nil }})
	for i := range 3 {
		r, err := c.Read(t.Context(), "a", ReadOptions{})
		if r.Value != 9 || err != nil || r.Hit != (i > 0) || r.Stale || r.Staleness < 0 {
			t.Errorf("read %d: %+v, %v", i, r, err)
		}
	}
	if v, ok := c.Peek("a"); v != 9 || !ok {
		t.Error("Peek does not see what Get hits")
	}
	if _, ok := c.Peek("b"); ok {
		t.Error("Peek sees what is not there")
	}
	s := c.Stats()
	if s.Hits != 2 || s.Misses != 1 || s.Loads != 1 || s.Entries != 1 || s.HitRatio() < 0.66 || s.HitRatio() > 0.67 {
		t.Errorf("%+v", s)
	}
	if (Stats{}).HitRatio() != 0 {
		t.Error("a hit ratio of nothing")
	}
}

// An absence comes back as the loader's own error, from memory only for NegativeTTL, and other errors never.
func TestNegative(t *testing.T) {
	tr := tracker(t)
	mine := fmt.Errorf("no such row: %w", sql.ErrNoRows)
	down := errors.New("down")
	for _, err := range []error{ErrNotFound, redis.Nil, mine} {
		loads := 0
		load := func(context.Context, string) (int64, error) { loads++; return 0, err }
		kept := build(t, tr, Options[string, int64]{Load: load, NegativeTTL: time.Hour})
		for range 3 {
			if _, got := kept.Get(t.Context(), "a"); got != err {
				t.Errorf("want the very %v, got %v", err, got)
			}
		}
		if s := kept.Stats(); loads != 1 || s.NegativeHits != 2 || s.LoadErrors != 0 {
			t.Errorf("%v: %d loads, %+v", err, loads, s)
		}
		if _, ok := kept.Peek("a"); ok {
			t.Error("Peek gives an absence for a value")
		}
		tr.Forget(kept.NameOf("a"))
		if _, got := kept.Get(t.Context(), "a"); got != err || loads != 2 {
			t.Errorf("an absence that fell: %v, %d loads", got, loads)
		}
		loads = 0
		never := build(t, tr, Options[string, int64]{Load: load})
		for range 3 {
			_, _ = never.Get(t.Context(), "a")
		}
		if loads != 3 {
			t.Errorf("NegativeTTL 0 and %d loads of 3", loads)
		}
	}
	c := build(t, tr, Options[string, int64]{NegativeTTL: time.Hour, Load: func(context.Context, string) (int64, error) { return 0, down }})
	for range 2 {
		if _, err := c.Get(t.Context(), "a"); !errors.Is(err, down) {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Loads != 2 || s.LoadErrors != 2 || s.Entries != 0 {
		t.Errorf("an error was kept: %+v", s)
	}
}

// Nothing outlives its TTL, which never falls above Options.TTL.
func TestTTL(t *testing.T) {
	tr := tracker(t)
	const ttl = 30 * time.Millisecond
	c := build(t, tr, Options[string, time.Time]{TTL: ttl, Load: func(context.Context, string) (time.Time, error) {
		return time.Now(), nil
	}})
	hits := 0
	for range 200 {
		began := time.Now()
		r, err := c.Read(t.Context(), "a", ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Hit {
			hits++
			if age := began.Sub(r.Value); age > ttl {
				t.Fatalf("a hit is %v old, TTL %v", age, ttl)
			}
		}
		time.Sleep(time.Millisecond)
	}
	if s := c.Stats(); hits == 0 || s.Loads < 2 {
		t.Errorf("%d hits, %+v", hits, s)
	}
}

func TestClone(t *testing.T) {
	c := build(t, tracker(t), Options[string, []byte]{
		Load:  func(context.Context, string) ([]byte, error) { return []byte("abc"), nil },
		Clone: bytes.Clone,
	})
	for range 3 {
		v, err := c.Get(t.Context(), "a")
		if string(v) != "abc" || err != nil {
			t.Fatalf("%q, %v", v, err)
		}
		v[0] = 'x'
	}
}

func TestKeyTexts(t *testing.T) {
	tr := tracker(t)
	type named string
	type uuid [16]byte
	type tenant struct {
		Tenant string
		ID     int
	}
	check := func(got invalidate.Name, want string) {
		t.Helper()
		if got != invalidate.Key(want) {
			t.Errorf("%v, want %s", got, want)
		}
	}
	check(build(t, tr, Options[named, int]{}).NameOf("n"), "k:n")
	check(build(t, tr, Options[int8, int]{}).NameOf(-8), "k:-8")
	check(build(t, tr, Options[uint64, int]{}).NameOf(1<<63), "k:9223372036854775808")
	check(build(t, tr, Options[uuid, int]{}).NameOf(uuid{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff}),
		"k:01234567-89ab-cdef-ff00-000000000000")
	check(build(t, tr, Options[tenant, int]{AppendKey: func(dst []byte, k tenant) []byte {
		return fmt.Appendf(dst, "%s:%d", k.Tenant, k.ID)
	}}).NameOf(tenant{"acme", 7}), "k:acme:7")
}

// Tenants' struct keys of one ID are different entries, and fall one by one.
func TestStructKeys(t *testing.T) {
	tr := tracker(t)
	type key struct {
		Tenant string
		ID     int
	}
	loads := map[key]int{}
	c := build(t, tr, Options[key, string]{
		AppendKey: func(dst []byte, k key) []byte { return fmt.Appendf(dst, "%s:%d", k.Tenant, k.ID) },
		Load:      func(_ context.Context, k key) (string, error) { loads[k]++; return k.Tenant, nil },
	})
	a, b := key{"acme", 1}, key{"beta", 1}
	for range 2 {
		for _, k := range []key{a, b} {
			if v, err := c.Get(t.Context(), k); v != k.Tenant || err != nil {
				t.Fatal(v, err)
			}
		}
	}
	if err := c.Invalidate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for _, k := range []key{a, b} {
		_, _ = c.Get(t.Context(), k)
	}
	if loads[a] != 2 || loads[b] != 1 {
		t.Errorf("loads %v", loads)
	}
}

func TestGetMany(t *testing.T) {
	tr := tracker(t)
	var asked [][]string
	c := build(t, tr, Options[string, string]{
		NegativeTTL: time.Hour,
		LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
			asked = append(asked, ks)
			out := map[string]string{}
			for _, k := range ks {
				switch k {
				case "absent":
				case "private":
					invalidate.NoStore(ForKey(ctx, k))
					out[k] = k
				case "fails":
					return nil, errors.New("down")
				default:
					out[k] = k
				}
			}
			return out, nil
		},
	})
	if v, err := c.Get(t.Context(), "a"); v != "a" || err != nil { // LoadMany serves Get too
		t.Fatal(v, err)
	}
	want := map[string]string{"a": "a", "b": "b", "private": "private"}
	for range 2 {
		got, err := c.GetMany(t.Context(), []string{"a", "b", "b", "absent", "private"})
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if got := fmt.Sprint(asked); got != "[[a] [b absent private] [private]]" {
		t.Errorf("asked for %s", got)
	}
	got, err := c.GetMany(t.Context(), []string{"a", "fails", "c"})
	if err == nil || strings.Count(err.Error(), "down") != 1 || !maps.Equal(got, map[string]string{"a": "a"}) {
		t.Errorf("a failed load: %v, %v", got, err)
	}
	if got, err := c.GetMany(t.Context(), nil); len(got) != 0 || err != nil {
		t.Errorf("no keys: %v, %v", got, err)
	}
	one := build(t, tr, Options[string, string]{Load: func(_ context.Context, k string) (string, error) {
		if k == "absent" {
			return "", ErrNotFound
		}
		return k, nil
	}})
	if got, err := one.GetMany(t.Context(), []string{"a", "absent", "b"}); err != nil || len(got) != 2 {
		t.Errorf("without LoadMany: %v, %v", got, err)
	}
}

// A loader may do with its keys what it likes.
// Seen to fail (each key with the other's value) without slices.Clone in flyMany.
func TestLoadManyMaySortItsKeys(t *testing.T) {
	tr := tracker(t)
	c := build(t, tr, Options[string, string]{LoadMany: func(_ context.Context, ks []string) (map[string]string, error) {
		slices.Sort(ks)
		out := map[string]string{}
		for _, k := range ks {
			out[k] = "value of " + k
		}
		return out, nil
	}})
	got, err := c.GetMany(t.Context(), []string{"b", "a", "c"})
	if err != nil || got["a"] != "value of a" || got["b"] != "value of b" {
		t.Errorf("%v, %v", got, err)
	}
	tr.Forget(c.NameOf("a"))
	if _, ok := c.Peek("a"); ok {
		t.Error("it does not fall with its own key")
	}
	if _, ok := c.Peek("b"); !ok {
		t.Error("it fell with another's key")
	}
}

// A panic in AppendKey reaches the caller as an error, alone and in a batch.
// Seen to end the process with record outside guarded.
func TestPanicInAppendKey(t *testing.T) {
	type tenant struct{ id string }
	c := build(t, tracker(t), Options[*tenant, string]{
		AppendKey: func(dst []byte, k *tenant) []byte { return append(dst, k.id...) },
		LoadMany:  func(context.Context, []*tenant) (map[*tenant]string, error) { return nil, nil },
	})
	if _, err := c.Get(t.Context(), nil); !errors.Is(err, ErrPanic) {
		t.Errorf("Get: %v", err)
	}
	if _, err := c.GetMany(t.Context(), []*tenant{nil}); !errors.Is(err, ErrPanic) {
		t.Errorf("GetMany: %v", err)
	}
}

// What lands after LoadTimeout is not stored over what was loaded since.
// Seen to fail without the call of onBoard in land.
func TestLateLandingBuriesNothing(t *testing.T) {
	stuck, landed := make(chan struct{}), make(chan struct{}, 2)
	var loads atomic.Int64
	c := build(t, tracker(t), Options[string, int64]{
		LoadTimeout: 20 * time.Millisecond,
		Load: func(context.Context, string) (int64, error) {
			n := loads.Add(1)
			if n == 1 {
				<-stuck
			}
			return n, nil
		},
		Hooks: Hooks[string]{Loaded: func(string, time.Duration, error) { landed <- struct{}{} }},
	})
	if _, err := c.Get(t.Context(), "a"); !errors.Is(err, ErrLoadTimeout) {
		t.Fatalf("a stuck load: %v", err)
	}
	if v, err := c.Get(t.Context(), "a"); v != 2 || err != nil {
		t.Fatalf("the next: %d, %v", v, err)
	}
	<-landed
	close(stuck)
	<-landed
	if v, err := c.Get(t.Context(), "a"); v != 2 || err != nil {
		t.Errorf("after the late landing: %d, %v", v, err)
	}
}

// A ServeStale cache is not stale for those who ask for more than it promises.
// Seen to fail without the comparison of bounds in look.
func TestServeStaleHeedsATighterBound(t *testing.T) {
	tr := tracker(t)
	var truth origin
	inner := build(t, tr, Options[string, int64]{Prefix: "i:", Load: truth.load, Beyond: ServeStale})
	outer := build(t, tr, Options[string, int64]{Prefix: "o:", Load: inner.Get})
	truth.truth.Store(1)
	_, _ = inner.Get(t.Context(), "x")
	truth.truth.Store(2)
	if r, err := inner.Read(t.Context(), "x", ReadOptions{MaxStaleness: 1}); r.Value != 2 || r.Hit || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	truth.truth.Store(3)
	if r, err := outer.Read(t.Context(), "x", ReadOptions{MaxStaleness: 1}); r.Value != 3 || err != nil {
		t.Errorf("through another cache: %+v, %v", r, err)
	}
}

// ForKey speaks of the innermost load: not of a batch around it that happens to hold the same key.
// Seen to fail without the manyKey that record puts over the outer one.
func TestForKeyOfANestedLoad(t *testing.T) {
	tr := tracker(t)
	inner := build(t, tr, Options[string, string]{Prefix: "i:", LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
		for _, k := range ks {
			invalidate.NoStore(ForKey(ctx, k))
		}
		return map[string]string{"a": "a"}, nil
	}})
	outer := build(t, tr, Options[string, string]{Prefix: "o:", LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
		v, err := inner.Get(invalidate.Detach(ctx), "a")
		return map[string]string{"a": v}, err
	}})
	for range 2 {
		if _, err := outer.GetMany(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := outer.Stats().Hits; n != 1 {
		t.Errorf("the outer entry had %d hits of 1: the inner load's NoStore reached it", n)
	}
	if n := inner.Stats().Entries; n != 0 {
		t.Errorf("the inner load's NoStore did not reach it: %d entries", n)
	}
}

// A batch joins what others load already, and what fell under way is loaded again.
func TestGetManyJoinsFlights(t *testing.T) {
	tr := tracker(t)
	o := gated()
	var batches [][]string
	c := build(t, tr, Options[string, int64]{Load: o.load, LoadMany: func(_ context.Context, ks []string) (map[string]int64, error) {
		batches = append(batches, ks)
		return map[string]int64{"b": 20}, nil
	}})
	o.truth.Store(1)
	single := async(func() (int64, error) { return c.Get(t.Context(), "a") })
	g := o.next(t)
	many := async(func() (map[string]int64, error) { return c.GetMany(t.Context(), []string{"a", "b"}) })
	waiting(t, c, "a", 2)
	g.open <- nil
	if m, err := many.wait(t); err != nil || !maps.Equal(m, map[string]int64{"a": 1, "b": 20}) {
		t.Errorf("%v, %v", m, err)
	}
	_, _ = single.wait(t)
	if fmt.Sprint(batches) != "[[b]]" || o.loads.Load() != 1 {
		t.Errorf("batches %v, single loads %d", batches, o.loads.Load())
	}
}

// The cancellation of one caller leaves a batch to those who ride with it, and the last one's ends it.
func TestGetManyCancellation(t *testing.T) {
	tr := tracker(t)
	begun := make(chan context.Context, 1)
	open := make(chan struct{})
	c := build(t, tr, Options[string, int64]{LoadMany: func(ctx context.Context, ks []string) (map[string]int64, error) {
		begun <- ctx
		select {
		case <-open:
			return map[string]int64{"a": 1, "b": 2}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	many := async(func() (map[string]int64, error) { return c.GetMany(ctx, []string{"a", "b"}) })
	lctx := <-begun
	rider := async(func() (int64, error) { return c.Get(t.Context(), "b") })
	waiting(t, c, "b", 2)
	cancel()
	if _, err := many.wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	if lctx.Err() != nil {
		t.Fatal("the batch was cancelled though one key of it is waited for")
	}
	open <- struct{}{}
	if v, err := rider.wait(t); v != 2 || err != nil {
		t.Errorf("rider %d, %v", v, err)
	}
	tr.Forget(c.NameOf("a"), c.NameOf("b"))
	ctx, cancel = context.WithCancel(t.Context())
	many = async(func() (map[string]int64, error) { return c.GetMany(ctx, []string{"a", "b"}) })
	lctx = <-begun
	cancel()
	_, _ = many.wait(t)
	<-lctx.Done()
}

func TestWrapAndGetWith(t *testing.T) {
	c := build(t, tracker(t), Options[int, string]{})
	if _, err := c.Get(t.Context(), 1); !errors.Is(err, ErrNoLoader) {
		t.Errorf("no loader: %v", err)
	}
	loads := 0
	get := c.Wrap(func(_ context.Context, k int) (string, error) { loads++; return fmt.Sprint(k), nil })
	for range 3 {
		if v, err := get(t.Context(), 4); v != "4" || err != nil {
			t.Fatal(v, err)
		}
	}
	if v, err := c.GetWith(t.Context(), 4, nil); v != "4" || err != nil || loads != 1 {
		t.Errorf("GetWith: %q, %v, %d loads", v, err, loads)
	}
}

// R12: what Write and Invalidate announce has fallen here when they return, error, panic, cancelled or not, and in
// another process after a fence there. Nothing is written to Redis.
// The tracker's own test takes the guard out.
func TestWrite(t *testing.T) {
	s, here := server(t)
	there := connect(t, s, invalidate.Options{})
	var truth origin
	a := build(t, here, Options[string, int64]{Load: truth.load})
	b := build(t, there, Options[string, int64]{Load: truth.load})
	rdb := s.Client(t)
	failed := errors.New("failed")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for i, how := range []struct {
		ctx context.Context
		end func() error
	}{
		{t.Context(), func() error { return nil }},
		{t.Context(), func() error { return failed }},
		{cancelled, func() error { return cancelled.Err() }},
		{t.Context(), func() error { panic("boom") }},
	} {
		for _, c := range []*Cache[string, int64]{a, b} {
			_, _ = c.Get(t.Context(), "x")
			if r, _ := c.Read(t.Context(), "x", ReadOptions{}); !r.Hit {
				t.Fatal("not warm")
			}
		}
		want := truth.truth.Load() + 1
		func() {
			defer func() { _ = recover() }()
			_ = a.Write(how.ctx, "x", func(context.Context) error { truth.truth.Store(want); return how.end() })
		}()
		if v, _ := a.Get(t.Context(), "x"); v != want {
			t.Errorf("%d: here, after Write: %d, want %d", i, v, want)
		}
		fence(t, there)
		if v, _ := b.Get(t.Context(), "x"); v != want {
			t.Errorf("%d: there, after a fence: %d, want %d", i, v, want)
		}
	}
	if n, err := rdb.Exists(t.Context(), "k:x").Result(); n != 0 || err != nil {
		t.Errorf("the key exists: %d, %v", n, err)
	}
	if err := rdb.Set(t.Context(), "k:x", "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := a.Invalidate(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if v, err := rdb.Get(t.Context(), "k:x").Result(); v != "mine" || err != nil {
		t.Errorf("Invalidate changed the user's key: %q, %v", v, err)
	}
	if err := a.Write(t.Context(), "x", func(context.Context) error { return failed }); err != failed {
		t.Errorf("Write's error is %v, want the write's own", err)
	}
}

// After one's own Write the next load is kept: the announcement that comes back is not taken for another change.
func TestWriteCostsOneLoad(t *testing.T) {
	tr := tracker(t)
	var truth origin
	c := build(t, tr, Options[string, int64]{Load: truth.load})
	for range 20 {
		if err := c.Write(t.Context(), "x", func(context.Context) error { truth.truth.Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Get(t.Context(), "x")
		fence(t, tr)
		if r, err := c.Read(t.Context(), "x", ReadOptions{}); !r.Hit || err != nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func TestNoKey(t *testing.T) {
	tr := tracker(t)
	var truth origin
	c := build(t, tr, Options[string, int64]{NoKey: true, Load: func(ctx context.Context, k string) (int64, error) {
		invalidate.DependOn(ctx, invalidate.Tag("t"))
		return truth.load(ctx, k)
	}})
	truth.truth.Store(1)
	_, _ = c.Get(t.Context(), "")
	truth.truth.Store(2)
	if r, err := c.Read(t.Context(), "", ReadOptions{}); r.Value != 1 || !r.Hit || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := tr.Touch(t.Context(), invalidate.Tag("t")); err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Get(t.Context(), ""); v != 2 {
		t.Errorf("after the tag fell: %d", v)
	}
	if err := c.Invalidate(t.Context(), "x"); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	ran := false
	if err := c.Write(t.Context(), "x", func(context.Context) error { ran = true; return nil }); !errors.Is(err, ErrNoKey) || ran {
		t.Error(err, ran)
	}
}

func TestCapacity(t *testing.T) {
	tr := tracker(t)
	var mu sync.Mutex
	evicted := map[int]bool{}
	few := build(t, tr, Options[int, int]{MaxEntries: 64, Load: func(_ context.Context, k int) (int, error) { return k, nil },
		Hooks: Hooks[int]{Evict: func(k int, reason string) {
			mu.Lock()
			defer mu.Unlock()
			if reason != "capacity" {
				t.Errorf("evicted for %s", reason)
			}
			evicted[k] = true
		}}})
	for k := range 1000 {
		if v, err := few.Get(t.Context(), k); v != k || err != nil {
			t.Fatal(v, err)
		}
	}
	s := few.Stats()
	if s.Entries == 0 || s.Entries > 64 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
	eventually(t, "evictions are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return uint64(len(evicted)) == few.Stats().Evicted && len(evicted) >= 900
	})
	big := build(t, tr, Options[int, string]{MaxBytes: 100_000, Load: func(_ context.Context, k int) (string, error) {
		return strings.Repeat("x", 1000), nil
	}})
	for k := range 1000 {
		_, _ = big.Get(t.Context(), k)
	}
	if s := big.Stats(); s.Bytes == 0 || s.Bytes > 100_000 || s.Entries > 100 {
		t.Errorf("%+v", s)
	}
}

// Beyond MaxStaleness: load, or serve and say so; what fell is not served by either.
func TestBeyond(t *testing.T) {
	s, tr := server(t)
	var truth origin
	const bound = 600 * time.Millisecond
	load := build(t, tr, Options[string, int64]{Prefix: "l:", Load: truth.load, MaxStaleness: bound})
	serve := build(t, tr, Options[string, int64]{Prefix: "s:", Load: truth.load, MaxStaleness: bound, Beyond: ServeStale})
	truth.truth.Store(1)
	for _, c := range []*Cache[string, int64]{load, serve} {
		for _, k := range []string{"x", "y"} {
			_, _ = c.Get(t.Context(), k)
		}
	}
	loaded := time.Now()
	s.Pause()
	eventually(t, "every proof ages", func() bool { return tr.Staleness() > bound && time.Since(loaded) > bound })
	truth.truth.Store(2)
	if r, err := load.Read(t.Context(), "x", ReadOptions{}); r.Hit || r.Value != 2 || err != nil {
		t.Errorf("Load: %+v, %v", r, err)
	}
	// A load is proof of its own: memory helps while Redis is away.
	if r, err := load.Read(t.Context(), "x", ReadOptions{}); !r.Hit || r.Staleness > bound || err != nil {
		t.Errorf("just loaded: %+v, %v", r, err)
	}
	r, err := serve.Read(t.Context(), "x", ReadOptions{})
	if !r.Hit || !r.Stale || r.Value != 1 || r.Staleness <= bound || err != nil {
		t.Errorf("ServeStale: %+v, %v", r, err)
	}
	if st := serve.Stats(); st.StaleServed != 1 || st.MaxStalenessSeen > bound {
		t.Errorf("%+v", st)
	}
	// R6: what is built on it is not stored.
	parent := build(t, tr, Options[string, int64]{Prefix: "p:", Load: func(ctx context.Context, _ string) (int64, error) {
		return serve.Get(ctx, "x")
	}})
	for range 2 {
		if r, _ := parent.Read(t.Context(), "p", ReadOptions{}); r.Hit {
			t.Error("a value built on a stale one was kept")
		}
	}
	tr.Forget(serve.NameOf("y"))
	if r, err := serve.Read(t.Context(), "y", ReadOptions{}); r.Hit || r.Value != 2 || err != nil {
		t.Errorf("ServeStale of what fell: %+v, %v", r, err)
	}
	// A fence that cannot be had is a load.
	if r, err := load.Read(t.Context(), "x", ReadOptions{Fence: true}); r.Hit || err != nil {
		t.Errorf("fenced read while Redis is away: %+v, %v", r, err)
	}
	s.Resume()
}

// A call may ask for more than the cache promises, also of all that its value is loaded from.
// Seen to fail without rec.Within in record.
func TestReadMaxStaleness(t *testing.T) {
	tr := tracker(t)
	var truth origin
	child := build(t, tr, Options[string, int64]{Prefix: "c:", Load: truth.load})
	parent := build(t, tr, Options[string, int64]{Prefix: "p:", Load: child.Get})
	_, _ = parent.Get(t.Context(), "x")
	r, err := parent.Read(t.Context(), "x", ReadOptions{MaxStaleness: 1})
	if r.Hit || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if n := truth.loads.Load(); n != 2 {
		t.Errorf("the child was loaded %d times, want 2: it came from memory into a read that allows for none", n)
	}
	if _, err := parent.Read(t.Context(), "x", ReadOptions{MaxStaleness: -1}); err == nil {
		t.Error("a negative bound was taken")
	}
}

func TestFencedRead(t *testing.T) {
	s, tr := server(t)
	rdb := s.Client(t)
	c := build(t, tr, Options[string, string]{Load: func(ctx context.Context, k string) (string, error) {
		return rdb.Get(ctx, "k:"+k).Result()
	}})
	for i := range 200 {
		want := fmt.Sprint(i)
		if err := rdb.Set(t.Context(), "k:a", want, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Read(t.Context(), "a", ReadOptions{Fence: true}); r.Value != want || err != nil {
			t.Fatalf("%+v, %v, want %s", r, err, want)
		}
	}
}

func TestClose(t *testing.T) {
	s, tr := server(t)
	o := gated()
	c := build(t, tr, Options[string, int64]{Load: o.load})
	call := async(func() (int64, error) { return c.Get(t.Context(), "a") })
	g := o.next(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { _ = c.Close() })
	}
	<-g.ctx.Done()
	wg.Wait()
	if _, err := call.wait(t); !errors.Is(err, ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_, get := c.Get(t.Context(), "a")
	_, many := c.GetMany(t.Context(), []string{"a"})
	_, read := c.Read(t.Context(), "a", ReadOptions{Fence: true})
	for what, err := range map[string]error{
		"Get": get, "GetMany": many, "Read": read, "Invalidate": c.Invalidate(t.Context(), "a"),
		"Write": c.Write(t.Context(), "a", func(context.Context) error { t.Error("ran"); return nil }),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, ok := c.Peek("a"); ok {
		t.Error("Peek after Close")
	}
	_ = c.Stats()

	// A cache on a closed tracker loads through.
	var truth origin
	open := build(t, tr, Options[string, int64]{Load: truth.load})
	_, _ = open.Get(t.Context(), "a")
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, err := open.Read(t.Context(), "a", ReadOptions{}); r.Hit || err != nil {
			t.Errorf("on a closed tracker: %+v, %v", r, err)
		}
	}
	if _, err := New(tr, Options[string, int64]{Prefix: "k:", MaxEntries: 1}); !errors.Is(err, invalidate.ErrClosed) {
		t.Errorf("New on a closed tracker: %v", err)
	}
	_ = s
}

func TestFollowCaches(t *testing.T) {
	s, _ := server(t)
	rdb := s.Client(t)
	tr := connect(t, s, invalidate.Options{FollowCaches: true})
	c := build(t, tr, Options[string, string]{Prefix: "a:", Load: func(ctx context.Context, k string) (string, error) {
		if k == "outside" {
			invalidate.DependOn(ctx, invalidate.Key("z:1"))
		}
		return rdb.Get(ctx, "a:"+k).Result()
	}})
	for _, v := range []string{"1", "2"} {
		rdb.Set(t.Context(), "a:x", v, 0)
		fence(t, tr)
		for i := range 2 {
			if r, err := c.Read(t.Context(), "x", ReadOptions{}); r.Value != v || r.Hit != (i > 0) || err != nil {
				t.Errorf("%s: %+v, %v", v, r, err)
			}
		}
	}
	rdb.Set(t.Context(), "a:outside", "v", 0)
	for range 2 {
		if r, err := c.Read(t.Context(), "outside", ReadOptions{}); r.Hit || err != nil {
			t.Errorf("depends on what nobody hears of: %+v, %v", r, err)
		}
	}
	if st := tr.Stats(); st.Uncovered != 2 || st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
	fixed := connect(t, s, invalidate.Options{Notify: notify.Options{Prefixes: []string{"b:"}}})
	if _, err := New(fixed, Options[string, int]{Prefix: "a:", MaxEntries: 1}); !errors.Is(err, invalidate.ErrNotCovered) {
		t.Errorf("New outside the prefixes: %v", err)
	}
	if _, err := New(fixed, Options[string, int]{Prefix: "b:c:", MaxEntries: 1}); err != nil {
		t.Errorf("New inside the prefixes: %v", err)
	}
}

func TestOptionsValidate(t *testing.T) {
	tr := tracker(t)
	type bytesKey struct{ A, B int }
	try := func(field string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, o := range map[string]Options[string, int]{
		"NoKey":                {NoKey: true, Prefix: "p:", MaxEntries: 1},
		"MaxEntries is -1":     {MaxEntries: -1},
		"MaxBytes is -1":       {MaxBytes: -1},
		"both 0":               {},
		"both set":             {MaxEntries: 1, MaxBytes: 1},
		"Cost is nil":          {MaxBytes: 1},
		"Cost is set":          {MaxEntries: 1, Cost: func(string, int) int64 { return 1 }},
		"TTL is -1ns":          {MaxEntries: 1, TTL: -1},
		"TTLJitter is 2":       {MaxEntries: 1, TTLJitter: 2},
		"NegativeTTL is -1ns":  {MaxEntries: 1, NegativeTTL: -1},
		"MaxStaleness is -1ns": {MaxEntries: 1, MaxStaleness: -1},
		"LoadTimeout is -1ns":  {MaxEntries: 1, LoadTimeout: -1},
		"Beyond is 7":          {MaxEntries: 1, Beyond: 7},
		"below two heartbeats": {MaxEntries: 1, MaxStaleness: 499 * time.Millisecond},
	} {
		_, err := New(tr, o)
		try(field, err)
	}
	_, err := New(tr, Options[bytesKey, int]{MaxEntries: 1})
	try("AppendKey is nil", err)
	_, err = New[string, int](nil, Options[string, int]{MaxEntries: 1})
	try("tracker is nil", err)

	c, err := New(tr, Options[string, int]{MaxEntries: 1, Load: func(context.Context, string) (int, error) { return 1, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, get := c.Get(t.Context(), "")
	_, many := c.GetMany(t.Context(), []string{""})
	for what, err := range map[string]error{
		"Get": get, "GetMany": many, "Invalidate": c.Invalidate(t.Context(), ""),
		"Write": c.Write(t.Context(), "", func(context.Context) error { t.Error("ran"); return nil }),
	} {
		if !errors.Is(err, ErrEmptyKey) {
			t.Errorf("%s of an empty key: %v", what, err)
		}
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	c := build(t, tracker(t), Options[string, int64]{Load: func(context.Context, string) (int64, error) { return 1, nil }})
	ctx := context.Background()
	_, _ = c.Get(ctx, "a")
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Get(ctx, "a") }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a hit", n)
	}
}
