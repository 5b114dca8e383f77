package sqltest

import (
	"context"
	"database/sql/driver"
	"math/rand/v2"
	"time"
)

// slow delays each answer of a driver: what was read is old when it arrives.
type slow struct {
	driver.Connector
	most time.Duration
}

func (s slow) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &slowConn{c, s.most}, nil
}

type slowConn struct {
	driver.Conn
	most time.Duration
}

func (c *slowConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args)
	time.Sleep(rand.N(c.most))
	return rows, err
}

func (c *slowConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	time.Sleep(rand.N(c.most))
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args)
}

func (c *slowConn) PrepareContext(ctx context.Context, q string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, q)
}

func (c *slowConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *slowConn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}
