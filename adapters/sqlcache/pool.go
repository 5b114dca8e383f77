package sqlcache

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"sync"
	"time"
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

// get waits for a free place among MaxConns and returns a connection, an idle one if there is.
func (p *pool) get(ctx context.Context) (*real, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.ending:
		return nil, ErrClosed
	}
	return p.take(ctx)
}

// errBusy is tryGet's when every connection is in use.
var errBusy = errors.New("sqlcache: every connection is in use")

// tryGet is get for those who must not wait.
func (p *pool) tryGet(ctx context.Context) (*real, error) {
	select {
	case p.slots <- struct{}{}:
		return p.take(ctx)
	default:
		return nil, errBusy
	}
}

// take has a place; it gives that back on an error.
func (p *pool) take(ctx context.Context) (*real, error) {
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
	var id [8]byte
	rand.Read(id[:])
	r := &real{conn: conn, id: hex.EncodeToString(id[:]), born: time.Now()}
	if r.session, err = p.dialect.session(ctx, r); err == nil {
		err = r.hold(ctx, p.dialect)
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

// put gives r back. One that is broken, or has become another session, is closed.
func (p *pool) put(r *real, broken bool) {
	defer func() { <-p.slots }()
	r.used = time.Now()
	old := r.tainted || r.used.Sub(r.born) > longestLife
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

func (p *pool) close() {
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

// only makes the pool one of a single connection that is never closed. Call before anybody else uses it.
func (p *pool) only() {
	p.keep = true
	for len(p.slots) < cap(p.slots)-1 {
		p.slots <- struct{}{}
	}
}

func (p *pool) closedNow() bool {
	select {
	case <-p.ending:
		return true
	default:
		return false
	}
}
