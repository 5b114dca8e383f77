package sqlcache

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// OnRedisDown says what becomes of a write whose mark cannot be set: [FailWrite] or [BoundedWrite].
type OnRedisDown = sqlengine.OnRedisDown

const (
	// FailWrite refuses it before it is sent, with [ErrNotMarked]; a transaction is rolled back.
	FailWrite = sqlengine.FailWrite
	// BoundedWrite lets it go on. Other processes may then serve older rows for Lease + MaxStaleness, for which every
	// process must have this option with the same Lease: their rows live no longer than Lease.
	BoundedWrite = sqlengine.BoundedWrite
)

// Options for [New]. The zero value is ready to use.
type Options struct {
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
	MaxRows        int   // of one answer; default 1,000. A larger one is cancelled and asked for by its caller alone
	MaxResultBytes int64 // of one answer; default 1 MiB

	// MaxStaleness is how old rows from memory may be; default 1s, or four heartbeats if that is more.
	MaxStaleness time.Duration
	// TTL is the longest life of rows; default 10m. A safety net, not the means of freshness.
	TTL time.Duration

	// Lease is how long a commit may take before others ask the database what became of it, and how long nothing is stored
	// after Redis was flushed, restarted or replaced, for it may have lost marks; default 10s.
	Lease       time.Duration
	OnRedisDown OnRedisDown

	CatalogEvery time.Duration // how soon DDL that went around sqlcache is noticed; default 30s

	Logger *slog.Logger // nil: silent
}

// Validate names the first field that cannot be used and how to mend it. New calls it.
func (o *Options) Validate() error {
	switch {
	case o.MaxConns < 0:
		return fmt.Errorf("sqlcache: Options.MaxConns is %d: give a positive number, or 0 for %d", o.MaxConns, defaultConns)
	case o.MaxIdle < 0:
		return fmt.Errorf("sqlcache: Options.MaxIdle is %v: give a positive duration, or 0 for %v", o.MaxIdle, defaultIdle)
	}
	shared := o.engine()
	return shared.Validate("sqlcache")
}

// engine is what all adapters have in common.
func (o *Options) engine() sqlengine.Options {
	return sqlengine.Options{
		Scope: o.Scope, Tables: o.Tables, ReadOnlyFunctions: o.ReadOnlyFunctions,
		MaxBytes: o.MaxBytes, MaxRows: o.MaxRows, MaxResultBytes: o.MaxResultBytes, MaxStaleness: o.MaxStaleness,
		TTL: o.TTL, Lease: o.Lease, OnRedisDown: o.OnRedisDown, CatalogEvery: o.CatalogEvery, Logger: o.Logger,
	}
}

const (
	defaultConns = 16
	defaultIdle  = 5 * time.Minute
	longestLife  = time.Hour
)

var (
	// ErrNotMarked is wrapped by the error of a write that was refused because Redis could not be told of it.
	ErrNotMarked = sqlengine.ErrNotMarked
	// ErrUnfit is wrapped by New's error when what the database says of itself keeps its reads from being kept: a
	// replica, autocommit off, uncommitted reads.
	ErrUnfit = sqlengine.ErrUnfit
	// ErrClosed is returned by every call on a closed connector.
	ErrClosed = sqlengine.ErrClosed
	// ErrUnknownTable is wrapped by Touch's error for a table that the catalog does not have.
	ErrUnknownTable = sqlengine.ErrUnknownTable
)
