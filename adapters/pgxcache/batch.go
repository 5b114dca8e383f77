package pgxcache

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// sendBatch sends b on a transaction's behalf, or by itself if on is nil. done is called once its results are closed, or
// by the end of the transaction that it has begun.
func (u *use) sendBatch(ctx context.Context, on runner, b *pgx.Batch, done func()) pgx.BatchResults {
	r := &batchResults{done: done}
	if err := u.openBatch(ctx, on, b, r); err != nil {
		done()
		return pgx.FailedBatchResults(b, err)
	}
	return r
}

func (u *use) openBatch(ctx context.Context, on runner, b *pgx.Batch, r *batchResults) error {
	texts, calls := make([]string, len(b.QueuedQueries)), make([]call, len(b.QueuedQueries))
	for i, q := range b.QueuedQueries {
		c, err := parse(ctx, q.SQL, q.Arguments, u.conn(ctx))
		if err != nil {
			return err
		}
		texts[i], calls[i], q.Arguments = c.sql, c, c.given
	}
	if begins(b) && !u.InTx() && u.Plain(ctx, texts[0], "") {
		texts, calls = texts[1:], calls[1:]
	}
	all, err := u.AnalyseAll(ctx, texts, func(i int, st *sqlengine.Statement) []sqlengine.Row { return calls[i].rows(st) })
	if err != nil {
		return err
	}
	u.Pass(ctx, all)
	r.finish, err = u.around(ctx, on, all, func(to runner) error {
		r.BatchResults = to.SendBatch(ctx, b)
		return nil
	})
	if err != nil {
		return err
	}
	if r.finish == nil {
		r.finish = u.Saw
	}
	if inner := r.BatchResults.Tx(); inner != nil {
		u.Began(all)
		r.tx, r.done = &Tx{u: u, inner: inner}, func() {}
	}
	return nil
}

// begins reports whether b begins a transaction by its BeginTx, which only what is made of it tells.
func begins(b *pgx.Batch) bool { return pgx.FailedBatchResults(b, nil).Tx() != nil }

// batchResults are the driver's own, and what is to be done when they are closed.
type batchResults struct {
	pgx.BatchResults
	finish func(error) error
	done   func()
	tx     *Tx
	ended  bool
}

func (r *batchResults) Close() error {
	err := r.BatchResults.Close()
	if !r.ended {
		r.ended = true
		r.finish(err)
		r.done()
	}
	return err
}

// Tx is the transaction that the batch has begun by BeginTx, or nil.
func (r *batchResults) Tx() pgx.Tx {
	if r.tx == nil {
		return nil
	}
	return r.tx
}
