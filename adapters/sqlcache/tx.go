package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// tx is a transaction: reads pass by, and what is written is collected. Nothing is told of before the commit.
type tx struct {
	conn    *conn
	inner   driver.Tx // nil when it was begun by a text
	written map[string]bool
}

func (t *tx) write(tables []string) {
	for _, w := range tables {
		t.written[w] = true
	}
}

func (t *tx) tables() []string {
	if t.written[allTables] {
		if t.written[catalogTag] {
			return []string{allTables, catalogTag}
		}
		return []string{allTables}
	}
	return slices.Sorted(maps.Keys(t.written))
}

// BeginTx begins a transaction on a connection of the driver's.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	r, err := c.attach(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.hold(ctx, c.c.dialect); err != nil {
		return nil, c.saw(err)
	}
	var inner driver.Tx
	if b, ok := r.conn.(driver.ConnBeginTx); ok {
		inner, err = b.BeginTx(ctx, opts)
	} else if opts != (driver.TxOptions{}) {
		err = errors.New("sqlcache: the driver does not support transaction options")
	} else {
		//lint:ignore SA1019 for drivers that have nothing else
		inner, err = r.conn.Begin()
	}
	if err != nil {
		return nil, c.saw(err)
	}
	c.tx = &tx{conn: c, inner: inner, written: map[string]bool{}}
	return c.tx, nil
}

// Commit tells of it before and after. An unknown outcome counts as a commit.
func (t *tx) Commit() error {
	c := t.conn
	defer func() { c.tx = nil }()
	if len(t.written) == 0 {
		return c.saw(t.inner.Commit())
	}
	finish, err := c.protect(context.Background(), t.tables())
	if err != nil {
		if rerr := t.inner.Rollback(); rerr != nil {
			c.broken = true
		}
		return err
	}
	return finish(t.inner.Commit())
}

// Rollback publishes nothing: nothing was said yet.
func (t *tx) Rollback() error {
	c := t.conn
	defer func() { c.tx = nil }()
	return c.saw(t.inner.Rollback())
}

// around runs a statement as its class demands. finish, if not nil, is to be called with the statement's outcome when
// its rows have been read to their end.
func (c *conn) around(ctx context.Context, st *statement, run func(*real) error) (finish func(error) error, err error) {
	r, err := c.attach(ctx)
	if err != nil {
		return nil, err
	}
	plain := func() (func(error) error, error) { return nil, c.saw(run(r)) }
	switch st.class {
	case reads, passes, savepoints:
		if st.taints && !(st.local && c.tx != nil) {
			r.tainted, r.held = true, false
		}
		return plain()
	case begins:
		r.tainted = true
		if c.tx == nil {
			if err := r.hold(ctx, c.c.dialect); err != nil {
				return nil, c.saw(err)
			}
			if err := c.saw(run(r)); err != nil {
				return nil, err
			}
			c.tx = &tx{conn: c, written: map[string]bool{}}
			return nil, nil
		}
		return c.write(ctx, &statement{class: flushes, written: []string{allTables, catalogTag}, atOnce: true}, run)
	case rollsBack:
		_, err := plain()
		if c.tx != nil && c.tx.inner == nil && err == nil {
			c.tx = nil
		}
		return nil, err
	case commits:
		return c.commitText(ctx, run)
	}
	if st.taints {
		r.tainted = true
		defer func() { r.held = false }()
	}
	return c.write(ctx, st, run)
}

// commitText is COMMIT as a statement. One that ends no transaction we know of may commit anything.
func (c *conn) commitText(ctx context.Context, run func(*real) error) (func(error) error, error) {
	tables := []string{allTables, catalogTag}
	if c.tx != nil {
		if len(c.tx.written) == 0 {
			err := c.saw(run(c.real))
			if err == nil && c.tx.inner == nil {
				c.tx = nil
			}
			return nil, err
		}
		tables = c.tx.tables()
	}
	finish, err := c.protect(ctx, tables)
	if err != nil {
		return nil, err // the transaction is still open: the caller rolls back
	}
	err = finish(run(c.real))
	if c.tx != nil && c.tx.inner == nil && err == nil {
		c.tx = nil
	}
	return nil, err
}

// write runs a statement that writes st.written: in a transaction it collects them, else it commits by itself.
func (c *conn) write(ctx context.Context, st *statement, run func(*real) error) (func(error) error, error) {
	if c.tx != nil {
		c.tx.write(st.written)
		if !st.atOnce {
			return nil, c.saw(run(c.real))
		}
	}
	tables := st.written
	if c.tx != nil {
		tables = c.tx.tables()
	}
	locks := c.c.dialect.lockBefore()
	if c.tx != nil || st.class == flushes && !st.ddl {
		locks = ""
	}
	if locks != "" {
		if err := c.saw(c.real.exec(ctx, locks)); err != nil {
			return nil, err
		}
	}
	finish, err := c.protect(ctx, tables)
	if err != nil {
		if locks != "" && c.real.exec(context.Background(), "ROLLBACK") != nil {
			c.broken = true
		}
		return nil, err
	}
	end := func(err error) error {
		if locks != "" {
			err = c.unlock(err)
		}
		return finish(err)
	}
	if err := run(c.real); err != nil {
		return nil, end(err)
	}
	return end, nil
}

// unlock ends what lockBefore began.
func (c *conn) unlock(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err == nil {
		if err = c.real.exec(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	c.real.exec(ctx, "ROLLBACK") // there may be nothing left to roll back
	return err
}

// protect is the first phase: a mark for each table, then a touch. finish is the second, to be called with the write's
// outcome; it returns that. An error means that nothing has been written and nothing may be.
func (c *conn) protect(ctx context.Context, tables []string) (finish func(error) error, err error) {
	k := c.c
	k.wrote.Add(1)
	if slices.Contains(tables, allTables) {
		k.flushed.Add(1)
	}
	k.plan.At("begin")
	if err := c.real.hold(ctx, k.dialect); err != nil {
		return nil, c.saw(err)
	}
	m, err := k.marks.set(ctx, tables, c.real.id)
	if err != nil {
		if k.opts.OnRedisDown == FailWrite {
			return nil, fmt.Errorf("%w: %w", ErrNotMarked, err)
		}
		m = &mark{tables: tables}
	}
	k.plan.At("marked")
	return func(err error) error {
		k.plan.At("committed")
		c.saw(err)
		if err != nil && (c.broken || !c.real.decided()) {
			// Whether it was written is not known, nor whether it yet will be: the mark stays until the session has
			// ended. Here it counts as written (R12).
			c.broken = true
			k.tracker.Forget(k.marks.names(tables)...)
			return err
		}
		if serr := k.marks.settle(m); serr != nil {
			// What was written is written, and stays out of everybody's memory while the mark stands.
			k.opts.Logger.Warn("freshet: sqlcache: a write is announced later", "error", serr)
		}
		return err
	}, nil
}
