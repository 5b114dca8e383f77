package sqlengine

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gofreshet/freshet/invalidate"
)

// Use is somebody's use of the database: one connection at most, taken when it is first needed. One goroutine uses it
// at a time. The zero Use with an Engine is ready.
type Use struct {
	Engine *Engine
	Link   Link      // nil: none
	Broken bool      // Link is
	Named  bool      // the driver takes a text first for the name of a prepared statement
	tx     *tx       // nil outside a transaction
	by     *analysis // what said last what a statement is
}

// Attach makes sure that there is a connection. Nobody gets one before there has been a catalog: it could not be read any
// more once all are in the hands of those who wait for it.
func (u *Use) Attach(ctx context.Context) (Link, error) {
	if u.Link != nil {
		return u.Link, nil
	}
	if _, _, err := u.Engine.analysis(ctx, readingPatience); err != nil {
		return nil, err
	}
	l, err := u.Engine.pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	u.Link = l
	return l, nil
}

// Detach gives the connection back, if there is one.
func (u *Use) Detach() {
	if u.Link == nil {
		return
	}
	u.Engine.pool.Put(u.Link, u.Broken)
	u.Link = nil
}

// Stays reports whether the connection is to be kept from one use to the next, for settings that whoever made them counts on.
func (u *Use) Stays() bool {
	return u.Link != nil && u.tx == nil && u.Link.State().Stays && !u.Link.State().Loose
}

// Like reports whether memory may answer for the connection, if there is one.
func (u *Use) Like() bool {
	return u.Link == nil || u.Stays() && u.Link.State().Lent && !u.Link.State().Tainted
}

// Saw notes what an error says of the connection, and returns it.
func (u *Use) Saw(err error) error {
	if err != nil && u.Link != nil && u.Link.Broken(err) {
		u.Broken = true
	}
	if err != nil && u.tx != nil && u.fragile() {
		u.tx.loose = true
	}
	return err
}

// InTx reports whether a transaction is open.
func (u *Use) InTx() bool { return u.tx != nil }

// Analyse says what query is.
func (u *Use) Analyse(ctx context.Context, query string) (*Statement, error) {
	a, fresh, err := u.analysis(ctx)
	if err != nil {
		return nil, err
	}
	return u.says(a, query, fresh), nil
}

// Unseen is a statement of which only the driver will know the text.
func (u *Use) Unseen(ctx context.Context) (*Statement, error) {
	a, _, err := u.analysis(ctx)
	if err != nil {
		return nil, err
	}
	return a.cat.unknown("a text that the driver makes of another"), nil
}

// AnalyseAll says what several queries are that are sent as one. rows gives those of each, see [Statement.Rows].
func (u *Use) AnalyseAll(ctx context.Context, queries []string, rows func(i int, st *Statement) []Row) (*Statement, error) {
	a, fresh, err := u.analysis(ctx)
	if err != nil {
		return nil, err
	}
	parts := make([]*Statement, len(queries))
	for i, q := range queries {
		st := u.says(a, q, fresh)
		parts[i] = st.About(rows(i, st))
	}
	return a.cat.union(parts), nil
}

// says is what a says, unless query may be a name. One that says COMMIT or ROLLBACK may be that as well.
func (u *Use) says(a *analysis, query string, fresh bool) *Statement {
	st := a.says(query, fresh)
	if !u.Named || !mayBeName(query) {
		return st
	}
	const why = "may be the name of a prepared statement"
	if st.class == commits || st.class == rollsBack {
		return &Statement{class: commits, why: why, written: everything}
	}
	return a.cat.unknown(why)
}

// mayBeName: names have no blanks, and begin with a letter.
func mayBeName(query string) bool {
	first, _ := utf8.DecodeRuneInString(query)
	return (first == '_' || unicode.IsLetter(first)) && !strings.ContainsFunc(query, unicode.IsSpace)
}

// Plain reports whether begin and commit, "" for the driver's own, do no more than to begin and to commit.
func (u *Use) Plain(ctx context.Context, begin, commit string) bool {
	is := func(query string, want class) bool {
		if query == "" {
			return true
		}
		a, fresh, err := u.analysis(ctx)
		if err != nil {
			return false
		}
		st := a.says(query, fresh)
		return st.class == want && !st.loose
	}
	return is(begin, begins) && is(commit, commits)
}

func (u *Use) analysis(ctx context.Context) (a *analysis, fresh bool, err error) {
	if u.Engine.Closed() {
		return nil, false, ErrClosed
	}
	a, fresh, err = u.Engine.analysis(ctx, readingPatience)
	u.by = a
	return a, fresh, err
}

// MayAsk reports whether an answer to st may come from memory, and how old it may be: 0 for as old as Options say.
func (u *Use) MayAsk(ctx context.Context, st *Statement) (bound time.Duration, ok bool) {
	if st.class != reads || !u.Like() || u.tx != nil || st.oversize.now() {
		return 0, false
	}
	bound = boundIn(ctx)
	return bound, bound != noCache
}

// Pass tells of a query that goes to the database by itself.
func (u *Use) Pass(ctx context.Context, st *Statement) {
	if st.class <= passes {
		invalidate.NoStore(ctx) // what a load around this builds on nobody will tell of
		u.Engine.passed.Add(1)
	}
}
