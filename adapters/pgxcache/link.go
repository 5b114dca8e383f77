package pgxcache

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// links are the pool's connections as the engine takes them. They stay the pool's: others use them in between, so
// nothing is believed of a session that was true when it was used last.
type links struct{ pool *pgxpool.Pool }

var _ sqlengine.Pool = links{}

// link is a connection from the pool, until it is put back.
type link struct {
	conn  *pgxpool.Conn
	state sqlengine.State
	known *known
}

var _ sqlengine.Link = (*link)(nil)

// known is what stays true of a connection as long as it lives. It travels with it.
type known struct {
	id      string
	session sqlengine.Session // for the server's identity; the rest is asked anew
	decoder *decoder
}

const knownKey = "github.com/gofreshet/freshet/adapters/pgxcache"

// Get waits for a connection of the pool.
func (p links) Get(ctx context.Context) (sqlengine.Link, error) {
	c, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	data := c.Conn().PgConn().CustomData()
	k, ok := data[knownKey].(*known)
	if !ok {
		k = &known{id: sqlengine.NewID()}
		data[knownKey] = k
	}
	return &link{conn: c, state: sqlengine.State{ID: k.id}, known: k}, nil
}

// Put gives a connection back. The pool destroys one that is closed.
func (p links) Put(l sqlengine.Link, broken bool) {
	k := l.(*link)
	if broken || k.state.Tainted {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		k.conn.Conn().Close(ctx)
	}
	k.conn.Release()
}

func (l *link) pgx() *pgx.Conn { return l.conn.Conn() }

func (l *link) State() *sqlengine.State { return &l.state }

// Session asks at every use: hooks of the pool, and whoever else uses it, may have changed it.
func (l *link) Session(ctx context.Context) (sqlengine.Session, error) {
	s, err := sqlengine.SessionOf(ctx, sqlengine.Postgres(), l, l.known.session)
	if err == nil {
		l.known.session = s
	}
	return s, err
}

// Broken asks the connection, which knows better than the error.
func (l *link) Broken(error) bool { return l.pgx().IsClosed() }

// Decided: pgx closes a connection whose answer it has not read to the end.
func (l *link) Decided() bool { return !l.pgx().IsClosed() && !l.pgx().PgConn().IsBusy() }

// Query returns the rows as texts, NULL as "".
func (l *link) Query(ctx context.Context, sql string, args ...any) ([][]string, error) {
	rows, err := l.pgx().Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		var texts []string
		for _, v := range row.RawValues() {
			texts = append(texts, string(v))
		}
		return texts, nil
	})
}

func (l *link) Exec(ctx context.Context, sql string) error {
	_, err := l.pgx().Exec(ctx, sql)
	return err
}
