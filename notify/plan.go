package notify

import (
	"context"
	"errors"
	"slices"
)

// Subscribe adds prefixes to the running subscription and returns when every event of every command executed after
// it will be told; prefixes that are covered already cost nothing. It is no gap. Where there is no session it waits for
// the next one, or for ctx, and where a server is out of memory (Redis 8.6 subscribes nobody then) until it is not; a
// subscription whose caller gave up may still come about. A *SetupError says that the user may not subscribe to it. What was
// subscribed before stays.
func (l *Listener) Subscribe(ctx context.Context, prefixes ...string) error {
	if slices.Contains(prefixes, "") {
		return errors.New("notify: Subscribe: an empty prefix: leave Options.Prefixes nil for every key")
	}
	select {
	case l.planning <- struct{}{}:
		defer func() { <-l.planning }()
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return ErrClosed
	}
	if err := l.confirm(ctx, l.plan(prefixes)); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wanted = nil
		return err
	}
	l.widen(prefixes)
	return l.WaitSynced(ctx)
}

// plan asks every primary for prefixes, and sees to it that those which come do too.
func (l *Listener) plan(prefixes []string) map[*primary]*subscribe {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.prefixes == nil {
		return nil
	}
	if l.opts.Channels == Keyevent { // all is subscribed; what is told widens
		return nil
	}
	l.wanted = prefixes
	subs := make(map[*primary]*subscribe)
	for _, p := range l.primaries {
		if sub := p.plan(prefixes); sub != nil {
			subs[p] = sub
		}
	}
	return subs
}

// confirm waits until every primary that still is one has confirmed.
func (l *Listener) confirm(ctx context.Context, subs map[*primary]*subscribe) (err error) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for p, sub := range subs {
			p.forget(sub)
		}
	}()
	for p, sub := range subs {
		select {
		case <-sub.done:
			if sub.err != nil {
				return sub.err
			}
		case <-l.ctx.Done():
			return ErrClosed
		case <-p.ctx.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// widen notes that prefixes are subscribed everywhere.
func (l *Listener) widen(prefixes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = nil
	if l.prefixes == nil {
		return
	}
	fresh := slices.DeleteFunc(minimal(prefixes), func(p string) bool { return covered(l.prefixes, p) })
	wider := minimal(slices.Concat(l.prefixes, fresh))
	l.prefixes = wider
	if l.opts.Channels == Keyevent {
		l.filter.Store(&wider)
		l.plannedCount.Add(uint64(len(fresh)))
	}
}
