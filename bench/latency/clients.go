package latency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

func decode(text []byte) (*product, error) {
	p := new(product)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	return p, nil
}

// rueidisCache is rueidis with its defaults.
func rueidisCache(value string) func(context.Context, env) (*opened, error) {
	return func(_ context.Context, e env) (*opened, error) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{e.addr}, ForceSingleClient: true})
		if err != nil {
			return nil, err
		}
		var missed atomic.Uint64
		return &opened{
			read: func(i int) (int64, error) {
				r := c.DoCache(background, c.B().Get().Key(e.keys[i]).Cache(), ttl)
				if !r.IsCacheHit() {
					missed.Add(1)
				}
				if value == raw {
					s, err := r.ToString()
					return int64(len(s)), err
				}
				p := new(product)
				err := r.DecodeJSON(p)
				return p.Version, err
			},
			missed: missed.Load,
			close:  func() error { c.Close(); return nil },
		}, nil
	}
}

// goRedisCache is go-redis's client-side cache with its defaults, but for the room.
func goRedisCache(value string) func(context.Context, env) (*opened, error) {
	return func(ctx context.Context, e env) (*opened, error) {
		if err := tracks(ctx, e.addr); err != nil {
			return nil, err
		}
		rdb := redis.NewClient(&redis.Options{
			Addr: e.addr, Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: 4 * len(e.keys)},
		})
		for range 2 {
			if err := rdb.Get(ctx, probe).Err(); err != nil {
				return nil, errors.Join(err, rdb.Close())
			}
		}
		if rdb.CSCStats().Hits == 0 {
			return nil, errors.Join(errors.New("a key read twice was not kept"), rdb.Close())
		}
		o := reading(rdb, e, value)
		o.missed = func() uint64 { return rdb.CSCStats().Misses }
		return o, nil
	}
}

// hooked is go-redis with Freshet's hook.
func hooked(value string) func(context.Context, env) (*opened, error) {
	return func(ctx context.Context, e env) (*opened, error) {
		rdb := redis.NewClient(&redis.Options{Addr: e.addr})
		tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
		if err != nil {
			return nil, errors.Join(err, rdb.Close())
		}
		h, err := rediscache.NewHook(tracker, rdb, rediscache.HookOptions{
			Prefixes: []string{prefix}, MaxEntries: 4 * len(e.keys), TTL: ttl,
		})
		if err != nil {
			return nil, errors.Join(err, tracker.Close(), rdb.Close())
		}
		o := reading(rdb, e, value)
		o.missed = func() uint64 { return h.Stats().Misses }
		o.close = func() error { return errors.Join(h.Close(), tracker.Close(), rdb.Close()) }
		return o, nil
	}
}

// tracks is nil if the server has CLIENT TRACKING: go-redis itself only logs
// that it has not, and goes on without a cache.
func tracks(ctx context.Context, addr string) error {
	rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 3})
	return errors.Join(rdb.Do(ctx, "CLIENT", "TRACKING", "ON").Err(), rdb.Close())
}

// goRedisGet asks Redis each time.
func goRedisGet(value string) func(context.Context, env) (*opened, error) {
	return func(_ context.Context, e env) (*opened, error) {
		return reading(redis.NewClient(&redis.Options{Addr: e.addr}), e, value), nil
	}
}

func reading(rdb *redis.Client, e env, value string) *opened {
	o := &opened{close: rdb.Close}
	if value == raw {
		o.read = func(i int) (int64, error) {
			s, err := rdb.Get(background, e.keys[i]).Result()
			return int64(len(s)), err
		}
		return o
	}
	o.read = func(i int) (int64, error) {
		text, err := rdb.Get(background, e.keys[i]).Bytes()
		if err != nil {
			return 0, err
		}
		p, err := decode(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", e.keys[i], err)
		}
		return p.Version, nil
	}
	return o
}
