package sqlengine

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// OnRedisDown says what becomes of a write whose mark cannot be set.
type OnRedisDown uint8

const (
	// FailWrite refuses it before it is sent, with [ErrNotMarked]; a transaction is rolled back.
	FailWrite OnRedisDown = iota
	// BoundedWrite lets it go on. Other processes may then serve older rows for Lease + MaxStaleness.
	BoundedWrite
)

// Options are what every adapter lets its user say. The adapters' own explain them.
type Options struct {
	Scope             string
	Tables            []string
	ReadOnlyFunctions []string
	MaxBytes          int64
	MaxRows           int
	MaxResultBytes    int64
	MaxStaleness      time.Duration
	TTL               time.Duration
	Lease             time.Duration
	OnRedisDown       OnRedisDown
	CatalogEvery      time.Duration
	Logger            *slog.Logger
}

// Validate names the first field that cannot be used and how to mend it, as adapter's.
func (o *Options) Validate(adapter string) error {
	bad := func(format string, args ...any) error { return fmt.Errorf(adapter+": Options."+format, args...) }
	switch {
	case o.Tables != nil && len(o.Tables) == 0:
		return bad("Tables is empty: name a table, or leave it nil for all")
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
	defaultBytes       = 64 << 20
	defaultRows        = 1000
	defaultResultBytes = 1 << 20
	defaultTTL         = 10 * time.Minute
	defaultLease       = 10 * time.Second
	defaultCatalog     = 30 * time.Second
)

// OrDefault sets *v to d if it is 0.
func OrDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	OrDefault(&o.MaxBytes, defaultBytes)
	OrDefault(&o.MaxRows, defaultRows)
	OrDefault(&o.MaxResultBytes, defaultResultBytes)
	OrDefault(&o.TTL, defaultTTL)
	OrDefault(&o.Lease, defaultLease)
	OrDefault(&o.CatalogEvery, defaultCatalog)
	if o.OnRedisDown == BoundedWrite {
		o.TTL = min(o.TTL, o.Lease)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// The errors of every adapter, under the name that their users know: sqlcache's.
var (
	ErrNotMarked    = errors.New("sqlcache: the write was refused: its mark could not be set in Redis")
	ErrUnfit        = errors.New("sqlcache: the database's answers may not be kept")
	ErrClosed       = errors.New("sqlcache: closed")
	ErrUnknownTable = errors.New("sqlcache: no such table")
)
