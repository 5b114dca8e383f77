package sqlengine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

// Answer is what an adapter keeps of one query. It is never changed after it is made.
type Answer interface {
	Size() int64 // in bytes
	Len() int    // rows
}

// refusal is an answer that is not here: who asked asks by himself.
type refusal uint8

func (refusal) Size() int64 { return 0 }
func (refusal) Len() int    { return 0 }

const (
	TooLarge refusal = iota // what a [Question] returns for an answer beyond the caps
	Private                 // and for one that only its own connection can make sense of
	unlike                  // the session is not like the catalog's
)

// Question is a statement and its arguments, which nobody changes any more.
type Question interface {
	// Rows are what [Statement.Rows] says of the arguments.
	Rows() []Row

	// Fetch asks the database on l for the whole of the answer.
	Fetch(ctx context.Context, l Link) (Answer, error)
}

// key is a query: its text by what it was found to be, which is another pointer under each catalog, and its arguments.
// The database, its user and its search path are the engine's own.
type key struct {
	st   *Statement
	args string
}

type loader func(context.Context, key) (Answer, error)

type loadKey struct{}

// Ask returns the answer from memory or by a load that all who ask meanwhile share. The load has a connection of its
// own: who gives up gives up alone. A nil Answer is one that may not be shared: the caller asks for itself. bound is
// [Use.MayAsk]'s; args stands for all that the answer depends on beside the text.
func (e *Engine) Ask(ctx context.Context, st *Statement, args string, bound time.Duration, q Question) (Answer, error) {
	k := key{st, args}
	load := func(ctx context.Context, k key) (Answer, error) { return e.load(ctx, k.st, q) }
	var ans Answer
	var err error
	if bound > 0 {
		var r cache.Result[Answer]
		r, err = e.kept.Read(context.WithValue(ctx, loadKey{}, loader(load)), k, cache.ReadOptions{MaxStaleness: bound})
		ans = r.Value
	} else {
		ans, err = e.kept.GetWith(ctx, k, load)
	}
	switch {
	case errors.Is(err, cache.ErrClosed):
		return nil, ErrClosed
	case err != nil:
		return nil, err
	}
	if _, elsewhere := ans.(refusal); elsewhere {
		return nil, nil
	}
	return ans, nil
}

// marksPatience is how long an answer waits for its marks, longer than which it is given and not kept: Redis is silent.
const marksPatience = 250 * time.Millisecond

// load is one query. Its marks are read while it runs: see marks.
func (e *Engine) load(ctx context.Context, st *Statement, q Question) (Answer, error) {
	rows := q.Rows()
	rests := st.restsOn(rows)
	invalidate.DependOn(ctx, e.marks.names(rests)...)
	type answer struct {
		marked []string
		err    error
	}
	told := make(chan answer, 1)
	silent := answer{marked: []string{allTables}}
	if !e.tracker.Synced() { // nothing would be kept anyhow, and Redis may be long in answering
		told <- silent
	} else {
		e.wg.Go(func() {
			marked, suspects, err := e.marks.marked(ctx)
			if len(suspects) > 0 {
				e.resolver.ask(suspects)
			}
			told <- answer{marked, err}
		})
	}
	ans, err := e.fetch(ctx, st, q)
	a := silent
	patience := time.NewTimer(marksPatience)
	defer patience.Stop()
	select {
	case a = <-told:
		if failed := a.err != nil; e.unread.CompareAndSwap(!failed, failed) {
			e.tellUnread(a.err)
		}
	case <-patience.C:
	}
	if err != nil {
		return nil, err
	}
	if ans.Len() < len(rows) { // one of them may yet come
		rests = append(rests, st.restsOn(nil)...)
		invalidate.DependOn(ctx, e.marks.names(rests)...)
	}
	if _, elsewhere := ans.(refusal); elsewhere {
		invalidate.NoStore(ctx)
	} else if a.err != nil || slices.ContainsFunc(a.marked, func(item string) bool { return slices.Contains(rests, item) }) {
		e.blocked.Add(1)
		invalidate.NoStore(ctx)
	}
	return ans, nil
}

func (e *Engine) tellUnread(err error) {
	if err != nil {
		e.warn("marks cannot be read, so nothing is kept", err)
		return
	}
	e.opts.Logger.Info("freshet: " + e.adapter + ": marks can be read again")
}

// fetch asks on a connection from the pool. One that had died while idle is replaced no more than twice.
func (e *Engine) fetch(ctx context.Context, st *Statement, q Question) (Answer, error) {
	for try := 0; ; try++ {
		l, err := e.pool.Get(ctx)
		if err != nil {
			return nil, err
		}
		ans, err := e.fetchOn(ctx, l, q)
		if ans == TooLarge || ans == Private {
			st.oversize.note(ans.(refusal))
		}
		bad := err != nil && l.Broken(err)
		e.pool.Put(l, bad || ctx.Err() != nil)
		if bad && try < 2 && ctx.Err() == nil {
			continue
		}
		return ans, err
	}
}

// fetchOn answers only on a session like the catalog's: what another sees is not for those who wait here.
func (e *Engine) fetchOn(ctx context.Context, l Link, q Question) (Answer, error) {
	s, err := l.Session(ctx)
	if err != nil {
		return nil, err
	}
	if a := e.current.Load(); a == nil || s.unfit != "" || s.same != a.cat.same || l.State().Tainted {
		return unlike, nil
	}
	return q.Fetch(ctx, l)
}

// oversize remembers for a while that a statement's answers are too large to keep, or of no use to others.
type oversize struct {
	until atomic.Int64
	as    atomic.Uint32 // the refusal
}

const oversizeFor = time.Minute

func (o *oversize) now() bool {
	u := o.until.Load()
	return u != 0 && time.Now().UnixNano() < u
}

func (o *oversize) note(as refusal) {
	o.as.Store(uint32(as))
	o.until.Store(time.Now().Add(oversizeFor).UnixNano())
}

func (o *oversize) why() string {
	if refusal(o.as.Load()) == Private {
		return "its last answer had a column that only its own connection can decode"
	}
	return "its last answer was larger than Options.MaxRows or MaxResultBytes"
}
