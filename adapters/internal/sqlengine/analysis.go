package sqlengine

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
	statements sync.Map            // text -> *Statement
	n          atomic.Int64        // bytes that statements take
}

const (
	mostStatements    = 16 << 20 // bytes of all
	longestStatement  = 64 << 10 // bytes of a text that is remembered
	statementOverhead = 1 << 10
)

// of returns what query is. A longer text than is worth remembering is analysed each time, and its answers are not kept:
// they would be found again by what is remembered of the text.
func (a *analysis) of(query string) *Statement {
	if len(query) > longestStatement {
		if st := a.cat.analyse(query); st.class != reads {
			return st
		}
		return a.cat.pass("its text is longer than 64 KiB")
	}
	if st, ok := a.statements.Load(query); ok {
		return st.(*Statement)
	}
	st := a.cat.analyse(query)
	size := int64(len(query) + statementOverhead)
	if a.n.Add(size) > mostStatements { // texts made anew each time: begin again
		a.statements.Clear()
		a.n.Store(size)
	}
	had, _ := a.statements.LoadOrStore(query, st)
	return had.(*Statement)
}

// says is of by a catalog that may have fallen.
func (a *analysis) says(query string, fresh bool) *Statement {
	st := a.of(query)
	if fresh {
		return st
	}
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
func (e *Engine) catalog(ctx context.Context) (cat *catalog, fresh bool, err error) {
	a, fresh, err := e.analysis(ctx, true)
	if err != nil {
		return nil, false, err
	}
	return a.cat, fresh, nil
}

func (e *Engine) analysis(ctx context.Context, wait bool) (a *analysis, fresh bool, err error) {
	if a = e.current.Load(); a != nil && a.current() {
		return a, true, nil
	}
	get := e.pool.Get
	if !wait && a != nil {
		get = e.pool.TryGet
		if !e.reading.TryLock() {
			return a, false, nil
		}
	} else {
		e.reading.Lock()
	}
	defer e.reading.Unlock()
	if a = e.current.Load(); a != nil {
		if a.current() {
			return a, true, nil
		}
		if time.Since(e.tried) < time.Second {
			return a, false, nil
		}
	}
	next, err := e.readLocked(ctx, get)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrBusy) {
			e.tried = time.Now()
		}
		if a == nil {
			return nil, false, err
		}
		e.warn("reading the catalog", err)
		return a, false, nil
	}
	if !next.current() {
		e.tried = time.Now()
		return next, false, nil
	}
	return next, true, nil
}

func (e *Engine) readCatalog(ctx context.Context) (*analysis, error) {
	e.reading.Lock()
	defer e.reading.Unlock()
	return e.readLocked(ctx, e.pool.Get)
}

// readLocked reads the catalog. Call with reading held.
func (e *Engine) readLocked(ctx context.Context, get func(context.Context) (Link, error)) (*analysis, error) {
	ctx, cancel := context.WithTimeout(invalidate.Detach(ctx), 30*time.Second)
	defer cancel()
	rec, _ := e.tracker.Record(ctx)
	l, err := get(ctx)
	if err != nil {
		return nil, err
	}
	in, err := e.dialect.load(ctx, l)
	var s Session
	if err == nil {
		s, err = l.Session(ctx)
	}
	e.pool.Put(l, err != nil)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the catalog: %w", e.adapter, err)
	}
	if s.unfit != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnfit, s.unfit)
	}
	old := e.current.Load()
	if strings.HasPrefix(in.scope, memoryScope) {
		if old == nil {
			e.owner.Only()
		} else {
			in.scope = old.cat.scope
		}
	}
	cat := newCatalog(e.dialect, in, &e.opts)
	if old != nil && old.cat.scope != cat.scope {
		return nil, errors.New(e.adapter + ": the database is another one than at the start")
	}
	if old == nil {
		e.marks.scope = cat.scope
		for _, what := range cat.complaints(&e.opts) {
			e.warn(what, nil)
		}
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
		e.tracker.Forget(cat.name(allTables))
	}
	e.current.Store(a)
	return a, nil
}

// keepCatalog reads it anew on Options.CatalogEvery, and lets the pool tidy itself.
func (e *Engine) keepCatalog(ctx context.Context) {
	tick := time.NewTicker(e.opts.CatalogEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if e.owner != nil {
			e.owner.Tidy()
		}
		if _, err := e.readCatalog(ctx); err != nil && ctx.Err() == nil {
			e.warn("reading the catalog", err)
		}
	}
}

// complaints are what costs all or most of the use, and is likely not meant.
func (cat *catalog) complaints(opts *Options) (said []string) {
	if cat.danger != "" {
		said = append(said, "nothing is kept: "+cat.danger)
	}
	for _, t := range opts.Tables {
		if _, err := cat.resolve(t); err != nil {
			said = append(said, fmt.Sprintf("Options.Tables names %q, which the database does not have", t))
		}
	}
	why := map[string]int{}
	for _, same := range cat.byName {
		for _, r := range same {
			if !r.isView && strings.HasPrefix(r.flushes, hiddenTriggers) {
				why[r.flushes]++
			}
		}
	}
	for w, n := range why {
		said = append(said, fmt.Sprintf("a write to any of %d tables flushes all: %s", n, w))
	}
	return said
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
		return nil, fmt.Errorf("%w: %q, as far as the catalog goes", ErrUnknownTable, table)
	}
	return found, nil
}
