package cache

import (
	"context"
	"errors"
	"testing"

	"github.com/gofreshet/freshet/invalidate"
)

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
