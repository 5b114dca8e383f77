package cache

import (
	"context"
	"fmt"
	"testing"
	"time"
)

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
