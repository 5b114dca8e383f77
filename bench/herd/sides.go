package herd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"
	"golang.org/x/sync/singleflight"
)

const (
	capacity = 1_000_000 // nothing leaves for want of room
	ttl      = time.Hour
)

type load func(ctx context.Context, key string) (string, error)

// side is one way to keep a herd from the origin.
type side struct {
	name string
	open func(redisAddr string, load load) (*opened, error)
}

// opened is a side in one process. get may be called from any goroutine.
type opened struct {
	get   func(ctx context.Context, key string) (string, error)
	gaps  func() uint64 // nil where there is no stream
	close func() error
}

// sides are all, Freshet first. Add a peer here.
func sides() []side {
	return []side{
		{"freshet", openFreshet},
		{"otter", openOtter},
		{"sturdyc", openSturdyc},
		{"singleflight Do", openDo},
		{"singleflight DoChan", openDoChan},
		{"nothing", openNothing},
	}
}

func sideNames() (names []string) {
	for _, s := range sides() {
		names = append(names, s.name)
	}
	return names
}

func sideNamed(name string) (side, bool) {
	for _, s := range sides() {
		if s.name == name {
			return s, true
		}
	}
	return side{}, false
}

func openFreshet(redisAddr string, load load) (*opened, error) {
	rdb := redis.NewClient(&redis.Options{Addr: redisAddr})
	tracker, err := invalidate.Connect(context.Background(), rdb, invalidate.Options{})
	if err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	c, err := cache.New(tracker, cache.Options[string, string]{Prefix: "herd:", MaxEntries: capacity, TTL: ttl, Load: load})
	if err != nil {
		return nil, errors.Join(err, tracker.Close(), rdb.Close())
	}
	return &opened{
		get:   c.Get,
		gaps:  func() uint64 { return tracker.Stats().Gaps },
		close: func() error { return errors.Join(c.Close(), tracker.Close(), rdb.Close()) },
	}, nil
}

func openOtter(_ string, load load) (*opened, error) {
	c, err := otter.New(&otter.Options[string, string]{
		MaximumSize: capacity, ExpiryCalculator: otter.ExpiryWriting[string, string](ttl),
	})
	if err != nil {
		return nil, err
	}
	loader := otter.LoaderFunc[string, string](load)
	return &opened{
		get:   func(ctx context.Context, key string) (string, error) { return c.Get(ctx, key, loader) },
		close: func() error { c.StopAllGoroutines(); return nil },
	}, nil
}

func openSturdyc(_ string, load load) (*opened, error) {
	c := sturdyc.New[string](capacity, 64, ttl, 10, sturdyc.WithNoContinuousEvictions())
	return &opened{
		get: func(ctx context.Context, key string) (string, error) {
			return c.GetOrFetch(ctx, key, func(ctx context.Context) (string, error) { return load(ctx, key) })
		},
		close: nothing,
	}, nil
}

// openDo is singleflight as it is mostly written: the load runs in the context
// of the call that began it, and the others wait for it whatever happens to them.
func openDo(_ string, load load) (*opened, error) {
	var kept sync.Map
	var group singleflight.Group
	return &opened{
		get: func(ctx context.Context, key string) (string, error) {
			if v, ok := kept.Load(key); ok {
				return v.(string), nil
			}
			v, err, _ := group.Do(key, func() (any, error) { return keep(ctx, &kept, key, load) })
			return text(v), err
		},
		close: nothing,
	}, nil
}

// openDoChan is singleflight with its two best-known cures: nobody's
// cancellation reaches the load, and everybody may leave.
func openDoChan(_ string, load load) (*opened, error) {
	var kept sync.Map
	var group singleflight.Group
	return &opened{
		get: func(ctx context.Context, key string) (string, error) {
			if v, ok := kept.Load(key); ok {
				return v.(string), nil
			}
			done := group.DoChan(key, func() (any, error) { return keep(context.WithoutCancel(ctx), &kept, key, load) })
			select {
			case r := <-done:
				return text(r.Val), r.Err
			case <-ctx.Done():
				return "", ctx.Err()
			}
		},
		close: nothing,
	}, nil
}

// openNothing is a map and nothing around it: the herd itself.
func openNothing(_ string, load load) (*opened, error) {
	var kept sync.Map
	return &opened{
		get: func(ctx context.Context, key string) (string, error) {
			if v, ok := kept.Load(key); ok {
				return v.(string), nil
			}
			return keep(ctx, &kept, key, load)
		},
		close: nothing,
	}, nil
}

func keep(ctx context.Context, kept *sync.Map, key string, load load) (string, error) {
	v, err := load(ctx, key)
	if err == nil {
		kept.Store(key, v)
	}
	return v, err
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func nothing() error { return nil }
