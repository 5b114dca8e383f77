package latency

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

const ttl = time.Hour

// side is one way to read a product.
type side struct {
	name  string
	value string // what a read gives: see the constants
	// memory: it is a cache of values with a load of the caller's, so it can also have an origin that costs nothing.
	memory bool
	open   func(ctx context.Context, e env) (*opened, error)
}

const (
	shared  = "typed"        // decoded once, when it was loaded
	raw     = "raw"          // the string, not decoded
	decoded = "JSON decoded" // at each read
)

// Freshet's own sides; what else begins like the first is a way of using it.
const (
	nearCache = "freshet"
	hook      = "freshet hook"
)

// env is what a side is opened for.
type env struct {
	addr string   // of Redis
	ids  []string // all that will be read
	keys []string // ids with the prefix that they have in Redis
	load loadFunc // nil: from Redis
}

type loadFunc func(ctx context.Context, id string) (*product, error)

// background is the context of all reads: one with values of its own costs some time at each look into it, and
// interrupts are heeded between reads.
var background = context.Background()

// opened is a side that is ready. read and drop may be called from any goroutine.
type opened struct {
	// read reads the product of ids[i] and gives its version, or the length of its text.
	read   func(i int) (int64, error)
	missed func() uint64                   // reads that memory could not serve; nil where there is no memory
	drop   func(i int)                     // makes ids[i] fall in this process, as an event would; nil where there is no such call
	fence  func(ctx context.Context) error // nil where none is asked for
	close  func() error
}

// sides are all, Freshet first, then those that keep values, then those that ask Redis. Add a peer here.
func sides() []side {
	return []side{
		{nearCache, shared, true, openFreshet},
		{"ristretto", shared, true, openRistretto},
		{"otter", shared, true, openOtter},
		{hook, raw, false, hooked(raw)},
		{hook, decoded, false, hooked(decoded)},
		{"rueidis DoCache", raw, false, rueidisCache(raw)},
		{"rueidis DoCache", decoded, false, rueidisCache(decoded)},
		{"go-redis client-side cache", raw, false, goRedisCache(raw)},
		{"go-redis client-side cache", decoded, false, goRedisCache(decoded)},
		{"go-redis GET", raw, false, goRedisGet(raw)},
		{"go-redis GET", decoded, false, goRedisGet(decoded)},
	}
}

func inMemory(s side) bool { return s.memory }

// those are the chosen sides that fit.
func (b *bench) those(fit func(side) bool) (out []side) {
	for _, s := range b.sides {
		if fit(s) {
			out = append(out, s)
		}
	}
	return out
}

func sideNames() (names []string) {
	for _, s := range sides() {
		if len(names) == 0 || names[len(names)-1] != s.name {
			names = append(names, s.name)
		}
	}
	return names
}

// label tells sides of the same name apart.
func (s side) label() string {
	if s.value == shared {
		return s.name
	}
	return s.name + ", " + s.value
}

func openFreshet(ctx context.Context, e env) (*opened, error) {
	o, _, err := openTracked(ctx, e)
	return o, err
}

// openTracked is Freshet with its defaults, and its tracker, which is closed with it.
func openTracked(ctx context.Context, e env) (*opened, *invalidate.Tracker, error) {
	rdb := redis.NewClient(&redis.Options{Addr: e.addr})
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, rdb.Close())
	}
	opts := cache.Options[string, *product]{Prefix: prefix, MaxEntries: 4 * len(e.ids), TTL: ttl, Load: e.load}
	var c *cache.Cache[string, *product]
	if e.load != nil {
		c, err = cache.New(tracker, opts)
	} else {
		c, err = rediscache.New(tracker, rdb, rediscache.JSON[*product](), opts)
	}
	if err != nil {
		return nil, nil, errors.Join(err, tracker.Close(), rdb.Close())
	}
	names := make([]invalidate.Name, len(e.ids))
	for i, id := range e.ids {
		names[i] = c.NameOf(id)
	}
	return &opened{
		read: func(i int) (int64, error) {
			p, err := c.Get(background, e.ids[i])
			if err != nil {
				return 0, err
			}
			return p.Version, nil
		},
		missed: func() uint64 { return c.Stats().Misses },
		drop:   func(i int) { tracker.Forget(names[i]) },
		close:  func() error { return errors.Join(c.Close(), tracker.Close(), rdb.Close()) },
	}, tracker, nil
}

// loads gives e.load, or GET and JSON with a client of its own.
func (e env) loads() (load loadFunc, done func() error) {
	if e.load != nil {
		return e.load, func() error { return nil }
	}
	rdb := redis.NewClient(&redis.Options{Addr: e.addr})
	return func(ctx context.Context, id string) (*product, error) {
		text, err := rdb.Get(ctx, prefix+id).Bytes()
		if err != nil {
			return nil, err
		}
		return decode(text)
	}, rdb.Close
}

// openRistretto is ristretto with string keys and a TTL, and the get, load, set around it that applications write.
func openRistretto(_ context.Context, e env) (*opened, error) {
	c, err := ristretto.NewCache(&ristretto.Config[string, *product]{
		NumCounters: int64(10 * 4 * len(e.ids)), MaxCost: int64(4 * len(e.ids)), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	load, done := e.loads()
	var missed atomic.Uint64
	return &opened{
		read: func(i int) (int64, error) {
			if p, ok := c.Get(e.ids[i]); ok {
				return p.Version, nil
			}
			missed.Add(1)
			p, err := load(background, e.ids[i])
			if err != nil {
				return 0, err
			}
			c.SetWithTTL(e.ids[i], p, 1, ttl)
			return p.Version, nil
		},
		missed: missed.Load,
		drop:   func(i int) { c.Del(e.ids[i]) },
		close:  func() error { c.Close(); return done() },
	}, nil
}

// openOtter is otter with its own loading Get.
func openOtter(_ context.Context, e env) (*opened, error) {
	c, err := otter.New(&otter.Options[string, *product]{
		MaximumSize: 4 * len(e.ids), ExpiryCalculator: otter.ExpiryWriting[string, *product](ttl),
	})
	if err != nil {
		return nil, err
	}
	load, done := e.loads()
	var missed atomic.Uint64
	loader := otter.LoaderFunc[string, *product](func(ctx context.Context, id string) (*product, error) {
		missed.Add(1)
		return load(ctx, id)
	})
	return &opened{
		read: func(i int) (int64, error) {
			p, err := c.Get(background, e.ids[i], loader)
			if err != nil {
				return 0, err
			}
			return p.Version, nil
		},
		missed: missed.Load,
		drop:   func(i int) { c.Invalidate(e.ids[i]) },
		close:  func() error { c.StopAllGoroutines(); return done() },
	}, nil
}
