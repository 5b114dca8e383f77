package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// real is a connection of the driver's. One goroutine has it at a time.
type real struct {
	conn    driver.Conn
	state   sqlengine.State
	session sqlengine.Session
	born    time.Time
	used    time.Time
	stmts   map[string]*prepared
}

var _ sqlengine.Link = (*real)(nil)

func (r *real) State() *sqlengine.State { return &r.state }

// Session is what it was when it was new: one that has changed since is tainted.
func (r *real) Session(context.Context) (sqlengine.Session, error) { return r.session, nil }

func (r *real) Broken(err error) bool { return errors.Is(err, driver.ErrBadConn) }

type prepared struct {
	driver.Stmt
	busy bool
}

const mostPrepared = 64 // a connection

// run executes query as database/sql would.
func (r *real) run(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := r.conn.(driver.ExecerContext); ok {
		res, err := e.ExecContext(ctx, query, args)
		if !errors.Is(err, driver.ErrSkip) {
			return res, err
		}
	}
	st, release, err := r.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	defer release()
	return execStmt(ctx, st, args)
}

// counted is what database/sql says before it asks a prepared statement.
func counted(st driver.Stmt, args []driver.NamedValue) error {
	if n := st.NumInput(); n >= 0 && n != len(args) {
		return fmt.Errorf("sql: expected %d arguments, got %d", n, len(args))
	}
	return nil
}

func execStmt(ctx context.Context, st driver.Stmt, args []driver.NamedValue) (driver.Result, error) {
	if err := counted(st, args); err != nil {
		return nil, err
	}
	if s, ok := st.(driver.StmtExecContext); ok {
		return s.ExecContext(ctx, args)
	}
	plain, err := unnamed(args)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 for drivers that have nothing else
	return st.Exec(plain)
}

// rows queries as database/sql would.
func (r *real) rows(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := r.conn.(driver.QueryerContext); ok {
		rows, err := q.QueryContext(ctx, query, args)
		if !errors.Is(err, driver.ErrSkip) {
			return rows, err
		}
	}
	return r.preparedRows(ctx, query, args)
}

func (r *real) preparedRows(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	st, release, err := r.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := queryStmt(ctx, st, args)
	if err != nil {
		release()
		return nil, err
	}
	return &streamed{Rows: rows, done: func(error) error { release(); return nil }}, nil
}

func queryStmt(ctx context.Context, st driver.Stmt, args []driver.NamedValue) (driver.Rows, error) {
	if err := counted(st, args); err != nil {
		return nil, err
	}
	if s, ok := st.(driver.StmtQueryContext); ok {
		return s.QueryContext(ctx, args)
	}
	plain, err := unnamed(args)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 for drivers that have nothing else
	return st.Query(plain)
}

func unnamed(args []driver.NamedValue) ([]driver.Value, error) {
	plain := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errors.New("sqlcache: the driver does not support named parameters")
		}
		plain[i] = a.Value
	}
	return plain, nil
}

// prepare returns a statement that nobody else is using, and what to call afterwards.
func (r *real) prepare(ctx context.Context, query string) (driver.Stmt, func(), error) {
	if p := r.stmts[query]; p != nil && !p.busy {
		p.busy = true
		return p.Stmt, func() { p.busy = false }, nil
	}
	var st driver.Stmt
	var err error
	if pc, ok := r.conn.(driver.ConnPrepareContext); ok {
		st, err = pc.PrepareContext(ctx, query)
	} else {
		st, err = r.conn.Prepare(query)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(r.stmts) < mostPrepared && r.stmts[query] == nil {
		if r.stmts == nil {
			r.stmts = map[string]*prepared{}
		}
		p := &prepared{Stmt: st, busy: true}
		r.stmts[query] = p
		return st, func() { p.busy = false }, nil
	}
	return st, func() { st.Close() }, nil
}

func (r *real) Query(ctx context.Context, query string, args ...any) ([][]string, error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	rows, err := r.rows(ctx, query, named)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	dest := make([]driver.Value, len(rows.Columns()))
	var all [][]string
	for {
		err := rows.Next(dest)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		row := make([]string, len(dest))
		for i, v := range dest {
			switch v := v.(type) {
			case nil:
			case []byte:
				row[i] = string(v)
			case string:
				row[i] = v
			default:
				row[i] = fmt.Sprint(v)
			}
		}
		all = append(all, row)
	}
}

func (r *real) Exec(ctx context.Context, query string) error {
	_, err := r.run(ctx, query, nil)
	return err
}

// fresh readies an idle connection for its next use, as database/sql would.
func (r *real) fresh(ctx context.Context) bool {
	if s, ok := r.conn.(driver.SessionResetter); ok && s.ResetSession(ctx) != nil {
		return false
	}
	return true
}

func (r *real) valid() bool {
	v, ok := r.conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (r *real) close() error {
	for _, p := range r.stmts {
		p.Close()
	}
	return r.conn.Close()
}

const probeTimeout = 2 * time.Second

// Decided reports whether the session answers: then whatever it was asked before is done or undone, for good. In a
// transaction that has failed PostgreSQL answers that it has.
func (r *real) Decided() bool {
	if !r.valid() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	_, err := r.Query(ctx, "SELECT 1")
	return err == nil || sqlengine.Aborted(err)
}
