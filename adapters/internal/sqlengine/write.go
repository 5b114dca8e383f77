package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// everything is what may have been written by whatever is not understood.
var everything = []string{allTables, catalogTag}

// tx is a transaction: reads pass by, and what is written is collected. Nothing is told of before the commit.
type tx struct {
	written map[string]bool
	text    bool      // begun by a statement, and so ended by one
	loose   bool      // an error may have ended it
	raw     bool      // somebody has its connection
	by      *analysis // the first that said what one of its statements writes; nil: none has
}

// wrote notes what by says of a statement.
func (t *tx) wrote(st *Statement, by *analysis) {
	t.write(st.written)
	if t.by == nil {
		t.by = by
	}
}

func (t *tx) write(tables []string) {
	for _, w := range tables {
		t.written[w] = true
	}
	if len(t.written) > mostRows {
		kept := t.tables()
		clear(t.written)
		for _, w := range kept {
			t.written[w] = true
		}
	}
}

func (t *tx) tables() []string {
	if t.written[allTables] {
		if t.written[catalogTag] {
			return []string{allTables, catalogTag}
		}
		return []string{allTables}
	}
	return compact(slices.Collect(maps.Keys(t.written)))
}

// Begin begins a transaction. plain is false where begin, or the commit to come, may do more than that.
func (u *Use) Begin(ctx context.Context, plain bool, begin func(Link) error) error {
	l, err := u.Attach(ctx)
	if err != nil {
		return err
	}
	if !plain {
		u.loosen()
	}
	finish := u.Saw
	if u.loose() { // in MySQL it commits what is open
		if finish, err = u.protect(ctx, everything, nil, nil); err != nil {
			return err
		}
	}
	if err := finish(begin(l)); err != nil {
		return err
	}
	u.tx = &tx{written: map[string]bool{}}
	if u.loose() {
		u.tx.write(everything)
	}
	return nil
}

// Began notes that a transaction is open which st, sent as its first part, has begun.
func (u *Use) Began(st *Statement) {
	u.tx = &tx{written: map[string]bool{}}
	u.tx.wrote(st, u.by)
}

// Handed notes that somebody has the transaction's connection: anything may have been written, and committed.
func (u *Use) Handed() {
	u.tx.write(everything)
	u.tx.raw = true
	u.loosen()
}

// loosen notes that it is not known any more whether a transaction is open. From here on every write is told of as if it
// committed by itself, and with the transaction's commit again.
func (u *Use) loosen() {
	s := u.Link.State()
	s.Loose, s.Tainted = true, true
}

// loose: see loosen. An error counts where it may roll the whole transaction back, so that the next statement commits by
// itself; but then the transaction's own end puts that right.
func (u *Use) loose() bool { return u.Link.State().Loose || u.tx != nil && u.tx.loose }

// fragile reports whether an error may have ended the transaction: in MySQL and SQLite some do. PostgreSQL lets nothing in
// any more until it is ended.
func (u *Use) fragile() bool { return u.Engine.dialect.Name() != "postgres" }

// over notes the transaction's end. Where one that failed may go on, its connection is for nobody else.
func (u *Use) over(err error) {
	if err != nil && u.fragile() {
		u.loosen()
	}
	u.tx = nil
}

// Commit tells of what the transaction wrote, before commit and after. An unknown outcome counts as a commit. If it
// cannot be told of, rollback is called instead; its error means that the connection is of no use any more.
func (u *Use) Commit(ctx context.Context, commit, rollback func() error) (err error) {
	defer func() { u.over(err) }()
	if len(u.tx.written) == 0 {
		return u.Saw(commit())
	}
	finish, err := u.protect(ctx, u.tx.tables(), u.tx.by, nil)
	if err != nil {
		if rerr := rollback(); rerr != nil {
			u.Broken = true
		}
		return err
	}
	return finish(commit())
}

// Rollback publishes nothing: nothing was said yet. Only who had the connection may have committed.
func (u *Use) Rollback(rollback func() error) (err error) {
	defer func() { u.over(err) }()
	err = u.Saw(rollback())
	if u.tx.raw {
		if serr := u.Engine.marks.settle(&mark{items: everything}); serr != nil {
			u.Engine.warn("a write is announced later", serr)
		}
	}
	return err
}

// Around runs a statement as its class demands. finish, if not nil, is to be called with the statement's outcome when
// its rows have been read to their end.
func (u *Use) Around(ctx context.Context, st *Statement, run func(Link) error) (finish func(error) error, err error) {
	l, err := u.Attach(ctx)
	if err != nil {
		return nil, err
	}
	state := l.State()
	state.Stays = state.Stays || st.stays
	switch st.class {
	case reads, passes, savepoints:
		if st.taints && !(st.local && u.tx != nil) {
			state.Tainted, state.Held = true, false
		}
		return nil, u.Saw(run(l))
	case begins:
		if u.tx != nil || state.Loose { // it may end one as well
			return u.write(ctx, &Statement{class: flushes, written: everything, atOnce: true, loose: true}, run)
		}
		state.Tainted = true
		if err := Hold(ctx, u.Engine.dialect, l); err != nil {
			return nil, u.Saw(err)
		}
		if err := u.Saw(run(l)); err != nil {
			return nil, err
		}
		u.tx = &tx{written: map[string]bool{}, text: true}
		return nil, nil
	case rollsBack:
		err := u.Saw(run(l))
		u.ended(st, err)
		return nil, err
	case commits:
		return nil, u.commitText(ctx, st, run)
	}
	if st.taints {
		state.Tainted = true
		defer func() { state.Held = false }()
	}
	return u.write(ctx, st, run)
}

// ended notes that a transaction's end was sent as a statement, and what came of it. One that was begun by a statement
// is over then; one of the driver's is still to be ended, and nobody knows what is open until then.
func (u *Use) ended(st *Statement, err error) {
	switch {
	case st.loose:
		u.loosen()
	case u.tx == nil:
	case u.tx.text && err == nil:
		u.tx = nil
	default:
		u.loosen()
	}
}

// commitText is COMMIT as a statement, or what may be. One that ends no transaction we know of may commit anything.
func (u *Use) commitText(ctx context.Context, st *Statement, run func(Link) error) error {
	tables, by := everything, (*analysis)(nil)
	switch {
	case u.tx == nil:
	case st.written != nil: // it may be no end at all
		u.tx.write(st.written)
	default:
		tables, by = u.tx.tables(), u.tx.by
	}
	finish := u.Saw
	if len(tables) > 0 {
		protected, err := u.protect(ctx, tables, by, nil)
		switch {
		case err == nil:
			finish = protected
		case !Aborted(err): // else the database rolls it back, and runs nothing but its end
			return err // the transaction is still open: the caller rolls back
		}
	}
	err := finish(run(u.Link))
	u.ended(st, err)
	return err
}

// Aborted reports whether err is PostgreSQL's word that the transaction has failed and is still to be ended.
func Aborted(err error) bool {
	var said interface{ SQLState() string }
	return errors.As(err, &said) && said.SQLState() == "25P02"
}

// write runs a statement that writes st.written: in a transaction it collects them, else it commits by itself.
func (u *Use) write(ctx context.Context, st *Statement, run func(Link) error) (func(error) error, error) {
	if st.loose {
		u.loosen()
	}
	if u.tx != nil {
		u.tx.wrote(st, u.by)
		if !st.atOnce && !u.loose() {
			return nil, u.Saw(run(u.Link))
		}
	}
	tables, earlier := st.written, (*analysis)(nil)
	if u.tx != nil {
		tables, earlier = u.tx.tables(), u.tx.by
	}
	locks := u.Engine.dialect.lockBefore()
	if u.tx != nil || st.class == flushes && !st.ddl {
		locks = ""
	}
	if locks != "" {
		if err := u.Saw(u.Link.Exec(ctx, locks)); err != nil {
			return nil, err
		}
	}
	finish, err := u.protect(ctx, tables, earlier, u.by)
	if err != nil {
		if locks != "" && u.Link.Exec(context.Background(), "ROLLBACK") != nil {
			u.Broken = true
		}
		return nil, err
	}
	end := func(err error) error {
		if locks != "" {
			err = u.unlock(err)
		}
		return finish(err)
	}
	if err := run(u.Link); err != nil {
		return nil, end(err)
	}
	return end, nil
}

// unlock ends what lockBefore began.
func (u *Use) unlock(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err == nil {
		if err = u.Link.Exec(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	u.Link.Exec(ctx, "ROLLBACK") // there may be nothing left to roll back
	return err
}

// protect is the first phase: a mark for each table, then a touch. finish is the second, to be called with the write's
// outcome; it returns that. An error means that nothing has been written and nothing may be. ran is by what statements
// were analysed that have run, and runs the one that is to be run; where they do not hold, all tables are told of.
func (u *Use) protect(ctx context.Context, tables []string, ran, runs *analysis) (finish func(error) error, err error) {
	e := u.Engine
	e.wrote.Add(1)
	e.plan.At("begin")
	if err := Hold(ctx, e.dialect, u.Link); err != nil {
		return nil, u.Saw(err)
	}
	holds := e.holding(narrow(ran, tables))
	m, err := e.marks.set(ctx, tables, u.Link.State().ID)
	if !holds() && err == nil {
		first := m
		tables = append(slices.Clip(tables), allTables)
		if m, err = e.marks.set(ctx, tables, u.Link.State().ID); err == nil {
			m.members = append(m.members, first.members...)
		} else {
			e.marks.settle(first) // what cannot be said now is said later
		}
	}
	if err != nil {
		if e.opts.OnRedisDown == FailWrite {
			return nil, fmt.Errorf("%w (Options.OnRedisDown can let it go on): %w", ErrNotMarked, err)
		}
		m = &mark{items: tables}
	}
	if slices.Contains(tables, allTables) {
		e.flushed.Add(1)
	}
	e.plan.At("marked")
	return func(err error) error {
		e.plan.At("committed")
		u.Saw(err)
		holds := e.holding(narrow(runs, tables))
		if err != nil && (u.Broken || !u.Link.Decided()) {
			// Whether it was written is not known, nor whether it yet will be: the mark stays until the session has
			// ended. Here it counts as written.
			u.Broken = true
			if !holds() {
				tables = append(slices.Clip(tables), allTables)
				e.marks.set(context.Background(), []string{allTables}, u.Link.State().ID) // what was not said is said later
			}
			e.tracker.Forget(e.marks.names(tables)...)
			return err
		}
		serr := e.marks.settle(m)
		if !holds() {
			e.flushed.Add(1)
			serr = errors.Join(serr, e.marks.settle(&mark{items: []string{allTables}}))
		}
		if serr != nil {
			// What was written is written, and stays out of everybody's memory while the mark stands.
			e.warn("a write, or the end of one that failed, is announced later", serr)
		}
		return err
	}, nil
}
