package rediscache

import (
	"context"
	"fmt"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// GetString reads the string at key, for use inside any load: what is being loaded in ctx depends on key and lives no
// longer than it. Outside a load it is a plain read. A nil codec means JSON. An absent key is redis.Nil.
//
// rdb must be the client that the tracker was connected with, or one of the same address and database; with any other
// the value is returned and what is being loaded is not kept.
func GetString[V any](ctx context.Context, rdb redis.UniversalClient, key string, codec Codec[V]) (V, error) {
	return readWithin(ctx, rdb, key, stringReader(codec))
}

// New makes a near cache over Redis strings: entry k is the string at opts.Prefix + the text of k. Load, LoadMany,
// Absent and the entries' lives are set for you: leave Load, LoadMany and NoKey of opts alone. A nil codec means JSON.
//
// It refuses a client that may read a replica, caches by itself, or speaks to another database than tracker does
// ([invalidate.ErrWrongClient]), and fails as [cache.New] does.
func New[K comparable, V any](
	tracker *invalidate.Tracker, rdb redis.UniversalClient, codec Codec[V], opts cache.Options[K, V],
) (*cache.Cache[K, V], error) {
	return build(tracker, rdb, opts, stringReader(codec))
}

func stringReader[V any](codec Codec[V]) reader[V] {
	if codec == nil {
		codec = JSON[V]()
	}
	return func(ctx context.Context, pipe redis.Pipeliner, key string) answer[V] {
		get, ttl := pipe.Get(ctx, key), pttl(ctx, pipe, key)
		return func(ctx context.Context, sent time.Time) (v V, err error) {
			data, err := get.Bytes()
			if err != nil {
				return v, named(key, err)
			}
			expire(ctx, sent, ttl)
			if err := codec.Unmarshal(data, &v); err != nil {
				return v, fmt.Errorf("rediscache: value of key %q: %w", key, err)
			}
			return v, nil
		}
	}
}
