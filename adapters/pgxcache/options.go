package pgxcache

import (
	"log/slog"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// Options for [New]. The zero value is ready to use. How many connections there are is the pool's business.
type Options struct {
	// Scope names the database among all that share a Redis, the same in every process, also in those that use sqlcache.
	// Default: from the server's own identity and the database's name.
	Scope string

	// Tables, if not nil, are the base tables whose reads may be kept, as name or schema.name.
	Tables []string

	// ReadOnlyFunctions are functions of the database's own of which you know that they write nothing. Answers of
	// statements that name them are not kept, but they flush nothing either.
	ReadOnlyFunctions []string

	MaxBytes       int64 // of all rows kept; default 64 MiB
	MaxRows        int   // of one answer; default 1,000. A larger one is cancelled and asked for by its caller alone
	MaxResultBytes int64 // of one answer; default 1 MiB

	// MaxStaleness is how old rows from memory may be; default 1s, or four heartbeats if that is more.
	MaxStaleness time.Duration
	// TTL is the longest life of rows; default 10m. A safety net, not the means of freshness.
	TTL time.Duration

	// Lease is how long a commit may take before others ask the database what became of it, and how long nothing is stored
	// after Redis was flushed, restarted or replaced, for it may have lost marks; default 10s.
	Lease time.Duration
	// OnRedisDown says what becomes of a write whose mark cannot be set; default [sqlcache.FailWrite].
	OnRedisDown sqlcache.OnRedisDown

	CatalogEvery time.Duration // how soon DDL that went around pgxcache is noticed; default 30s

	Logger *slog.Logger // nil: silent
}

// Validate names the first field that cannot be used and how to mend it. New asks the same.
func (o *Options) Validate() error {
	shared := o.engine()
	return shared.Validate("pgxcache")
}

// engine is what all adapters have in common.
func (o *Options) engine() sqlengine.Options {
	return sqlengine.Options{
		Scope: o.Scope, Tables: o.Tables, ReadOnlyFunctions: o.ReadOnlyFunctions,
		MaxBytes: o.MaxBytes, MaxRows: o.MaxRows, MaxResultBytes: o.MaxResultBytes, MaxStaleness: o.MaxStaleness,
		TTL: o.TTL, Lease: o.Lease, OnRedisDown: o.OnRedisDown, CatalogEvery: o.CatalogEvery, Logger: o.Logger,
	}
}
