package cache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/redis/go-redis/v9"
)

const (
	defaultTTL          = 10 * time.Minute
	defaultTTLJitter    = 0.1
	defaultMaxStaleness = time.Second
	defaultLoadTimeout  = 30 * time.Second
)

// Beyond says what a read does with a value whose proof is older than MaxStaleness.
type Beyond uint8

const (
	// Load goes to the loader: the promise holds, and while Redis is away memory helps for MaxStaleness after a load.
	Load Beyond = iota
	// ServeStale serves from memory; Result.Stale is true and Stats.StaleServed counts it: the promise is suspended.
	// What is known to have fallen or expired is not served, nor is a read that asks for a tighter bound than the cache's.
	ServeStale
)

// Options for [New]. Either Prefix or NoKey, exactly one of MaxEntries and MaxBytes, and as a rule Load.
type Options[K comparable, V any] struct {
	Name   string // for logs and errors; default Prefix
	Prefix string // entry k falls with the Redis key Prefix + the text of k
	NoKey  bool   // entries fall by recorded dependencies alone; Prefix must be empty

	// AppendKey appends k's text to dst. Strings, integers and [16]byte (as a UUID) need none. Different keys must have
	// different texts. It runs on loads and invalidations, not on hits.
	AppendKey func(dst []byte, k K) []byte
	// Hash is where k lies in memory. Equal keys must have equal hashes; of keys that share one, memory keeps only the
	// last. It runs on every hit: for strings, integers and arrays the default, maphash.Comparable, is as fast as can
	// be, for a struct of several parts a mixture of maphash.String and the like takes a third of the time or less.
	Hash func(seed maphash.Seed, k K) uint64

	// Load is what Get calls for what is not in memory. Keep it here: a method value at each call site allocates at
	// each hit. It must heed its context (a go-redis client heeds deadlines with redis.Options.ContextTimeoutEnabled),
	// and read the Redis primary that the tracker listens to, or a truth whose writers announce what they changed
	// ([Cache.Write], [invalidate.Tracker.Touch]).
	Load func(ctx context.Context, k K) (V, error)
	// LoadMany loads several at once, for GetMany. A key absent from the map is not found; an error fails them all, but
	// for [KeyErrors], which fails those that it names. Where one key's life differs from the others', use [ForKey].
	LoadMany func(ctx context.Context, ks []K) (map[K]V, error)
	// Absent is the error that a key absent from LoadMany's map is kept as; default [ErrNotFound].
	Absent error

	MaxEntries int   // capacity in entries, absences included
	MaxBytes   int64 // capacity in bytes, by Cost
	// Cost is an entry's share of MaxBytes, at least 1. Values of type string and []byte need none: they count their
	// own length, the key's and a flat EntryOverhead.
	Cost func(K, V) int64

	TTL         time.Duration    // longest life; default 10m. A safety net, not the means of freshness
	TTLJitter   float64          // default 0.1: lives fall evenly in [0.9, 1] * TTL, never above. Negative: none
	NegativeTTL time.Duration    // longest life of an absence; 0: absences are not cached
	NotFound    func(error) bool // which errors mean absent; default ErrNotFound, redis.Nil and sql.ErrNoRows

	// MaxStaleness is how old a read from memory may be; default 1s, or four heartbeats if that is more. At least two
	// heartbeats of the tracker (notify.Options.Heartbeat, default 250ms).
	MaxStaleness time.Duration
	Beyond       Beyond
	LoadTimeout  time.Duration // how long a load may take; default 30s

	// Clone copies a mutable value: on store, on every hit and for every waiter. nil: values are shared and read-only.
	Clone func(V) V

	Store  store.Factory // default [store.Open]: ristretto behind a recency window
	Logger *slog.Logger  // nil: silent
	Hooks  Hooks[K]

	without guard.Set // tests alone
}

// EntryOverhead is what an entry of a cache bounded by bytes counts for beside its key and value, where Cost is nil.
// About what the entry, its dependencies and its place in the store take.
const EntryOverhead = 320

// Hooks run synchronously, the first two on the goroutine of a load, and must not block or call the cache. There is
// none for hits on purpose: see [Stats].
type Hooks[K comparable] struct {
	Loaded func(k K, took time.Duration, err error)
	// Refused is called after a load whose result was not stored, because it fell meanwhile or must not be kept.
	Refused func(k K)
	// Evict is called when an entry left, for want of room: "capacity", or dead, when a read or one who needed its room
	// found it: "fallen" or "expired".
	Evict func(k K, reason string)
}

// Validate names the first field that cannot be used and how to mend it. New calls it.
func (o *Options[K, V]) Validate() error {
	bad := func(format string, args ...any) error { return fmt.Errorf("cache: Options."+format, args...) }
	switch {
	case o.NoKey && o.Prefix != "":
		return bad("NoKey is set and Prefix is %q: entries have a Redis key or none, leave one out", o.Prefix)
	case o.MaxEntries < 0:
		return bad("MaxEntries is %d: give a positive number", o.MaxEntries)
	case o.MaxBytes < 0:
		return bad("MaxBytes is %d: give a positive number", o.MaxBytes)
	case o.MaxEntries == 0 && o.MaxBytes == 0:
		return bad("MaxEntries and MaxBytes are both 0: give one of them")
	case o.MaxEntries != 0 && o.MaxBytes != 0:
		return bad("MaxEntries and MaxBytes are both set: give one of them")
	case o.MaxBytes != 0 && o.Cost == nil && sizeOf[V]() == nil:
		return bad("Cost is nil: with MaxBytes give the bytes of a %s", reflect.TypeFor[V]())
	case o.Cost != nil && o.MaxEntries != 0:
		return bad("Cost is set with MaxEntries, where every entry costs 1: leave it out, or give MaxBytes")
	case o.TTL < 0:
		return bad("TTL is %v: give a positive duration, or 0 for %v", o.TTL, defaultTTL)
	case o.TTLJitter > 1, math.IsNaN(o.TTLJitter):
		return bad("TTLJitter is %v: give a share of TTL below 1", o.TTLJitter)
	case o.NegativeTTL < 0:
		return bad("NegativeTTL is %v: give a positive duration, or 0 to keep no absences", o.NegativeTTL)
	case o.MaxStaleness < 0:
		return bad("MaxStaleness is %v: give a positive duration, or 0 for %v", o.MaxStaleness, defaultMaxStaleness)
	case o.LoadTimeout < 0:
		return bad("LoadTimeout is %v: give a positive duration, or 0 for %v", o.LoadTimeout, defaultLoadTimeout)
	case o.Beyond > ServeStale:
		return bad("Beyond is %d: give cache.Load or cache.ServeStale", o.Beyond)
	}
	if o.NoKey || o.AppendKey != nil {
		return nil
	}
	if keyText[K]() == nil {
		return bad("AppendKey is nil: keys of type %s have no text of their own, give a func that appends one",
			reflect.TypeFor[K]())
	}
	return nil
}

// withDefaults fills in what was left at zero.
func (o Options[K, V]) withDefaults(heartbeat time.Duration) Options[K, V] {
	if o.Name == "" {
		o.Name = o.Prefix
	}
	if o.AppendKey == nil {
		o.AppendKey = keyText[K]()
	}
	if o.Cost == nil && o.MaxBytes > 0 {
		size, text := sizeOf[V](), o.AppendKey
		o.Cost = func(k K, v V) int64 {
			n := size(v) + EntryOverhead
			if text != nil {
				n += int64(len(text(nil, k)))
			}
			return n
		}
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	if o.TTLJitter == 0 {
		o.TTLJitter = defaultTTLJitter
	}
	o.TTLJitter = max(0, o.TTLJitter)
	if o.MaxStaleness == 0 {
		o.MaxStaleness = max(defaultMaxStaleness, 4*heartbeat)
	}
	if o.LoadTimeout == 0 {
		o.LoadTimeout = defaultLoadTimeout
	}
	if o.Absent == nil {
		o.Absent = ErrNotFound
	}
	if o.NotFound == nil {
		o.NotFound = IsNotFound
	}
	if o.Store == nil {
		o.Store = store.Open
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// IsNotFound is the default of Options.NotFound: [ErrNotFound], redis.Nil and sql.ErrNoRows, wrapped or not.
func IsNotFound(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, redis.Nil) || errors.Is(err, sql.ErrNoRows)
}
