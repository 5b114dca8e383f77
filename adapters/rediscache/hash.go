package rediscache

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// GetHash reads the hash at key into a struct by its `redis:"field"` tags, as go-redis's Scan does, for use inside any
// load: see [GetString]. A hash that does not exist is redis.Nil. Where fields have lives of their own (Redis 7.4 and
// later) the least of those that V has counts; an older server answers that question with an error, which is passed over.
func GetHash[V any](ctx context.Context, rdb redis.UniversalClient, key string) (V, error) {
	read, err := hashReader[V]()
	if err != nil {
		var none V
		return none, err
	}
	return readWithin(ctx, rdb, key, read)
}

// NewHash makes a near cache over Redis hashes: entry k is the hash at opts.Prefix + the text of k, read into a struct
// by its `redis:"field"` tags. See [New] and [GetHash].
func NewHash[K comparable, V any](
	tracker *invalidate.Tracker, rdb redis.UniversalClient, opts cache.Options[K, V],
) (*cache.Cache[K, V], error) {
	read, err := hashReader[V]()
	if err != nil {
		return nil, err
	}
	return build(tracker, rdb, opts, read)
}

func hashReader[V any]() (reader[V], error) {
	fields, err := tagged(reflect.TypeFor[V]())
	if err != nil {
		return nil, err
	}
	question := append(make([]any, 0, 4+len(fields)), "hpttl", "", "fields", len(fields))
	for _, f := range fields {
		question = append(question, f)
	}
	return func(ctx context.Context, pipe redis.Pipeliner, key string) answer[V] {
		ask := append([]any(nil), question...)
		ask[1] = key
		all, ttl, lives := pipe.HGetAll(ctx, key), pttl(ctx, pipe, key), pipe.Do(ctx, ask...)
		return func(ctx context.Context, sent time.Time) (v V, err error) {
			held, err := all.Result()
			if err != nil {
				return v, named(key, err)
			}
			if len(held) == 0 {
				return v, redis.Nil
			}
			expire(ctx, sent, ttl)
			expireFields(ctx, sent, fields, held, lives)
			if err := all.Scan(&v); err != nil {
				return v, fmt.Errorf("rediscache: hash at key %q: %w", key, err)
			}
			return v, nil
		}
	}, nil
}

// expireFields bounds what is being loaded by the least life of the fields that were read.
func expireFields(ctx context.Context, sent time.Time, fields []string, held map[string]string, lives *redis.Cmd) {
	ms, err := lives.Int64Slice()
	switch {
	case unknownCommand(err):
		return // an older server: fields have no lives
	case err != nil || len(ms) != len(fields):
		invalidate.NoStore(ctx)
		return
	}
	for i, f := range fields {
		if _, ok := held[f]; ok {
			expireIn(ctx, sent, ms[i])
		}
	}
}

func unknownCommand(err error) bool {
	var re redis.Error
	return errors.As(err, &re) && strings.HasPrefix(strings.ToLower(re.Error()), "err unknown command")
}

// tagged are the names of the hash fields that t is filled from, by go-redis's rules.
func tagged(t reflect.Type) (names []string, err error) {
	for i := 0; t.Kind() == reflect.Struct && i < t.NumField(); i++ {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("redis"), ",")
		switch {
		case name == "" || name == "-":
		case !f.IsExported():
			return nil, fmt.Errorf("rediscache: field %s of %s has a `redis:\"%s\"` tag and cannot be set: export it", f.Name, t, name)
		default:
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("rediscache: %s has no `redis:\"field\"` tags: give a struct with at least one", t)
	}
	return names, nil
}
