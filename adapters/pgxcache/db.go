package pgxcache

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/invalidate"
)

// DB is a *pgxpool.Pool whose reads come from memory: what sqlc calls a DBTX. Its methods may be called from any
// goroutine.
type DB struct {
	engine *sqlengine.Engine
	opts   *sqlengine.Options
}

// New checks the options and reads the catalog, all within ctx. When the database is down the catalog is read at the
// first statement instead. It fails where opts are no good (the error names the field), where the tracker's client caches
// by itself ([invalidate.ErrWrongClient]), and where the database's answers may not be kept ([sqlcache.ErrUnfit]): on a
// replica.
//
// The pool stays the caller's: close it after the DB.
func New(ctx context.Context, pool *pgxpool.Pool, tracker *invalidate.Tracker, opts Options) (*DB, error) {
	if pool == nil {
		return nil, errors.New("pgxcache: pool is nil: make one with pgxpool.New")
	}
	e, err := sqlengine.New(ctx, "pgxcache", sqlengine.Postgres(), links{pool}, tracker, opts.engine())
	if err != nil {
		return nil, err
	}
	return &DB{engine: e, opts: e.Options()}, nil
}

// Close ends the DB: its memory and its goroutines. The pool stays open. Safe twice; afterwards every call returns
// [sqlcache.ErrClosed].
func (db *DB) Close() error {
	db.engine.Close()
	return nil
}

// Stats returns the counters.
func (db *DB) Stats() sqlcache.Stats { return sqlcache.Stats(db.engine.Stats()) }

// Explain says whether answers to query are kept, on what they depend, and if not, why not. It runs nothing; without a
// catalog it reads that.
func (db *DB) Explain(query string) sqlcache.Explanation {
	return sqlcache.Explanation(db.engine.Explain(query))
}

// Touch announces writes made around the DB, after their commit: by another program, or on a connection of the pool.
// Tables are named as name or schema.name; what falls with them falls as well. Without tables everything falls. See
// [invalidate.Tracker.Touch].
func (db *DB) Touch(ctx context.Context, tables ...string) error {
	return db.engine.Touch(ctx, tables...)
}

// TouchRows is [DB.Touch] for rows of one table, by their primary keys: integers, or UUIDs as texts or [16]byte. What was
// read of other rows alone stays. Without keys it says that rows were added and none changed. Of a table whose rows are
// not told apart, and for keys of other types, everything falls, as with Touch.
func (db *DB) TouchRows(ctx context.Context, table string, keys ...any) error {
	return db.engine.TouchRows(ctx, table, keys...)
}

// TouchChanges is [DB.Touch] for the changes of one transaction as the server's log tells them; package pgfollow calls it.
func (db *DB) TouchChanges(ctx context.Context, changes []sqlengine.Change, told sqlengine.Told) error {
	return db.engine.TouchChanges(ctx, changes, told)
}

// Names are what a value built from these tables must depend on, for invalidate.DependOn in loads that read the
// database by other ways. Tables are named as for [DB.Touch]; a view stands for what it reads.
func (db *DB) Names(ctx context.Context, tables ...string) ([]invalidate.Name, error) {
	return db.engine.Names(ctx, tables...)
}

// use is for one statement, batch or transaction.
func (db *DB) use() *use { return &use{Use: sqlengine.Use{Engine: db.engine, Named: true}} }

// Query answers from memory what may be, and asks the database for the rest.
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := db.recall(ctx, sql, args)
	if err != nil {
		return failed(err), err
	}
	if rows != nil {
		return rows, nil
	}
	u := db.use()
	return u.query(ctx, nil, sql, args, u.Detach)
}

// QueryRow is Query for the first row.
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := db.Query(ctx, sql, args...)
	return first{rows}
}

// Exec runs sql on the database. A write is told of before and after.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	u := db.use()
	defer u.Detach()
	return u.exec(ctx, nil, sql, args)
}

// CopyFrom is a write to table and what falls with it.
func (db *DB) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	u := db.use()
	defer u.Detach()
	return u.copyFrom(ctx, nil, table, columns, src)
}

// SendBatch sends b to the database, reads as well. With a write among its statements it is one write to all that they
// write: marked before it is sent, announced when its results are closed.
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	u := db.use()
	return u.sendBatch(ctx, nil, b, u.Detach)
}

// Begin is BeginTx without options.
func (db *DB) Begin(ctx context.Context) (pgx.Tx, error) { return db.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction. It reads the database, never memory; what it writes is marked before its COMMIT. With a
// BeginQuery or CommitQuery that does more than its name says, it counts as a write to every table.
func (db *DB) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	if db.engine.Closed() {
		return nil, sqlcache.ErrClosed
	}
	u := db.use()
	t := &Tx{u: u}
	err := u.Begin(ctx, u.Plain(ctx, opts.BeginQuery, opts.CommitQuery), func(l sqlengine.Link) (err error) {
		t.inner, err = l.(*link).pgx().BeginTx(ctx, opts)
		return err
	})
	if err != nil {
		u.Detach()
		return nil, err
	}
	return t, nil
}
