package sqlcache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// OnRedisDown says what becomes of a write whose mark cannot be set.
type OnRedisDown uint8

const (
	// FailWrite refuses it before it is sent, with [ErrNotMarked]; a transaction is rolled back.
	FailWrite OnRedisDown = iota
	// BoundedWrite lets it go on. Other processes may then serve older rows for Lease + MaxStaleness, for which every
	// process must have this option with the same Lease: their rows live no longer than Lease.
	BoundedWrite
)

// Options for [New]. Redis is needed, all else has a default.
type Options struct {
	// Redis is the client that the tracker was connected with: marks are kept there.
	Redis *redis.Client

	Dialect Dialect // nil: told from the driver's type

	// Scope names the database among all that share a Redis, the same in every process. Default: from the server's own
	// identity and the database's name.
	Scope string

	// Tables, if not nil, are the base tables whose reads may be kept, as name or schema.name.
	Tables []string

	// ReadOnlyFunctions are functions of the database's own of which you know that they write nothing. Answers of
	// statements that name them are not kept, but they flush nothing either.
	ReadOnlyFunctions []string

	// MaxConns caps the connections to the database; default 16. Leave db.SetMaxOpenConns alone: it would limit hits too.
	MaxConns int
	// MaxIdle is how long an unused connection is kept; default 5m. Its life: 1h.
	MaxIdle time.Duration

	MaxBytes       int64 // of all rows kept; default 64 MiB
	MaxRows        int   // of one answer; default 1,000. Larger ones are passed through
	MaxResultBytes int64 // of one answer; default 1 MiB

	// MaxStaleness is how old rows from memory may be; default 1s, or four heartbeats if that is more.
	MaxStaleness time.Duration
	// TTL is the longest life of rows; default 10m. A safety net, not the means of freshness.
	TTL time.Duration

	// Lease is how long a commit may take before others ask the database what became of it; default 10s.
	Lease       time.Duration
	OnRedisDown OnRedisDown

	CatalogEvery time.Duration // how soon DDL that went around sqlcache is noticed; default 30s

	Logger *slog.Logger // nil: silent
}

// Validate names the first field that cannot be used and how to mend it. New calls it.
func (o *Options) Validate() error {
	bad := func(format string, args ...any) error { return fmt.Errorf("sqlcache: Options."+format, args...) }
	switch {
	case o.Redis == nil:
		return bad("Redis is nil: give the client that the tracker was connected with")
	case o.Tables != nil && len(o.Tables) == 0:
		return bad("Tables is empty: name a table, or leave it nil for all")
	case o.MaxConns < 0:
		return bad("MaxConns is %d: give a positive number, or 0 for %d", o.MaxConns, defaultConns)
	case o.MaxIdle < 0:
		return bad("MaxIdle is %v: give a positive duration, or 0 for %v", o.MaxIdle, defaultIdle)
	case o.MaxBytes < 0:
		return bad("MaxBytes is %d: give a positive number, or 0 for %d", o.MaxBytes, defaultBytes)
	case o.MaxRows < 0:
		return bad("MaxRows is %d: give a positive number, or 0 for %d", o.MaxRows, defaultRows)
	case o.MaxResultBytes < 0:
		return bad("MaxResultBytes is %d: give a positive number, or 0 for %d", o.MaxResultBytes, defaultResultBytes)
	case o.MaxStaleness < 0:
		return bad("MaxStaleness is %v: give a positive duration, or 0", o.MaxStaleness)
	case o.TTL < 0:
		return bad("TTL is %v: give a positive duration, or 0 for %v", o.TTL, defaultTTL)
	case o.Lease < 0 || o.Lease > 0 && o.Lease < 10*time.Millisecond:
		return bad("Lease is %v: give at least 10ms, or 0 for %v", o.Lease, defaultLease)
	case o.OnRedisDown > BoundedWrite:
		return bad("OnRedisDown is %d: choose FailWrite or BoundedWrite", o.OnRedisDown)
	case o.CatalogEvery < 0:
		return bad("CatalogEvery is %v: give a positive duration, or 0 for %v", o.CatalogEvery, defaultCatalog)
	}
	return nil
}

const (
	defaultConns       = 16
	defaultIdle        = 5 * time.Minute
	longestLife        = time.Hour
	defaultBytes       = 64 << 20
	defaultRows        = 1000
	defaultResultBytes = 1 << 20
	defaultTTL         = 10 * time.Minute
	defaultLease       = 10 * time.Second
	defaultCatalog     = 30 * time.Second
)

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.MaxConns, defaultConns)
	orDefault(&o.MaxIdle, defaultIdle)
	orDefault(&o.MaxBytes, defaultBytes)
	orDefault(&o.MaxRows, defaultRows)
	orDefault(&o.MaxResultBytes, defaultResultBytes)
	orDefault(&o.TTL, defaultTTL)
	orDefault(&o.Lease, defaultLease)
	orDefault(&o.CatalogEvery, defaultCatalog)
	if o.OnRedisDown == BoundedWrite {
		o.TTL = min(o.TTL, o.Lease)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

var (
	// ErrNotMarked is wrapped by the error of a write that was refused because Redis could not be told of it.
	ErrNotMarked = errors.New("sqlcache: the write was refused: its mark could not be set in Redis")
	// ErrUnfit is wrapped by New's error when what the database says of itself keeps its reads from being kept: a
	// replica, autocommit off, uncommitted reads.
	ErrUnfit = errors.New("sqlcache: the database's answers may not be kept")
	// ErrClosed is returned by every call on a closed connector.
	ErrClosed = errors.New("sqlcache: closed")
	// ErrUnknownTable is wrapped by Touch's error for a table that the catalog does not have.
	ErrUnknownTable = errors.New("sqlcache: no such table")
)
