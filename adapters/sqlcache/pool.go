package sqlcache

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// pool keeps the driver's connections. database/sql has as many of ours as it likes; these are the ones that cost.
type pool struct {
	inner   driver.Connector
	dialect Dialect
	idleFor time.Duration
	slots   chan struct{} // one token a connection in use
	ending  chan struct{}
	keep    bool // the database lives in its one connection: never close it

	mu     sync.Mutex
	idle   []*real // the latest used last
	closed bool
	model  driver.NamedValueChecker // of the first connection; nil: none yet, or it has none
	asked  bool                     // whether model is known
}

func newPool(inner driver.Connector, d Dialect, opts *Options) *pool {
	return &pool{inner: inner, dialect: d, idleFor: opts.MaxIdle, slots: make(chan struct{}, opts.MaxConns),
		ending: make(chan struct{})}
}

var (
	_ sqlengine.Pool  = (*pool)(nil)
	_ sqlengine.Owner = (*pool)(nil)
)

// Get waits for a free place among MaxConns and returns a connection, an idle one if there is.
func (p *pool) Get(ctx context.Context) (sqlengine.Link, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.ending:
		return nil, ErrClosed
	}
	return p.take(ctx)
}

// take has a place; it gives that back on an error.
func (p *pool) take(ctx context.Context) (sqlengine.Link, error) {
	for {
		r := p.pop()
		if r == nil {
			break
		}
		if r.fresh(ctx) || p.keep {
			return r, nil
		}
		r.close()
	}
	r, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return r, nil
}

func (p *pool) pop() *real {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	r := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return r
}

func (p *pool) dial(ctx context.Context) (*real, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	conn, err := p.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	r := &real{conn: conn, state: sqlengine.State{ID: sqlengine.NewID()}, born: time.Now()}
	if r.session, err = sqlengine.SessionOf(ctx, p.dialect, r, sqlengine.Session{}); err == nil {
		err = sqlengine.Hold(ctx, p.dialect, r)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	p.mu.Lock()
	if !p.asked {
		p.asked = true
		p.model, _ = conn.(driver.NamedValueChecker)
	}
	p.mu.Unlock()
	return r, nil
}

// Put gives a connection back. One that is broken, or has become another session, is closed.
func (p *pool) Put(l sqlengine.Link, broken bool) {
	r := l.(*real)
	if !r.state.Lent {
		defer func() { <-p.slots }()
	}
	r.used = time.Now()
	old := r.state.Tainted || r.state.Stays || r.used.Sub(r.born) > longestLife
	if broken || old && !p.keep || !r.valid() {
		r.close()
		if broken {
			p.sweep(0) // a server that broke one has as a rule broken all
		}
		return
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		r.close()
		return
	}
	p.idle = append(p.idle, r)
	p.mu.Unlock()
}

// lend gives the place of r to others, while nobody knows when it comes back. Else who waits for a place might be who holds it.
func (p *pool) lend(r *real) {
	if !r.state.Lent {
		r.state.Lent = true
		<-p.slots
	}
}

// Tidy closes what nobody has used for long.
func (p *pool) Tidy() { p.sweep(p.idleFor) }

// sweep closes what has been idle for longer than d.
func (p *pool) sweep(d time.Duration) {
	if p.keep {
		return
	}
	now := time.Now()
	var old []*real
	p.mu.Lock()
	kept := p.idle[:0]
	for _, r := range p.idle {
		if now.Sub(r.used) >= d {
			old = append(old, r)
		} else {
			kept = append(kept, r)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.mu.Unlock()
	for _, r := range old {
		r.close()
	}
}

// checker is what the driver's connections do to arguments; known is false before the first of them.
func (p *pool) checker() (c driver.NamedValueChecker, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.model, p.asked
}

// Close closes the idle connections, and those in use when they are given back.
func (p *pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.ending)
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, r := range idle {
		r.close()
	}
}

// Only makes the pool one of a single connection that is never closed. Call before anybody else uses it.
func (p *pool) Only() {
	p.keep = true
	for len(p.slots) < cap(p.slots)-1 {
		p.slots <- struct{}{}
	}
}
