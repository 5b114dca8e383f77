package sqlcache

import (
	"context"
	"database/sql/driver"
)

// stmt is a prepared statement: its text. The driver's own are prepared on each of its connections when needed.
type stmt struct {
	conn  *conn
	query string
	input int // placeholders, as the driver counts them
}

var (
	_ driver.StmtQueryContext  = (*stmt)(nil)
	_ driver.StmtExecContext   = (*stmt)(nil)
	_ driver.NamedValueChecker = (*stmt)(nil)
)

// PrepareContext prepares query on the database the first time, to report its errors. Afterwards it costs nothing.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.Analyse(ctx, query)
	if err != nil {
		return nil, err
	}
	if n := st.Input.Load(); n > 0 && c.Like() {
		return &stmt{conn: c, query: query, input: int(n) - 1}, nil
	}
	r, err := c.attach(ctx)
	if err != nil {
		return nil, err
	}
	inner, release, err := r.prepare(ctx, query)
	if err != nil {
		return nil, c.Saw(err)
	}
	n := inner.NumInput()
	release()
	if n >= 0 {
		st.Input.Store(int32(n) + 1)
	}
	return &stmt{conn: c, query: query, input: n}, nil
}

func (s *stmt) Close() error  { return nil }
func (s *stmt) NumInput() int { return s.input }

func (s *stmt) CheckNamedValue(v *driver.NamedValue) error { return s.conn.CheckNamedValue(v) }

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	st, err := s.conn.analyse(ctx, s.query, args)
	if err != nil {
		return nil, err
	}
	return s.conn.answer(ctx, st, s.query, args, (*real).preparedRows)
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	st, err := s.conn.analyse(ctx, s.query, args)
	if err != nil {
		return nil, err
	}
	return s.conn.execute(ctx, st, s.query, args)
}

func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}
