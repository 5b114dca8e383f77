package cache

import (
	"context"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
)

// interposed runs missed once, between a Get that found nothing and its return.
type interposed struct {
	store.Store
	missed func()
}

func (s *interposed) Get(hash uint64) (any, bool) {
	e, ok := s.Store.Get(hash)
	if f := s.missed; !ok && f != nil {
		s.missed = nil
		f()
	}
	return e, ok
}

// A call that looked into memory a moment before another call's load landed takes what that left there. Seen to fail
// (two loads) without the look that board and boardMany take under their mutex.
func TestLandedSinceTheLook(t *testing.T) {
	tr := tracker(t)
	for name, read := range map[string]func(*Cache[string, int64]) error{
		"Get": func(c *Cache[string, int64]) error {
			_, err := c.Get(t.Context(), "a")
			return err
		},
		"GetMany": func(c *Cache[string, int64]) error {
			_, err := c.GetMany(t.Context(), []string{"a"})
			return err
		},
	} {
		o := &origin{}
		var between *interposed
		c := build(t, tr, Options[string, int64]{
			Load: o.load,
			LoadMany: func(ctx context.Context, ks []string) (map[string]int64, error) {
				v, err := o.load(ctx, "")
				return map[string]int64{ks[0]: v}, err
			},
			Store: func(cfg store.Config) (store.Store, error) {
				s, err := store.Open(cfg)
				between = &interposed{Store: s}
				return between, err
			},
		})
		between.missed = func() {
			if _, err := c.Get(t.Context(), "a"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := read(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := o.loads.Load(); n != 1 {
			t.Errorf("%s: %d loads, want 1", name, n)
		}
		if s := c.Stats(); s.Joined != 1 {
			t.Errorf("%s: Joined %d, want 1", name, s.Joined)
		}
	}
}
