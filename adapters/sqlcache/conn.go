package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/gofreshet/freshet/invalidate"
)

// conn is what database/sql takes for a connection. It has one of the driver's only while it needs one: from the first
// statement that memory does not answer until database/sql takes it back, and in a transaction or after a change of the
// session for as long as that lasts. One goroutine uses it at a time.
type conn struct {
	c      *Connector
	real   *real // nil as a rule
	tx     *tx   // nil outside a transaction
	broken bool  // real is
}

var (
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
)

// attach makes sure that there is a connection of the driver's.
func (c *conn) attach(ctx context.Context) (*real, error) {
	if c.broken {
		return nil, driver.ErrBadConn
	}
	if c.real != nil {
		return c.real, nil
	}
	r, err := c.c.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	c.real = r
	return r, nil
}

// detach gives the connection back.
func (c *conn) detach() {
	if c.real == nil {
		return
	}
	c.c.pool.put(c.real, c.broken)
	c.real = nil
}

// saw notes what an error says of the connection.
func (c *conn) saw(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		c.broken = true
	}
	return err
}

// Close is called when database/sql needs it no more.
func (c *conn) Close() error {
	if c.real != nil {
		if c.tx != nil || c.real.tainted && !c.c.pool.keep {
			c.broken = true // its session goes with it
		}
		c.detach()
	}
	return nil
}

// IsValid is asked when database/sql takes the connection back: the driver's goes back too. One whose session is
// another by now, or that has a transaction open, is closed: nobody else shall find it in the pool.
func (c *conn) IsValid() bool {
	if c.real != nil && !c.c.pool.keep && (c.tx != nil || c.real.tainted) {
		return false
	}
	if c.tx == nil {
		c.detach()
	}
	return !c.broken
}

// ResetSession does nothing without a session: the driver's are reset when they are taken from the pool.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.real != nil && !c.real.fresh(ctx) {
		c.broken = true
		return driver.ErrBadConn
	}
	return nil
}

// Ping asks the database.
func (c *conn) Ping(ctx context.Context) error {
	r, err := c.attach(ctx)
	if err != nil {
		return err
	}
	if p, ok := r.conn.(driver.Pinger); ok {
		return c.saw(p.Ping(ctx))
	}
	return nil
}

// CheckNamedValue does what the driver's connections do to arguments, without one.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	check, known := c.c.pool.checker()
	if !known {
		if _, err := c.attach(context.Background()); err != nil {
			return err
		}
		check, _ = c.c.pool.checker()
	}
	if check == nil {
		return driver.ErrSkip
	}
	return check.CheckNamedValue(v)
}

// QueryContext answers from memory what may be, and asks the database for the rest.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	st, err := c.analysed(ctx, query)
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, st, query, args, (*real).rows)
}

// analysed says what query is.
func (c *conn) analysed(ctx context.Context, query string) (*statement, error) {
	if c.c.pool.closedNow() {
		return nil, ErrClosed
	}
	// Who holds a connection does not wait for another to read the catalog with: all might do so.
	a, fresh, err := c.c.analysis(ctx, c.real == nil)
	switch {
	case err != nil:
		return nil, err
	case fresh:
		return a.of(query), nil
	}
	return a.stale(query), nil
}

type querying func(r *real, ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error)

func (c *conn) answer(ctx context.Context, st *statement, query string, args []driver.NamedValue, run querying) (driver.Rows, error) {
	if st.class == reads && c.real == nil && c.tx == nil && !st.oversize.now() {
		if bound := boundIn(ctx); bound != noCache {
			res, err := c.c.ask(ctx, st, query, args, bound)
			if err != nil {
				return nil, err
			}
			if res != nil {
				return &kept{r: res}, nil
			}
		}
	}
	if st.class <= passes {
		invalidate.NoStore(ctx) // what a load around this builds on nobody will tell of
		c.c.passed.Add(1)
	}
	var rows driver.Rows
	finish, err := c.around(ctx, st, func(r *real) error {
		var err error
		rows, err = run(r, ctx, query, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	if finish == nil {
		finish = func(err error) error { c.saw(err); return nil }
	}
	return &streamed{Rows: rows, done: finish}, nil
}

// ExecContext runs query on the database. A write is told of before and after.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	st, err := c.analysed(ctx, query)
	if err != nil {
		return nil, err
	}
	return c.execute(ctx, st, query, args)
}

func (c *conn) execute(ctx context.Context, st *statement, query string, args []driver.NamedValue) (driver.Result, error) {
	var res driver.Result
	finish, err := c.around(ctx, st, func(r *real) error {
		var err error
		res, err = r.run(ctx, query, args)
		return err
	})
	if err == nil && finish != nil {
		err = finish(nil)
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// Prepare is PrepareContext.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Begin is BeginTx.
func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

// Raw returns the driver's connection behind the one that sql.Conn.Raw gives, for what only the driver can do: COPY,
// batches, notifications. From then on that sql.Conn's session counts as changed and its reads pass by. What is written
// this way must be announced with [Connector.Touch].
func Raw(driverConn any) (any, error) {
	c, ok := driverConn.(*conn)
	if !ok {
		return nil, fmt.Errorf("sqlcache: Raw was given a %T: give what sql.Conn.Raw gives", driverConn)
	}
	r, err := c.attach(context.Background())
	if err != nil {
		return nil, err
	}
	r.tainted = true
	return r.conn, nil
}
