package invalidate

import (
	"context"
	"fmt"
	"strings"

	"github.com/gofreshet/freshet/notify"
)

// Cover makes sure that every key that begins with one of prefixes is heard. With Options.FollowCaches it subscribes
// to those that are not and returns when that is confirmed (a subscription that ctx cut short goes on by itself, and
// loads are not stored before it is confirmed). Otherwise a prefix outside Options.Notify.Prefixes is
// [ErrNotCovered]. Caches call it for their own prefix.
func (t *Tracker) Cover(ctx context.Context, prefixes ...string) error {
	if t.closed.Load() {
		return ErrClosed
	}
	var fresh []string
	for _, p := range prefixes {
		switch {
		case t.own(p):
			return fmt.Errorf("%w: %q is Freshet's own, in Options.Notify.Namespace: choose another prefix, "+
				"or another namespace", ErrNotCovered, p)
		case t.heard(p):
		case !t.follow:
			return fmt.Errorf("%w: %q: add it to Prefixes, or set Options.FollowCaches", ErrNotCovered, p)
		case p == "":
			return fmt.Errorf("%w: every key: leave Options.FollowCaches off for a cache without a Prefix", ErrNotCovered)
		default:
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	done := make(chan error, 1)
	subscribe := func() {
		err := t.listener.Subscribe(t.life, fresh...)
		if err == nil {
			t.hear(fresh)
		}
		done <- err
	}
	if !t.start(subscribe) {
		return ErrClosed
	}
	select {
	case err := <-done:
		if err != nil {
			return t.waitError("subscribe", err)
		}
		return nil
	case <-ctx.Done():
		return t.waitError("subscribe", ctx.Err())
	}
}

// start runs f on a goroutine that Close waits for; it is false, and f does not run, after Close.
func (t *Tracker) start(f func()) bool {
	t.covering.Lock()
	defer t.covering.Unlock()
	if t.closed.Load() {
		return false
	}
	t.wg.Go(f)
	return true
}

// own reports whether text names what the listener keeps to itself under the namespace: names that are no keys, markers
// and canaries, of whose changes nobody is told. Other keys there are keys like any.
func (t *Tracker) own(text string) bool {
	rest, ok := strings.CutPrefix(text, strings.TrimSuffix(t.names, namesUnder))
	return ok && (strings.HasPrefix(rest, namesUnder) || notify.Own(rest))
}

// hear adds prefixes that are subscribed to from now on. R10: a load that began before this has a lower stamp.
func (t *Tracker) hear(prefixes []string) {
	t.covering.Lock()
	defer t.covering.Unlock()
	list := append([]cover(nil), *t.covers.Load()...)
	since := t.ledger.step()
	for _, p := range prefixes {
		list = append(list, cover{p, since})
	}
	t.covers.Store(&list)
}

// heard reports whether every key below prefix is listened to by now.
func (t *Tracker) heard(prefix string) bool {
	list := t.covers.Load()
	return list == nil || covers(*list, prefix, t.ledger.counter.Load())
}

// covered reports whether n's changes have been heard since stamp. Tags always are.
func (t *Tracker) covered(n Name, stamp uint64) bool {
	list := t.covers.Load()
	return n.kind == KindTag || !t.own(n.text) && (list == nil || covers(*list, n.text, stamp))
}
