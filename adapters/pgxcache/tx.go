package pgxcache

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Tx is a transaction, or with a savepoint a part of one. Its reads go to the database. Like pgx's it is for one
// goroutine.
type Tx struct {
	u     *use
	inner pgx.Tx
	outer *Tx // nil: the transaction itself
}

var _ pgx.Tx = (*Tx)(nil)

// Begin begins a part of the transaction, with a savepoint. What is written in a part that is rolled back is announced
// with the rest.
func (t *Tx) Begin(ctx context.Context) (pgx.Tx, error) {
	inner, err := t.inner.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &Tx{u: t.u, inner: inner, outer: t}, nil
}

// rollbackTimeout is for a transaction that could not be announced: its ctx may be over.
const rollbackTimeout = 5 * time.Second

// Commit tells of what was written before and after. An unknown outcome counts as a commit. A transaction that Redis
// cannot be told of is rolled back, and the error wraps sqlcache.ErrNotMarked.
func (t *Tx) Commit(ctx context.Context) error {
	commit := func() error { return t.inner.Commit(ctx) }
	if t.outer != nil || !t.u.InTx() {
		return commit()
	}
	defer t.u.Detach()
	if t.inner.Conn().PgConn().TxStatus() == 'E' { // the server will roll it back
		return t.u.Rollback(commit)
	}
	return t.u.Commit(ctx, commit, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		return t.inner.Rollback(ctx)
	})
}

// Rollback tells nobody anything, unless somebody asked for [Tx.Conn]. After Commit it returns pgx.ErrTxClosed.
func (t *Tx) Rollback(ctx context.Context) error {
	rollback := func() error { return t.inner.Rollback(ctx) }
	if t.outer != nil || !t.u.InTx() {
		return rollback()
	}
	defer t.u.Detach()
	return t.u.Rollback(rollback)
}

// Query asks the database.
func (t *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if !t.u.InTx() {
		return failed(pgx.ErrTxClosed), pgx.ErrTxClosed
	}
	return t.u.query(ctx, t.inner, sql, args, func() {})
}

// QueryRow is Query for the first row.
func (t *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...)
	return first{rows}
}

// Exec runs sql and notes what it writes.
func (t *Tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if !t.u.InTx() {
		return pgconn.CommandTag{}, pgx.ErrTxClosed
	}
	return t.u.exec(ctx, t.inner, sql, args)
}

// CopyFrom notes table as written.
func (t *Tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	if !t.u.InTx() {
		return 0, pgx.ErrTxClosed
	}
	return t.u.copyFrom(ctx, t.inner, table, columns, src)
}

// SendBatch notes what its statements write.
func (t *Tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if !t.u.InTx() {
		return pgx.FailedBatchResults(b, pgx.ErrTxClosed)
	}
	return t.u.sendBatch(ctx, t.inner, b, func() {})
}

// LargeObjects are no tables: what is read of them is never kept.
func (t *Tx) LargeObjects() pgx.LargeObjects { return t.inner.LargeObjects() }

// Prepare prepares a statement on the transaction's connection. What is then run by its name is not understood, and
// counts as a write to every table: give the text instead, which pgx prepares by itself.
func (t *Tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return t.inner.Prepare(ctx, name, sql)
}

// Conn is the connection itself. Nobody sees what is done with it, so the transaction counts as a write to every table,
// rolled back or not, and its session as changed.
func (t *Tx) Conn() *pgx.Conn {
	if t.u.InTx() {
		t.u.Handed()
	}
	return t.inner.Conn()
}
