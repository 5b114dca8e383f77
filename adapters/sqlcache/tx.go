package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// tx is a transaction that database/sql has begun.
type tx struct {
	conn  *conn
	inner driver.Tx
}

// BeginTx begins a transaction on a connection of the driver's.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.Broken {
		return nil, driver.ErrBadConn
	}
	t := &tx{conn: c}
	err := c.Use.Begin(ctx, true, func(l sqlengine.Link) (err error) {
		r := l.(*real)
		if b, ok := r.conn.(driver.ConnBeginTx); ok {
			t.inner, err = b.BeginTx(ctx, opts)
		} else if opts != (driver.TxOptions{}) {
			err = errors.New("sqlcache: the driver does not support transaction options")
		} else {
			//lint:ignore SA1019 for drivers that have nothing else
			t.inner, err = r.conn.Begin()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Commit tells of it before and after. An unknown outcome counts as a commit.
func (t *tx) Commit() error {
	return t.conn.Use.Commit(context.Background(), t.inner.Commit, t.inner.Rollback)
}

// Rollback publishes nothing: nothing was said yet.
func (t *tx) Rollback() error { return t.conn.Use.Rollback(t.inner.Rollback) }
