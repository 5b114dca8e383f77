package sqlcache

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// conn is what database/sql takes for a connection. It has one of the driver's only while it needs one: from the first
// statement that memory does not answer until database/sql takes it back, and in a transaction or after a change of the
// session for as long as that lasts. One goroutine uses it at a time.
type conn struct {
	c *Connector
	sqlengine.Use
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
	if c.Broken {
		return nil, driver.ErrBadConn
	}
	l, err := c.Attach(ctx)
	if err != nil {
		return nil, err
	}
	return l.(*real), nil
}

// tainted reports whether the session is the caller's alone by now.
func (c *conn) tainted() bool {
	return c.Link != nil && !c.c.pool.keep && (c.InTx() || c.Link.State().Tainted)
}

// Close is called when database/sql needs it no more.
func (c *conn) Close() error {
	if c.tainted() || c.InTx() {
		c.Broken = true // its session goes with it
	}
	c.Detach()
	return nil
}

// IsValid is asked when database/sql takes the connection back: the driver's goes back too. One whose session is
// another by now, or that has a transaction open, is closed: nobody else shall find it in the pool. One with SQLite's
// settings stays: whoever made them counts on finding it here again.
func (c *conn) IsValid() bool {
	if c.Stays() && !c.c.pool.keep {
		r := c.Link.(*real)
		c.c.pool.lend(r)
		return !c.Broken && r.valid()
	}
	if c.tainted() {
		return false
	}
	if !c.InTx() {
		c.Detach()
	}
	return !c.Broken
}

// ResetSession does nothing without a session: the driver's are reset when they are taken from the pool.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.Link != nil && !c.Link.(*real).fresh(ctx) {
		c.Broken = true
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
		return c.Saw(p.Ping(ctx))
	}
	return nil
}

// CheckNamedValue does what the driver's connections do to arguments, without one.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	check, _ := c.c.pool.checker()
	if check == nil {
		return driver.ErrSkip
	}
	return check.CheckNamedValue(v)
}

// analyse says what query is with args.
func (c *conn) analyse(ctx context.Context, query string, args []driver.NamedValue) (*sqlengine.Statement, error) {
	if rewrites(args) {
		return c.Unseen(ctx)
	}
	return c.Analyse(ctx, query)
}

// QueryContext answers from memory what may be, and asks the database for the rest.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	st, err := c.analyse(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, st, query, args, (*real).rows)
}

type querying func(r *real, ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error)

func (c *conn) answer(ctx context.Context, st *sqlengine.Statement, query string, args []driver.NamedValue, run querying) (driver.Rows, error) {
	if bound, ok := c.MayAsk(ctx, st); ok {
		res, err := c.ask(ctx, st, query, args, bound)
		if err != nil {
			return nil, err
		}
		if res != nil {
			return &kept{r: res}, nil
		}
	}
	c.Pass(ctx, st)
	var rows driver.Rows
	finish, err := c.around(ctx, about(st, args), func(r *real) error {
		var err error
		rows, err = run(r, ctx, query, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	if finish == nil {
		finish = func(err error) error { c.Saw(err); return nil }
	}
	return &streamed{Rows: rows, done: finish}, nil
}

// ask asks for an answer that may be shared. A nil result is one that may not: the caller asks for itself.
func (c *conn) ask(ctx context.Context, st *sqlengine.Statement, query string, args []driver.NamedValue, bound time.Duration) (*result, error) {
	var room [128]byte
	enc, args, ok := appendArgs(room[:0], args, c.c.dates)
	if !ok {
		return nil, nil
	}
	ans, err := c.Engine.Ask(ctx, st, string(enc), bound, &question{c.c, st, query, args})
	res, _ := ans.(*result)
	return res, err
}

// question is a query with arguments of its own.
type question struct {
	c     *Connector
	st    *sqlengine.Statement
	query string
	args  []driver.NamedValue
}

func (q *question) Rows() []sqlengine.Row { return rowsOf(q.st, q.args) }

func (q *question) Fetch(ctx context.Context, l sqlengine.Link) (sqlengine.Answer, error) {
	r := l.(*real)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := r.rows(ctx, q.query, q.args)
	if err != nil {
		return nil, err
	}
	stop := func() {}
	if q.c.drains {
		stop = func() { // costs the connection: to read on could take minutes
			r.state.Tainted = true
			cancel()
		}
	}
	opts := q.c.engine.Options()
	return collect(rows, stop, opts.MaxRows, opts.MaxResultBytes)
}

func (c *conn) around(ctx context.Context, st *sqlengine.Statement, run func(*real) error) (func(error) error, error) {
	if c.Broken {
		return nil, driver.ErrBadConn
	}
	return c.Around(ctx, st, func(l sqlengine.Link) error { return run(l.(*real)) })
}

// ExecContext runs query on the database. A write is told of before and after.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	st, err := c.analyse(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return c.execute(ctx, st, query, args)
}

func (c *conn) execute(ctx context.Context, st *sqlengine.Statement, query string, args []driver.NamedValue) (driver.Result, error) {
	var res driver.Result
	finish, err := c.around(ctx, about(st, args), func(r *real) error {
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
	r.state.Tainted = true
	return r.conn, nil
}
