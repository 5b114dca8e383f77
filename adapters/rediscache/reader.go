package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/account"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// reader queues the commands that read one key.
type reader[V any] func(ctx context.Context, pipe redis.Pipeliner, key string) answer[V]

// answer is called once the commands have been answered, with the context of what is being loaded and the time before
// they were sent.
type answer[V any] func(ctx context.Context, sent time.Time) (V, error)

// keysATrip bounds a pipeline.
const keysATrip = 500

// askWithin bounds the questions of New to the server.
const askWithin = 2 * time.Second

// readWithin is readOne inside a load: what is built on a read that failed is not kept, unless the key is simply not there.
func readWithin[V any](ctx context.Context, rdb redis.UniversalClient, key string, read reader[V]) (V, error) {
	v, err := readOne(ctx, depend(ctx, rdb, key), rdb, key, read)
	if err != nil && !errors.Is(err, redis.Nil) {
		invalidate.NoStore(ctx)
	}
	return v, err
}

func readOne[V any](
	ctx context.Context, tracker *invalidate.Tracker, rdb redis.UniversalClient, key string, read reader[V],
) (v V, err error) {
	var get answer[V]
	sent, err := ask(ctx, tracker, rdb, func(pipe redis.Pipeliner) { get = read(ctx, pipe, key) })
	if err != nil {
		return v, err
	}
	return get(ctx, sent)
}

func build[K comparable, V any](
	tracker *invalidate.Tracker, rdb redis.UniversalClient, opts cache.Options[K, V], read reader[V],
) (*cache.Cache[K, V], error) {
	switch {
	case tracker == nil:
		return nil, errors.New("rediscache: tracker is nil: make one with invalidate.Connect")
	case opts.Load != nil || opts.LoadMany != nil:
		return nil, errors.New("rediscache: Options.Load and LoadMany are set by New: leave them nil, or use cache.New with GetString in your loader")
	case opts.NoKey:
		return nil, errors.New("rediscache: Options.NoKey is set, but every entry is a Redis key: leave it out")
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	if err := tracker.CheckClient(ctx, rdb); err != nil {
		return nil, fmt.Errorf("rediscache: %w", err)
	}
	if err := mayRead(ctx, rdb, opts.Prefix, read); err != nil {
		return nil, err
	}
	var c *cache.Cache[K, V]
	opts.Load = func(ctx context.Context, k K) (V, error) {
		return readOne(ctx, tracker, rdb, c.NameOf(k).Text(), read)
	}
	opts.LoadMany = func(ctx context.Context, ks []K) (map[K]V, error) {
		found, failed := make(map[K]V, len(ks)), make(cache.KeyErrors[K])
		for len(ks) > 0 {
			n := min(len(ks), keysATrip)
			if err := readMany(ctx, tracker, rdb, c, ks[:n], read, found, failed); err != nil {
				return nil, err
			}
			ks = ks[n:]
		}
		return found, failed
	}
	opts.Absent = redis.Nil
	c, err := cache.New(tracker, opts)
	return c, err
}

// mayRead asks once, for a key that nobody has, whether rdb's user may run what read runs. A command that is refused would
// only keep everything out of memory, and nobody would know why.
func mayRead[V any](ctx context.Context, rdb redis.UniversalClient, prefix string, read reader[V]) error {
	pipe := rdb.Pipeline()
	read(ctx, pipe, prefix+"freshet:may-read")
	cmds, _ := pipe.Exec(ctx)
	for _, cmd := range cmds {
		err := cmd.Err()
		if err != nil && redis.HasErrorPrefix(err, "NOPERM") && strings.Contains(err.Error(), "to run the") {
			return fmt.Errorf("rediscache: the Redis user may not run %s: ACL SETUSER %s +%s: %w",
				strings.ToUpper(cmd.Name()), account.Of(rdb), cmd.Name(), err)
		}
	}
	return nil
}

// named says which key an error is about, but for an absence, which stays what it is.
func named(key string, err error) error {
	if errors.Is(err, redis.Nil) {
		return err
	}
	return fmt.Errorf("rediscache: key %q: %w", key, err)
}

// readMany returns an error when nothing was answered; one key's own error goes into failed.
func readMany[K comparable, V any](
	ctx context.Context, tracker *invalidate.Tracker, rdb redis.UniversalClient, c *cache.Cache[K, V], ks []K, read reader[V],
	found map[K]V, failed cache.KeyErrors[K],
) error {
	answers := make([]answer[V], len(ks))
	sent, err := ask(ctx, tracker, rdb, func(pipe redis.Pipeliner) {
		for i, k := range ks {
			answers[i] = read(ctx, pipe, c.NameOf(k).Text())
		}
	})
	if err != nil {
		return err
	}
	for i, k := range ks {
		v, err := answers[i](cache.ForKey(ctx, k), sent)
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			failed[k] = err
		default:
			found[k] = v
		}
	}
	return nil
}

// depend makes what is being loaded in ctx fall with key, and keeps it out of memory when nobody would hear of key's
// changes: rdb is not a client of the database that the record's tracker hears. That tracker is returned if it does. A
// cache of New's needs none: it falls with its own key, and its client has been checked.
func depend(ctx context.Context, rdb redis.UniversalClient, key string) *invalidate.Tracker {
	r := invalidate.RecordIn(ctx)
	if r == nil {
		return nil
	}
	r.DependOn(invalidate.Key(key))
	if !r.Tracker().Hears(rdb) {
		r.NoStore()
		return nil
	}
	return r.Tracker()
}
