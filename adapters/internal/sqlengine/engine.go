// Package sqlengine is what sqlcache and pgxcache are made of: which statements read and write which tables, what is kept
// of the reads, and how writes are announced. An adapter brings its driver's connections ([Pool], [Link]), asks for
// answers ([Engine.Ask]) and runs everything else by a [Use]. What it guarantees is told by package sqlcache.
package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

// Engine caches one database. Its methods may be called from any goroutine.
type Engine struct {
	adapter  string // its name, for people
	tracker  *invalidate.Tracker
	opts     Options // with defaults
	dialect  Dialect
	pool     Pool
	owner    Owner // of the pool's connections; nil when that is somebody else
	marks    *marks
	resolver *resolver
	kept     *cache.Cache[key, Answer]
	plan     guard.Plan

	current  atomic.Pointer[analysis] // nil before the catalog has been read
	readings sync.Mutex
	last     *reading    // of the catalog, under way or not; nil: none yet; guarded by readings
	guessed  atomic.Bool // a statement went by a catalog that had fallen since the last reading

	passed, wrote, flushed, blocked atomic.Uint64
	unread                          atomic.Bool // the last reading of marks failed

	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	once sync.Once
}

// New checks opts and reads the catalog, all within ctx. When the database is down the catalog is read at the first
// statement instead. adapter is its name, as in errors.
func New(ctx context.Context, adapter string, d Dialect, pool Pool, tracker *invalidate.Tracker, opts Options) (*Engine, error) {
	if tracker == nil {
		return nil, errors.New(adapter + ": tracker is nil: make one with invalidate.Connect")
	}
	if err := opts.Validate(adapter); err != nil {
		return nil, err
	}
	if err := tracker.CheckClient(ctx, tracker.Client()); err != nil {
		return nil, fmt.Errorf("%s: tracker: %w", adapter, err)
	}
	opts = opts.withDefaults()
	e := &Engine{adapter: adapter, tracker: tracker, opts: opts, dialect: d, pool: pool, plan: guard.In(ctx)}
	e.owner, _ = pool.(Owner)
	e.marks = &marks{tracker: tracker, name: NewID(), standing: map[string]bool{}, lease: opts.Lease, plan: e.plan, wake: make(chan struct{}, 1), warn: e.warn}
	e.resolver = &resolver{marks: e.marks, pool: pool, dialect: d, asks: make(chan []standing, 1)}
	var err error
	e.kept, err = cache.New(tracker, cache.Options[key, Answer]{
		Name: adapter, NoKey: true, MaxBytes: opts.MaxBytes, TTL: opts.TTL, MaxStaleness: opts.MaxStaleness,
		Cost:        func(k key, a Answer) int64 { return a.Size() + int64(len(k.args)) + cache.EntryOverhead },
		NotFound:    func(error) bool { return false },
		LoadTimeout: longestLoad,
		Load:        func(ctx context.Context, k key) (Answer, error) { return ctx.Value(loadKey{}).(loader)(ctx, k) },
		Logger:      opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	e.life, e.end = context.WithCancel(context.Background())
	if err := e.start(ctx); err != nil {
		e.end()
		e.kept.Close()
		e.wg.Wait()
		return nil, err
	}
	e.wg.Go(func() { e.marks.tidy(e.life) })
	e.wg.Go(func() { e.resolver.run(e.life) })
	e.wg.Go(func() { e.keepCatalog(e.life) })
	return e, nil
}

// longestLoad: a query ends when nobody waits for it any more, not by a timeout that a plain driver has not.
const longestLoad = 24 * time.Hour

// start asks for the rights that marks take, unless Redis is away, and reads the catalog for the first time. A database
// that cannot be reached is no error.
func (e *Engine) start(ctx context.Context) error {
	if e.tracker.Synced() {
		if err := e.marks.allowed(ctx); err != nil {
			return fmt.Errorf("%s: %w", e.adapter, err)
		}
	}
	l, err := e.pool.Get(ctx)
	if err == nil {
		var s Session
		s, err = l.Session(ctx)
		e.pool.Put(l, err != nil)
		if err == nil && s.unfit != "" {
			return fmt.Errorf("%w: %s", ErrUnfit, s.unfit)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		e.warn("the database cannot be reached yet", err)
		return nil
	}
	_, err = e.catalog(ctx)
	return err
}

func (e *Engine) warn(what string, err error) {
	if err == nil {
		e.opts.Logger.Warn("freshet: " + e.adapter + ": " + what)
		return
	}
	e.opts.Logger.Warn("freshet: "+e.adapter+": "+what, "error", err)
}

// Options are those of [New] with their defaults.
func (e *Engine) Options() *Options { return &e.opts }

// Closed reports whether Close has been called.
func (e *Engine) Closed() bool { return e.life.Err() != nil }

// Close ends the engine: its memory, its goroutines, the connections if they are its own. Safe twice.
func (e *Engine) Close() {
	e.once.Do(func() {
		e.readings.Lock() // none begins any more
		e.end()
		e.readings.Unlock()
		e.kept.Close()
		if e.owner != nil {
			e.owner.Close()
		}
		e.wg.Wait()
		e.marks.end()
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		e.marks.settleAll(ctx) // what remains is for the others: the sessions end with the connections
	})
}

// Stats of an engine since it was made: see sqlcache.Stats.
type Stats struct {
	cache.Stats
	Passed  uint64
	Writes  uint64
	Flushes uint64
	Blocked uint64
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	return Stats{Stats: e.kept.Stats(), Passed: e.passed.Load(), Writes: e.wrote.Load(), Flushes: e.flushed.Load(),
		Blocked: e.blocked.Load()}
}

// Touch announces writes made around the adapter, after their commit: by another program, or by hand. Tables are
// named as name or schema.name; what falls with them falls as well. Without tables everything falls. See
// [invalidate.Tracker.Touch].
func (e *Engine) Touch(ctx context.Context, tables ...string) error {
	cat, err := e.catalog(ctx)
	if err != nil {
		return err
	}
	items := everything
	if len(tables) > 0 {
		items = nil
	}
	for _, t := range tables {
		found, err := cat.resolve(t)
		if err != nil {
			return err
		}
		for _, r := range found {
			fall, _ := cat.items(r, cat.blind(allVerbs))
			items = append(items, fall...)
		}
	}
	return e.tracker.Touch(ctx, e.marks.names(items)...)
}

// TouchRows is Touch for rows of one table by their primary keys. Without keys: rows were added, and none changed.
func (e *Engine) TouchRows(ctx context.Context, table string, keys ...any) error {
	cat, err := e.catalog(ctx)
	if err != nil {
		return err
	}
	found, err := cat.resolve(table)
	if err != nil {
		return err
	}
	var items []string
	for _, r := range found {
		items = append(items, cat.rows(r, keys)...)
	}
	return e.tracker.Touch(ctx, e.marks.names(compact(items))...)
}

// items are what falls with a write to r that does v.
func (cat *catalog) items(r *relation, v verbs) (items []string, others bool) {
	reach := cat.reach(r, v)
	if reach.flushes != "" {
		items = append(items, everything...)
	}
	for _, f := range reach.falls {
		items = append(items, f.tag())
	}
	return items, reach.others
}

// rows are what falls with a write to rows of r; without keys they are new ones.
func (cat *catalog) rows(r *relation, keys []any) []string {
	does := allVerbs
	if len(keys) == 0 {
		does = inserts
	}
	items, others := cat.items(r, cat.blind(does))
	if others {
		return items
	}
	named := r.rows(keys)
	return append(slices.DeleteFunc(items, func(it string) bool { return it == r.tag() }), named...)
}

// rows are what falls with changes to these rows of r, and with added ones: all of it where they cannot be told apart.
func (r *relation) rows(keys []any) []string {
	whole := []string{r.tag()}
	if r.key.kind == noKey {
		return whole
	}
	named := []string{someRows(r.tag())}
	for _, k := range keys {
		row := RowOf(k)
		if row.kind != r.key.kind {
			return whole
		}
		named = append(named, oneRow(r.tag(), row))
	}
	return named
}

// Names are what a value built from these tables must depend on, for invalidate.DependOn in loads that read the
// database by other ways. Tables are named as for [Engine.Touch]; a view stands for what it reads.
func (e *Engine) Names(ctx context.Context, tables ...string) ([]invalidate.Name, error) {
	cat, err := e.catalog(ctx)
	if err != nil {
		return nil, err
	}
	names := []invalidate.Name{cat.name(allTables)}
	for _, t := range tables {
		found, err := cat.resolve(t)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			for _, b := range r.bases {
				names = append(names, cat.name(b.tag()), cat.name(someRows(b.tag())))
			}
		}
	}
	return names, nil
}
