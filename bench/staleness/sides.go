package staleness

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// kind is one way to keep values in memory, as its users have it out of the
// box. To compare another, add it to kinds.
type kind struct {
	name   string
	fenced bool          // promises every read to see every write completed before it
	bound  time.Duration // promises a hit to be no older; 0: no promise
	open   func(ctx context.Context, addr string) (*side, error)
}

// side is a kind at work. read may be called from any goroutine.
type side struct {
	read  func(ctx context.Context, key string) (history.Observation, error)
	close func() error
}

const (
	redisPrefix = "k:"
	life        = 10 * time.Minute // Freshet's default TTL, and for who must have one
	// freshetBound is what MaxStaleness is when it is not set.
	freshetBound = time.Second
)

const plain, fenced, withoutCache = "freshet", "freshet fenced", "no cache"

func kinds() []kind {
	return []kind{
		{name: plain, bound: freshetBound, open: freshet(cache.ReadOptions{})},
		{name: fenced, bound: freshetBound, fenced: true, open: freshet(cache.ReadOptions{Fence: true})},
		{name: "naive", open: naive},
		{name: "go-redis csc", open: clientSide(redis.ClientSideCacheConfig{})},
		{name: "go-redis csc 1s", open: clientSide(redis.ClientSideCacheConfig{MaxStaleness: time.Second})},
		{name: "rueidis", open: rueidisCache},
		{name: withoutCache, fenced: true, open: noCache}, // puts the measurement itself to the test,
	}
}

func kindName(k kind) string { return k.name }

// client is go-redis with its defaults, but that a read's timeout counts.
func client(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
}

func get(ctx context.Context, rdb *redis.Client, key string) (uint64, error) {
	return rdb.Get(ctx, redisPrefix+key).Uint64()
}

// absent takes a key that is not there for history.Absent.
func absent(version uint64, err error) (uint64, error) {
	if errors.Is(err, redis.Nil) {
		return history.Absent, nil
	}
	return version, err
}

func freshet(how cache.ReadOptions) func(context.Context, string) (*side, error) {
	return func(ctx context.Context, addr string) (*side, error) {
		rdb := client(addr)
		tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
		if err != nil {
			return nil, errors.Join(err, rdb.Close())
		}
		c, err := cache.New(tracker, cache.Options[string, uint64]{
			Prefix: redisPrefix, MaxEntries: 1_000_000, NegativeTTL: life,
			LoadTimeout: opTimeout, // go-redis heeds a deadline, not that a caller gave up
			Load:        func(ctx context.Context, key string) (uint64, error) { return get(ctx, rdb, key) },
		})
		if err != nil {
			return nil, errors.Join(err, tracker.Close(), rdb.Close())
		}
		return &side{
			read: func(ctx context.Context, key string) (o history.Observation, err error) {
				r, err := c.Read(ctx, key, how)
				o.Version, err = absent(r.Value, err)
				o.Hit, o.Bound = r.Hit, freshetBound
				return o, err
			},
			close: func() error { return errors.Join(c.Close(), tracker.Close(), rdb.Close()) },
		}, nil
	}
}

// naive is what tutorials show: a map, a subscription, and a goroutine that
// deletes what a message names.
func naive(ctx context.Context, addr string) (*side, error) {
	rdb := client(addr)
	sub := rdb.PSubscribe(ctx, "__keyspace@0__:*")
	if _, err := sub.Receive(ctx); err != nil {
		return nil, errors.Join(err, sub.Close(), rdb.Close())
	}
	var kept sync.Map
	var wg sync.WaitGroup
	messages := sub.Channel()
	wg.Go(func() {
		for m := range messages {
			if key, ok := strings.CutPrefix(m.Channel, "__keyspace@0__:"+redisPrefix); ok {
				kept.Delete(key)
			}
		}
	})
	return &side{
		read: func(ctx context.Context, key string) (o history.Observation, err error) {
			if v, ok := kept.Load(key); ok {
				return history.Observation{Version: v.(uint64), Hit: true}, nil
			}
			v, err := get(ctx, rdb, key)
			if err == nil {
				kept.Store(key, v)
			}
			o.Version, err = absent(v, err)
			return o, err
		},
		close: func() error {
			err := sub.Close()
			wg.Wait()
			return errors.Join(err, rdb.Close())
		},
	}, nil
}

// clientSide is go-redis's own cache. It does not say which read was a hit.
func clientSide(config redis.ClientSideCacheConfig) func(context.Context, string) (*side, error) {
	return func(_ context.Context, addr string) (*side, error) {
		rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 3, ContextTimeoutEnabled: true, ClientSideCacheConfig: &config})
		return uncounted(rdb), nil
	}
}

func noCache(_ context.Context, addr string) (*side, error) { return uncounted(client(addr)), nil }

func uncounted(rdb *redis.Client) *side {
	return &side{
		read: func(ctx context.Context, key string) (o history.Observation, err error) {
			o.Version, err = absent(get(ctx, rdb, key))
			return o, err
		},
		close: rdb.Close,
	}
}

func rueidisCache(_ context.Context, addr string) (*side, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true})
	if err != nil {
		return nil, err
	}
	return &side{
		read: func(ctx context.Context, key string) (o history.Observation, err error) {
			r := c.DoCache(ctx, c.B().Get().Key(redisPrefix+key).Cache(), life)
			o.Hit = r.IsCacheHit()
			text, err := r.ToString()
			if rueidis.IsRedisNil(err) {
				return o, nil
			}
			if err == nil {
				o.Version, err = strconv.ParseUint(text, 10, 64)
			}
			return o, err
		},
		close: func() error { c.Close(); return nil },
	}, nil
}
