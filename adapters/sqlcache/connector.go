package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

// Connector is a driver.Connector and io.Closer around another: give it to sql.OpenDB. Its methods may be called from
// any goroutine.
type Connector struct {
	inner  driver.Connector
	pool   *pool
	engine *sqlengine.Engine
	dates  bool // the database takes words for dates
	drains bool // rows that are closed are read to their end
}

var _ driver.Connector = (*Connector)(nil)

// New checks the options and reads the catalog, all within ctx. When the database is down the catalog is read at the
// first statement instead. It fails where opts are no good (the error names the field), where the tracker's client
// caches by itself ([invalidate.ErrWrongClient]), and where the database's answers may not be kept ([ErrUnfit]): on a
// replica, with autocommit off, with uncommitted reads, with sql_select_limit or sql_auto_is_null set, with temporary
// tables (in MySQL with any that a hook made), with a character set such as GBK whose letters may hide a quote.
//
// sql.DB.Close closes the connector too.
func New(ctx context.Context, inner driver.Connector, tracker *invalidate.Tracker, opts Options) (*Connector, error) {
	if inner == nil {
		return nil, errors.New("sqlcache: inner is nil: give the driver's connector")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	d := opts.Dialect
	if d == nil {
		var err error
		if d, err = told(inner.Driver()); err != nil {
			return nil, err
		}
	}
	sqlengine.OrDefault(&opts.MaxConns, defaultConns)
	sqlengine.OrDefault(&opts.MaxIdle, defaultIdle)
	c := &Connector{inner: inner, pool: newPool(inner, d, &opts), dates: d.Name() == "postgres", drains: d.Name() != "sqlite"}
	var err error
	if c.engine, err = sqlengine.New(ctx, "sqlcache", d, c.pool, tracker, opts.engine()); err != nil {
		c.pool.Close()
		return nil, err
	}
	return c, nil
}

// Connect returns a connection that dials when it must: at once only before the first of all, for what the driver does to
// arguments is asked where no ctx bounds the wait. database/sql calls it.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	on := &conn{c: c, Use: sqlengine.Use{Engine: c.engine}}
	if _, known := c.pool.checker(); !known {
		if _, err := on.attach(ctx); err != nil {
			return nil, err
		}
		on.Detach()
	}
	return on, nil
}

// Driver is the driver of the connector inside.
func (c *Connector) Driver() driver.Driver { return c.inner.Driver() }

// Close ends the connector: its connections, its memory, its goroutines. sql.DB.Close calls it. Safe twice.
func (c *Connector) Close() error {
	c.engine.Close()
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
func (c *Connector) Stats() Stats { return Stats(c.engine.Stats()) }

// Touch announces writes made around the connector, after their commit: by another program, or by hand. Tables are
// named as name or schema.name; what falls with them falls as well. Without tables everything falls. See
// [invalidate.Tracker.Touch].
func (c *Connector) Touch(ctx context.Context, tables ...string) error {
	return c.engine.Touch(ctx, tables...)
}

// TouchRows is [Connector.Touch] for rows of one table, by their primary keys: integers, or UUIDs as texts or [16]byte.
// What was read of other rows alone stays. Without keys it says that rows were added and none changed. Of a table whose
// rows are not told apart, and for keys of other types, everything falls, as with Touch.
func (c *Connector) TouchRows(ctx context.Context, table string, keys ...any) error {
	return c.engine.TouchRows(ctx, table, keys...)
}

// TouchChanges is [Connector.Touch] for the changes of one transaction as the server's log tells them; package pgfollow
// calls it.
func (c *Connector) TouchChanges(ctx context.Context, changes []sqlengine.Change, told sqlengine.Told) error {
	return c.engine.TouchChanges(ctx, changes, told)
}

// Names are what a value built from these tables must depend on, for invalidate.DependOn in loads that read the
// database by other ways. Tables are named as for [Connector.Touch]; a view stands for what it reads.
func (c *Connector) Names(ctx context.Context, tables ...string) ([]invalidate.Name, error) {
	return c.engine.Names(ctx, tables...)
}
