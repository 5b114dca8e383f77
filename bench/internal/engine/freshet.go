package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofreshet/freshet/bench/internal/workload"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// Freshet is the near cache as users have it, through cache.Get: flights,
// records and validity included, on an embedded Redis of its own. A fall is
// applied to the tracker as an event from Redis is, without the wire.
func Freshet() Kind { return NearCache("freshet", nil) }

// NearCache is Freshet on another engine than the default; nil is the default.
func NearCache(name string, open store.Factory) Kind {
	return Kind{Name: name, Varies: true, Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		e := &near{}
		if err := e.open(capacity, open); err != nil {
			return nil, nil, errors.Join(err, e.close())
		}
		return e, e.close, nil
	}}
}

// ages are beyond any replay: a workload says itself when keys fall.
const ages = 1000 * time.Hour

type near struct {
	server  *notifytest.Server
	rdb     *redis.Client
	tracker *invalidate.Tracker
	cache   *cache.Cache[uint64, uint64]
	loads   int // written by one load at a time, which Read waits for
	failed  error
}

func (e *near) open(capacity int, factory store.Factory) (err error) {
	if e.server, err = notifytest.Run(); err != nil {
		return err
	}
	e.rdb = redis.NewClient(&redis.Options{Addr: e.server.Addr})
	// A replay keeps the processor to itself; heartbeats that come late for it must not close the session.
	e.tracker, err = invalidate.Connect(context.Background(), e.rdb, invalidate.Options{
		Notify: notify.Options{Heartbeat: time.Minute, PongTimeout: time.Hour, AuditEvery: -1},
	})
	if err != nil {
		return err
	}
	e.cache, err = cache.New(e.tracker, cache.Options[uint64, uint64]{
		Prefix: "k:", MaxEntries: capacity, TTL: ages, TTLJitter: -1, MaxStaleness: ages, Store: factory,
		Load: func(_ context.Context, k uint64) (uint64, error) { e.loads++; return k, nil },
	})
	return err
}

func (e *near) Read(key uint64) bool {
	before := e.loads
	if v, err := e.cache.Get(context.Background(), key); e.failed == nil && (err != nil || v != key) {
		e.failed = fmt.Errorf("key %d: got %d, %w", key, v, err)
	}
	return e.loads == before
}

func (e *near) Fall(key uint64) { e.tracker.Forget(e.cache.NameOf(key)) }

func (e *near) close() error {
	err := e.failed
	if e.tracker != nil {
		if gaps := e.tracker.Stats().GapsByReason; len(gaps) > 0 {
			err = errors.Join(err, fmt.Errorf("all fell for %v, which is not what was to be measured: run it on a calmer machine", gaps))
		}
	}
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close())
	}
	if e.tracker != nil {
		err = errors.Join(err, e.tracker.Close())
	}
	if e.rdb != nil {
		err = errors.Join(err, e.rdb.Close())
	}
	if e.server != nil {
		err = errors.Join(err, e.server.Close())
	}
	return err
}
