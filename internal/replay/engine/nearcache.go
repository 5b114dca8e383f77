package engine

import (
	"context"
	"errors"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// NearCache is the whole near cache through cache.Get, flights and validity included, on an embedded Redis of its own
// that nobody writes to.
func NearCache() Kind {
	return Kind{"cache.Get", func(capacity int, _ []uint64) (Engine, func() error, error) {
		server, err := notifytest.Run()
		if err != nil {
			return nil, nil, err
		}
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
		done := func() error { return errors.Join(rdb.Close(), server.Close()) }
		tracker, err := invalidate.Connect(context.Background(), rdb, invalidate.Options{})
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		e := &near{}
		e.cache, err = cache.New(tracker, cache.Options[uint64, uint64]{
			NoKey: true, MaxEntries: capacity, TTL: time.Hour, MaxStaleness: time.Hour,
			Load: func(_ context.Context, k uint64) (uint64, error) { e.loads++; return k, nil },
		})
		if err != nil {
			return nil, nil, errors.Join(err, tracker.Close(), done())
		}
		return e, func() error { return errors.Join(e.cache.Close(), tracker.Close(), done()) }, nil
	}}
}

type near struct {
	cache *cache.Cache[uint64, uint64]
	loads int // written by one load at a time, which Access waits for
}

func (e *near) Access(key uint64) bool {
	before := e.loads
	if v, err := e.cache.Get(context.Background(), key); err != nil || v != key {
		panic("cache.Get gave another key's value, or failed")
	}
	return e.loads == before
}
