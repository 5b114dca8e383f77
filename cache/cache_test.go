package cache

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
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

func TestHitAllocatesNothing(t *testing.T) {
	c := build(t, tracker(t), Options[string, int64]{Load: func(context.Context, string) (int64, error) { return 1, nil }})
	ctx := context.Background()
	_, _ = c.Get(ctx, "a")
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Get(ctx, "a") }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a hit", n)
	}
}

// Lookup serves what memory has, absences too, counts it as a hit, hands up what it rests on, and never loads.
// Seen to fail (the value built on it stayed) with Peek in its place.
func TestLookup(t *testing.T) {
	tr := tracker(t)
	loads := 0
	c := build(t, tr, Options[string, string]{NegativeTTL: time.Hour, Load: func(_ context.Context, k string) (string, error) {
		loads++
		if k == "absent" {
			return "", ErrNotFound
		}
		return k, nil
	}})
	lookup := func(ctx context.Context, k, v string, ok bool, err error) {
		t.Helper()
		if gv, gok, gerr := c.Lookup(ctx, k); gv != v || gok != ok || gerr != err {
			t.Errorf("%s: %q, %v, %v", k, gv, gok, gerr)
		}
	}
	lookup(t.Context(), "a", "", false, nil)
	_, _ = c.Get(t.Context(), "a")
	_, _ = c.Get(t.Context(), "absent")
	before := c.Stats()
	lookup(t.Context(), "a", "a", true, nil)
	lookup(t.Context(), "absent", "", true, ErrNotFound)
	lookup(t.Context(), "b", "", false, nil)
	if s := c.Stats(); s.Hits != before.Hits+2 || s.NegativeHits != before.NegativeHits+1 || s.Misses != before.Misses || loads != 2 {
		t.Errorf("%+v, then %+v, %d loads", before, s, loads)
	}
	outer := build(t, tr, Options[string, string]{Prefix: "o:", Load: func(ctx context.Context, _ string) (string, error) {
		v, _, err := c.Lookup(ctx, "a")
		return v, err
	}})
	for range 2 {
		if v, err := outer.Get(t.Context(), "x"); v != "a" || err != nil {
			t.Fatal(v, err)
		}
	}
	tr.Forget(c.NameOf("a"))
	lookup(t.Context(), "a", "", false, nil)
	if v, err := outer.Get(t.Context(), "x"); v != "" || err != nil {
		t.Errorf("what was built on it: %q, %v", v, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	lookup(t.Context(), "absent", "", false, nil)
}
