package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache/internal/guard"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

// Connector is a driver.Connector and io.Closer around another: give it to sql.OpenDB. Its methods may be called from
// any goroutine.
type Connector struct {
	inner    driver.Connector
	tracker  *invalidate.Tracker
	opts     Options // with defaults
	dialect  Dialect
	pool     *pool
	marks    *marks
	resolver *resolver
	rows     *cache.Cache[key, *result]
	plan     guard.Plan

	current atomic.Pointer[analysis] // nil before the catalog has been read
	reading sync.Mutex               // held while the catalog is read
	tried   time.Time                // of the last failure to read it; under reading

	passed, wrote, flushed, blocked atomic.Uint64

	end  context.CancelFunc
	wg   sync.WaitGroup
	once sync.Once
}

var _ driver.Connector = (*Connector)(nil)

// New checks the options and reads the catalog, all within ctx. When the database is down the catalog is read at the
// first statement instead. It fails where opts are no good (the error names the field), where Redis is another than
// tracker's ([invalidate.ErrWrongClient]), and where the database's answers may not be kept ([ErrUnfit]): on a
// replica, with autocommit off, with uncommitted reads.
//
// sql.DB.Close closes the connector too.
func New(ctx context.Context, inner driver.Connector, tracker *invalidate.Tracker, opts Options) (*Connector, error) {
	switch {
	case inner == nil:
		return nil, errors.New("sqlcache: inner is nil: give the driver's connector")
	case tracker == nil:
		return nil, errors.New("sqlcache: tracker is nil: make one with invalidate.Connect")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := tracker.CheckClient(ctx, opts.Redis); err != nil {
		return nil, fmt.Errorf("sqlcache: Options.Redis: %w", err)
	}
	d := opts.Dialect
	if d == nil {
		var err error
		if d, err = told(inner.Driver()); err != nil {
			return nil, err
		}
	}
	opts = opts.withDefaults()
	c := &Connector{inner: inner, tracker: tracker, opts: opts, dialect: d, plan: guard.In(ctx)}
	c.pool = newPool(inner, d, &c.opts)
	c.marks = &marks{rdb: opts.Redis, tracker: tracker, lease: opts.Lease, plan: c.plan, wake: make(chan struct{}, 1)}
	c.resolver = &resolver{marks: c.marks, pool: c.pool, dialect: d, asks: make(chan []standing, 1)}
	var err error
	c.rows, err = cache.New(tracker, cache.Options[key, *result]{
		Name: "sqlcache", NoKey: true, MaxBytes: opts.MaxBytes, TTL: opts.TTL, MaxStaleness: opts.MaxStaleness,
		Cost:        func(k key, r *result) int64 { return r.bytes + int64(len(k.args)) + cache.EntryOverhead },
		NotFound:    func(error) bool { return false },
		LoadTimeout: longestLoad,
		Load:        func(ctx context.Context, k key) (*result, error) { return ctx.Value(loadKey{}).(loader)(ctx, k) },
		Logger:      opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		c.rows.Close()
		c.pool.close()
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	c.end = end
	c.wg.Go(func() { c.marks.tidy(life) })
	c.wg.Go(func() { c.resolver.run(life) })
	c.wg.Go(func() { c.keepCatalog(life) })
	return c, nil
}

// longestLoad: a query ends when nobody waits for it any more, not by a timeout that a plain sql.DB has not.
const longestLoad = 24 * time.Hour

// start reads the catalog for the first time. A database that cannot be reached is no error.
func (c *Connector) start(ctx context.Context) error {
	r, err := c.pool.get(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.opts.Logger.Warn("freshet: sqlcache: the database cannot be reached yet", "error", err)
		return nil
	}
	unfit := r.session.unfit
	c.pool.put(r, false)
	if unfit != "" {
		return fmt.Errorf("%w: %s", ErrUnfit, unfit)
	}
	_, err = c.readCatalog(ctx)
	return err
}

// Connect returns a connection that dials when it must. database/sql calls it.
func (c *Connector) Connect(context.Context) (driver.Conn, error) {
	return &conn{c: c}, nil
}

// Driver is the driver of the connector inside.
func (c *Connector) Driver() driver.Driver { return c.inner.Driver() }

// Close ends the connector: its connections, its memory, its goroutines. sql.DB.Close calls it. Safe twice.
func (c *Connector) Close() error {
	c.once.Do(func() {
		c.end()
		c.rows.Close()
		c.pool.close()
		c.wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		c.marks.settleAll(ctx) // what remains is for the others: the sessions end with the connections
	})
	return nil
}

// Stats of a connector since it was made.
type Stats struct {
	cache.Stats
	Passed  uint64 // queries that went to the database by themselves: not kept, in transactions, oversize
	Writes  uint64 // writes and commits of writes
	Flushes uint64 // of the Writes: those that might have changed any table
	Blocked uint64 // loads that were not stored, for a commit was under way or Redis could not be asked
}

// Stats returns the counters.
func (c *Connector) Stats() Stats {
	return Stats{Stats: c.rows.Stats(), Passed: c.passed.Load(), Writes: c.wrote.Load(), Flushes: c.flushed.Load(),
		Blocked: c.blocked.Load()}
}

// Touch announces writes made around the connector, after their commit: by another program, or by hand. Tables are
// named as name or schema.name; what falls with them falls as well. Without tables everything falls. See
// [invalidate.Tracker.Touch].
func (c *Connector) Touch(ctx context.Context, tables ...string) error {
	if len(tables) == 0 {
		if _, _, err := c.catalog(ctx); err != nil {
			return err
		}
		return c.tracker.Touch(ctx, c.marks.names([]string{allTables, catalogTag})...)
	}
	cat, _, err := c.catalog(ctx)
	if err != nil {
		return err
	}
	var names []invalidate.Name
	for _, t := range tables {
		found, err := cat.resolve(t)
		if err != nil {
			return err
		}
		for _, r := range found {
			if r.flushes != "" {
				names = append(names, c.marks.names([]string{allTables, catalogTag})...)
			}
			for _, f := range r.falls {
				names = append(names, cat.name(f.tag()))
			}
		}
	}
	return c.tracker.Touch(ctx, names...)
}

// Names are what a value built from these tables must depend on, for invalidate.DependOn in loads that read the
// database by other ways. Tables are named as for [Connector.Touch]; a view stands for what it reads.
func (c *Connector) Names(ctx context.Context, tables ...string) ([]invalidate.Name, error) {
	cat, _, err := c.catalog(ctx)
	if err != nil {
		return nil, err
	}
	names := []invalidate.Name{cat.name(allTables)}
	for _, t := range tables {
		found, err := cat.resolve(t)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			for _, b := range r.bases {
				names = append(names, cat.name(b.tag()))
			}
		}
	}
	return names, nil
}
