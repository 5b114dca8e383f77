package pgxcache

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// use is somebody's use of the database: for one statement, a batch or a transaction.
type use struct{ sqlengine.Use }

// runner is what runs a statement: a connection or a transaction on it.
type runner interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// around runs a statement on a transaction's behalf, or on the connection if on is nil.
func (u *use) around(ctx context.Context, on runner, st *sqlengine.Statement, run func(runner) error) (func(error) error, error) {
	return u.Around(ctx, st, func(l sqlengine.Link) error {
		if on == nil {
			return run(l.(*link).pgx())
		}
		return run(on)
	})
}

// conn is for rewriters.
func (u *use) conn(ctx context.Context) func() (*pgx.Conn, error) {
	return func() (*pgx.Conn, error) {
		l, err := u.Attach(ctx)
		if err != nil {
			return nil, err
		}
		return l.(*link).pgx(), nil
	}
}

// recall answers from memory or by a load that others share. Nil rows are to be asked for by the caller alone.
func (db *DB) recall(ctx context.Context, sql string, args []any) (pgx.Rows, error) {
	for _, a := range args {
		switch a.(type) {
		case pgx.NamedArgs, pgx.StrictNamedArgs:
		case pgx.QueryRewriter:
			return nil, nil // may need a connection
		}
	}
	c, err := parse(ctx, sql, args, nil)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	u := sqlengine.Use{Engine: db.engine, Named: true}
	st, err := u.Analyse(ctx, c.sql)
	if err != nil {
		return nil, err
	}
	bound, ok := u.MayAsk(ctx, st)
	if !ok {
		return nil, nil
	}
	var room [128]byte
	key, own, ok := c.appendKey(room[:0])
	if !ok {
		return nil, nil
	}
	c.args = own
	ans, err := db.engine.Ask(ctx, st, string(key), bound, &question{db, st, sql, c})
	if err != nil {
		return tell(err)
	}
	if ans == nil {
		return nil, nil
	}
	return &kept{r: ans.(*result)}, nil
}

// question is a call with arguments of its own; sql is the caller's text.
type question struct {
	db  *DB
	st  *sqlengine.Statement
	sql string
	call
}

func (q *question) Rows() []sqlengine.Row { return q.rows(q.st) }

func (q *question) Fetch(ctx context.Context, l sqlengine.Link) (sqlengine.Answer, error) {
	return l.(*link).fetch(ctx, q.db.opts, q.sql, q.with(q.args))
}

// tell tells of a load's error when pgx would.
func tell(err error) (pgx.Rows, error) {
	var l late
	if errors.As(err, &l) {
		return failed(l.error), nil
	}
	return nil, err
}

// query asks the database. done is called once the rows are closed.
func (u *use) query(ctx context.Context, on runner, sql string, args []any, done func()) (pgx.Rows, error) {
	rows, err := u.open(ctx, on, sql, args, done)
	if err != nil {
		done()
		return failed(err), err
	}
	return rows, nil
}

func (u *use) open(ctx context.Context, on runner, sql string, args []any, done func()) (pgx.Rows, error) {
	c, err := parse(ctx, sql, args, u.conn(ctx))
	if err != nil {
		return nil, err
	}
	st, err := u.Analyse(ctx, c.sql)
	if err != nil {
		return nil, err
	}
	u.Pass(ctx, st)
	s := &streamed{done: done}
	s.finish, err = u.around(ctx, on, st.About(c.rows(st)), func(r runner) (err error) {
		s.Rows, err = r.Query(ctx, sql, c.given...)
		return err
	})
	if s.finish == nil {
		s.finish = u.Saw
	}
	return s, err
}

func (u *use) exec(ctx context.Context, on runner, sql string, args []any) (tag pgconn.CommandTag, err error) {
	c, err := parse(ctx, sql, args, u.conn(ctx))
	if err != nil {
		return tag, err
	}
	st, err := u.Analyse(ctx, c.sql)
	if err != nil {
		return tag, err
	}
	finish, err := u.around(ctx, on, st.About(c.rows(st)), func(r runner) (err error) {
		tag, err = r.Exec(ctx, sql, c.given...)
		return err
	})
	if err == nil && finish != nil {
		err = finish(nil)
	}
	return tag, err
}

// copyFrom is analysed as the insert that it is.
func (u *use) copyFrom(ctx context.Context, on runner, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (n int64, err error) {
	st, err := u.Analyse(ctx, "INSERT INTO "+table.Sanitize()+" DEFAULT VALUES")
	if err != nil {
		return 0, err
	}
	finish, err := u.around(ctx, on, st, func(r runner) (err error) {
		n, err = r.CopyFrom(ctx, table, columns, src)
		return err
	})
	if err == nil && finish != nil {
		err = finish(nil)
	}
	return n, err
}

// streamed are the driver's own rows, and what is to be done when they are closed.
type streamed struct {
	pgx.Rows
	finish func(error) error // tells the engine what became of the statement
	done   func()
	ended  bool
}

func (s *streamed) end() {
	if s.ended {
		return
	}
	s.ended = true
	s.finish(s.Rows.Err())
	s.done()
}

func (s *streamed) Next() bool {
	more := s.Rows.Next()
	if !more {
		s.end()
	}
	return more
}

func (s *streamed) Close() {
	s.Rows.Close()
	s.end()
}

// Scan closes the rows at an error, as pgx does.
func (s *streamed) Scan(dest ...any) error {
	err := s.Rows.Scan(dest...)
	if err != nil {
		s.Close()
	}
	return err
}

func (s *streamed) Values() ([]any, error) {
	values, err := s.Rows.Values()
	if err != nil {
		s.Close()
	}
	return values, err
}
