package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// reading is the catalog being read once, by a goroutine of its own, for all who need it meanwhile. Who gives up waiting
// gives up alone.
type reading struct {
	began time.Time
	done  chan struct{} // closed at the end
	err   error         // why there is no new catalog; for who has seen done closed

	// Guarded by Engine.readings.
	ended time.Time // zero while it is under way
	vain  bool      // it failed, or the catalog fell meanwhile
}

const (
	longestReading = 30 * time.Second
	// readingPatience is how long after its beginning a reading is waited for by a statement that can go by an older
	// catalog. It then passes memory by, or flushes all, of which little is lost: with a catalog falls all that is kept.
	readingPatience = 500 * time.Millisecond
	// readingRest is how long after a reading that was of no use statements go by the older catalog without another.
	readingRest = time.Second
)

// catalog returns the newest catalog, for those who ask about it and can wait.
func (e *Engine) catalog(ctx context.Context) (*catalog, error) {
	a, _, err := e.analysis(ctx, longestReading)
	if err != nil {
		return nil, err
	}
	return a.cat, nil
}

// analysis returns the newest, having the catalog read anew if it has fallen. For that it waits until ctx ends, but with
// an older one to go by no longer than patience after the reading's beginning. fresh is false for one that has fallen:
// nothing may be stored by it, and its writes reach no one can tell how far.
func (e *Engine) analysis(ctx context.Context, patience time.Duration) (a *analysis, fresh bool, err error) {
	if a = e.current.Load(); a != nil && a.current() {
		return a, true, nil
	}
	r := e.reading(a == nil)
	var enough <-chan time.Time // never, without any
	if a != nil {
		timer := time.NewTimer(time.Until(r.began.Add(patience)))
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-r.done:
	case <-enough:
	case <-e.life.Done():
		return nil, false, ErrClosed
	case <-ctx.Done():
		return nil, false, fmt.Errorf("%s: waiting for the catalog: %w", e.adapter, ctx.Err())
	}
	if a = e.current.Load(); a == nil {
		return nil, false, r.err
	}
	if fresh = a.current(); !fresh {
		e.guessed.Store(true)
	}
	return a, fresh, nil
}

// reading returns the one that is under way, or begins one. Without must it may also be one that has just ended,
// with a catalog that holds or in vain.
func (e *Engine) reading(must bool) *reading {
	e.readings.Lock()
	defer e.readings.Unlock()
	if r := e.last; r != nil {
		a := e.current.Load()
		if r.ended.IsZero() || !must && (a.current() || r.vain && time.Since(r.ended) < readingRest) {
			return r
		}
	}
	r := &reading{began: time.Now(), done: make(chan struct{})}
	if e.Closed() { // nobody would wait for it
		r.err = ErrClosed
		close(r.done)
		return r
	}
	e.last = r
	e.wg.Go(func() {
		defer close(r.done)
		var a *analysis
		a, r.err = e.readCatalog()
		if r.err != nil && e.current.Load() != nil && !e.Closed() { // else who waits is told
			e.warn("reading the catalog", r.err)
		}
		e.readings.Lock()
		r.ended, r.vain = time.Now(), r.err != nil || !a.current()
		e.readings.Unlock()
	})
	return r
}

// readCatalog reads the catalog. Only [Engine.reading] calls it, so that there is one at a time.
func (e *Engine) readCatalog() (*analysis, error) {
	ctx, cancel := context.WithTimeout(e.life, longestReading)
	defer cancel()
	rec, _ := e.tracker.Record(ctx)
	l, err := e.pool.Get(ctx)
	var in *raw
	var s Session
	if err == nil {
		if in, err = e.dialect.load(ctx, l); err == nil {
			s, err = l.Session(ctx)
		}
		e.pool.Put(l, err != nil)
	}
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
	if e.guessed.Swap(false) && old != nil && a.cat != old.cat {
		// What went by the old one as a read may have been a write: a view of that name may call a function by now.
		if err := e.tracker.Touch(ctx, cat.name(allTables)); err != nil {
			e.warn("telling of what went by an older catalog", err)
		}
	}
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
		<-e.reading(true).done
	}
}
