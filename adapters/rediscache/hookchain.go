package rediscache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// chain is what go-redis knows of a Hook. It calls these methods whenever it builds a chain of hooks, and a client's
// hooks are also built into the chains of its connections (Conn, Tx, the one of a handshake), where a database may have
// been selected, a transaction begun or keys watched. Nothing tells one chain from another but what goes through it:
// so a link serves from memory only after a probe that was given to the client itself has come by (I4: whoever watches
// a key must read it from the server).
type chain struct{ h *Hook }

func (c chain) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c chain) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	h, own := c.h, new(atomic.Bool)
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch p, ok := cmd.(*probe); {
		case ok && p.h == h:
			p.found.Store(&link{own: own})
			return nil
		case h.closed.Load():
			return next(ctx, cmd)
		case own.Load():
			return h.process(ctx, cmd, next)
		}
		h.wonder()
		return h.pass(ctx, cmd, next)
	}
}

func (c chain) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	h, own := c.h, new(atomic.Bool)
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 1 {
			if p, ok := cmds[0].(*probe); ok && p.h == h {
				p.found.Store(&link{own: own, next: next})
				return nil
			}
		}
		switch {
		case h.closed.Load():
			return next(ctx, cmds)
		case own.Load():
			return h.pipeline(ctx, cmds, next)
		}
		h.wonder()
		return h.passMany(ctx, cmds, next)
	}
}

// link is one function of a chain.
type link struct {
	own  *atomic.Bool // it is the client's: serve from memory
	next redis.ProcessPipelineHook
}

// probe is a command that never reaches the server: the first link of h that it meets answers it.
type probe struct {
	*redis.Cmd
	h     *Hook
	found atomic.Pointer[link]
}

// probe marks the links of the client's own chain, as it is now.
func (h *Hook) probe(ctx context.Context) {
	h.probed.Store(int64(time.Since(h.made)))
	one, piped := &probe{Cmd: redis.NewCmd(ctx, "ping"), h: h}, &probe{Cmd: redis.NewCmd(ctx, "ping"), h: h}
	_ = h.rdb.Process(ctx, one)
	pipe := h.rdb.Pipeline()
	_ = pipe.Process(ctx, piped)
	_, _ = pipe.Exec(ctx)
	p, q := one.found.Load(), piped.found.Load()
	if p == nil || q == nil {
		return // a hook before this one stopped it: everything passes until the next
	}
	h.send.Store(&q.next)
	q.own.Store(true)
	p.own.Store(true)
}

// probeEvery bounds how often other hooks see a probe.
const probeEvery = time.Second

// wonder probes again, for a link that is not known to be the client's own has been used: the client's hooks may have
// changed. Not in the caller's goroutine: a hook before this one may hold a lock while it waits for us.
func (h *Hook) wonder() {
	last := h.probed.Load()
	now := int64(time.Since(h.made))
	if now-last < int64(probeEvery) || !h.probed.CompareAndSwap(last, now) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed.Load() {
		return
	}
	h.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), askWithin)
		defer cancel()
		h.probe(ctx)
	})
}
