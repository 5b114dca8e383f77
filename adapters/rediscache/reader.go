package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofreshet/freshet/cache"
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
	v, err := readOne(ctx, rdb, key, read)
	if err != nil && !errors.Is(err, redis.Nil) {
		invalidate.NoStore(ctx)
	}
	return v, err
}

func readOne[V any](ctx context.Context, rdb redis.UniversalClient, key string, read reader[V]) (v V, err error) {
	pipe := rdb.Pipeline()
	get := read(ctx, pipe, key)
	sent := time.Now()
	if err := exec(ctx, pipe); err != nil {
		return v, err
	}
	return get(ctx, sent)
}

// exec sends pipe. It returns an error only where no command has one of its own: a hook of the client's stopped them.
func exec(ctx context.Context, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return nil
		}
	}
	return err
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
		return readOne(ctx, rdb, c.NameOf(k).Text(), read)
	}
	opts.LoadMany = func(ctx context.Context, ks []K) (map[K]V, error) {
		found, failed := make(map[K]V, len(ks)), make(cache.KeyErrors[K])
		for len(ks) > 0 {
			n := min(len(ks), keysATrip)
			if err := readMany(ctx, rdb, c, ks[:n], read, found, failed); err != nil {
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
				strings.ToUpper(cmd.Name()), userOf(rdb), cmd.Name(), err)
		}
	}
	return nil
}

// userOf is the name of rdb's user.
func userOf(rdb redis.UniversalClient) string {
	if client, ok := rdb.(*redis.Client); ok && client.Options().Username != "" {
		return client.Options().Username
	}
	return "default"
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
	ctx context.Context, rdb redis.UniversalClient, c *cache.Cache[K, V], ks []K, read reader[V],
	found map[K]V, failed cache.KeyErrors[K],
) error {
	pipe := rdb.Pipeline()
	answers := make([]answer[V], len(ks))
	for i, k := range ks {
		answers[i] = read(ctx, pipe, c.NameOf(k).Text())
	}
	sent := time.Now()
	if err := exec(ctx, pipe); err != nil {
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
// changes: rdb is not a client of the database that the record's tracker hears. A cache of New's needs none: it falls
// with its own key, and its client has been checked.
func depend(ctx context.Context, rdb redis.UniversalClient, key string) {
	r := invalidate.RecordIn(ctx)
	if r == nil {
		return
	}
	r.DependOn(invalidate.Key(key))
	if !r.Tracker().Hears(rdb) {
		r.NoStore()
	}
}
