package sqlcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// analysis is a catalog and what has been found out by it. A new catalog begins a new one, whose statements are other
// keys: what was kept by the old is not found any more.
type analysis struct {
	cat        *catalog
	valid      invalidate.Validity // falls with DDL announced by anybody, and with a gap
	statements sync.Map            // text -> *statement
	n          atomic.Int32
}

const mostStatements = 10_000

// of returns what query is.
func (a *analysis) of(query string) *statement {
	if st, ok := a.statements.Load(query); ok {
		return st.(*statement)
	}
	st := a.cat.analyse(query)
	if a.n.Add(1) > mostStatements { // texts made anew each time: begin again
		a.statements.Clear()
		a.n.Store(1)
	}
	had, _ := a.statements.LoadOrStore(query, st)
	return had.(*statement)
}

// stale is of by a catalog that has fallen.
func (a *analysis) stale(query string) *statement {
	st := a.of(query)
	switch st.class {
	case reads:
		return a.cat.pass("the catalog is being changed")
	case writes:
		all := a.cat.flush("the catalog is being changed")
		all.written = []string{allTables} // hides no DDL
		return all
	}
	return st
}

func (a *analysis) current() bool {
	_, s := a.valid.Check(0)
	return s != invalidate.Fallen
}

// catalog returns the newest catalog, reading it anew if it has fallen. fresh is false for one that has fallen and
// could not be read: nothing may be stored by it, and its writes reach no one can tell how far.
func (c *Connector) catalog(ctx context.Context) (cat *catalog, fresh bool, err error) {
	a, fresh, err := c.analysis(ctx, true)
	if err != nil {
		return nil, false, err
	}
	return a.cat, fresh, nil
}

func (c *Connector) analysis(ctx context.Context, wait bool) (a *analysis, fresh bool, err error) {
	if a = c.current.Load(); a != nil && a.current() {
		return a, true, nil
	}
	get := c.pool.get
	if !wait && a != nil {
		get = c.pool.tryGet
		if !c.reading.TryLock() {
			return a, false, nil
		}
	} else {
		c.reading.Lock()
	}
	defer c.reading.Unlock()
	if a = c.current.Load(); a != nil {
		if a.current() {
			return a, true, nil
		}
		if time.Since(c.tried) < time.Second {
			return a, false, nil
		}
	}
	next, err := c.readLocked(ctx, get)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errBusy) {
			c.tried = time.Now()
		}
		if a == nil {
			return nil, false, err
		}
		c.opts.Logger.Warn("freshet: sqlcache: reading the catalog", "error", err)
		return a, false, nil
	}
	if !next.current() {
		c.tried = time.Now()
		return next, false, nil
	}
	return next, true, nil
}

func (c *Connector) readCatalog(ctx context.Context) (*analysis, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.readLocked(ctx, c.pool.get)
}

// readLocked reads the catalog. Call with reading held.
func (c *Connector) readLocked(ctx context.Context, get func(context.Context) (*real, error)) (*analysis, error) {
	ctx, cancel := context.WithTimeout(invalidate.Detach(ctx), 30*time.Second)
	defer cancel()
	rec, _ := c.tracker.Record(ctx)
	r, err := get(ctx)
	if err != nil {
		return nil, err
	}
	unfit := r.session.unfit
	in, err := c.dialect.load(ctx, r)
	c.pool.put(r, err != nil)
	if err != nil {
		return nil, fmt.Errorf("sqlcache: reading the catalog: %w", err)
	}
	if unfit != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnfit, unfit)
	}
	old := c.current.Load()
	if strings.HasPrefix(in.scope, memoryScope) {
		if old == nil {
			c.pool.only()
		} else {
			in.scope = old.cat.scope
		}
	}
	cat := newCatalog(c.dialect, in, &c.opts)
	if old != nil && old.cat.scope != cat.scope {
		return nil, errors.New("sqlcache: the database is another one than at the start")
	}
	if old == nil {
		c.marks.scope = cat.scope
	}
	rec.DependOn(cat.name(catalogTag))
	valid, _ := rec.Seal()
	a := &analysis{cat: cat, valid: valid}
	switch {
	case old == nil:
	case old.cat.print == cat.print:
		a = &analysis{cat: old.cat, valid: valid} // the same: what is kept stays good
		old.statements.Range(func(k, v any) bool {
			a.statements.Store(k, v)
			return true
		})
		a.n.Store(old.n.Load())
	default:
		c.tracker.Forget(cat.name(allTables))
	}
	c.current.Store(a)
	return a, nil
}

// keepCatalog reads it anew on Options.CatalogEvery, and closes connections that nobody used.
func (c *Connector) keepCatalog(ctx context.Context) {
	tick := time.NewTicker(c.opts.CatalogEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.pool.sweep(c.opts.MaxIdle)
		if _, err := c.readCatalog(ctx); err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("freshet: sqlcache: reading the catalog", "error", err)
		}
	}
}

// resolve finds relations by name or schema.name.
func (cat *catalog) resolve(table string) ([]*relation, error) {
	schema, name, qualified := strings.Cut(table, ".")
	if !qualified {
		schema, name = "", table
	}
	var found []*relation
	for _, r := range cat.byName[fold(name)] {
		if schema == "" || fold(r.schema) == fold(schema) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrUnknownTable, table)
	}
	return found, nil
}
