package invalidate

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/redis/go-redis/v9"
)

// touchEvent is what an announcement looks like on the stream: an event that Redis itself never sends.
const touchEvent = "touch"

const (
	publishBatch = 1000   // announcements a round trip
	maxUnsent    = 10_000 // names remembered for a later announcement; beyond them everything is announced
)

func newInstance() string { return rand.Text()[:12] }

// Touch makes names fall in every process: in this one before it returns, even when it returns an error. It never
// deletes or changes a key: it publishes on each name's own notification channel, a message in the very stream all
// listen to, so a [Tracker.Fence] anywhere that begins after Touch returned nil covers it. Call it after the commit,
// never before: what is loaded in between would be kept.
//
// When [ErrNotAnnounced] comes back the announcement is kept and sent again when Redis answers, until Close; other
// processes may meanwhile serve what they have, and for how long is not bounded by MaxStaleness if their own connection
// is sound.
func (t *Tracker) Touch(ctx context.Context, names ...Name) error { return t.touch(ctx, nil, names) }

// TouchFrom is [Tracker.Touch] by the load that r records, which has changed what names stand for and whose result shows it:
// what r records outlives it, unless something of it had fallen before. Say first what r depends on: of what is added later
// only that counts which falls after this call. r must be of this tracker and not sealed.
func (t *Tracker) TouchFrom(ctx context.Context, r *Record, names ...Name) error {
	return t.touch(ctx, r, names)
}

func (t *Tracker) touch(ctx context.Context, r *Record, names []Name) error {
	for _, n := range names {
		if n.text == "" && n.kind != KindPrefix {
			return ErrEmptyName
		}
	}
	if len(names) == 0 {
		return nil
	}
	// R12, and before the announcement, however long that takes: its echo is passed over (see on), so that a fence here
	// must find it done. What is loaded from here on reads what was committed before the call.
	if !t.out.Has(guard.Own) {
		r.outliving(func(by *Validity) { t.apply(touchEvent, by, names...) })
	}
	if t.closed.Load() {
		return ErrClosed
	}
	if failed, err := t.announce(ctx, names); err != nil {
		t.unsent.keep(failed)
		return fmt.Errorf("%w: %w", ErrNotAnnounced, err)
	}
	return nil
}

// Forget is [Tracker.Touch] in this process alone.
func (t *Tracker) Forget(names ...Name) { t.apply("forget", nil, names...) }

// announce publishes names, or, when they are a storm (R13), that everything fell. failed are those to try again.
func (t *Tracker) announce(ctx context.Context, names []Name) (failed []Name, err error) {
	if len(names) > len(t.ledger.slots)/8 {
		return names, t.announceAll(ctx)
	}
	through := t.listener.Through(ctx, func(rdb redis.UniversalClient) error {
		failed, err = t.publish(ctx, rdb, names)
		return nil
	})
	if through != nil { // who knows which of them were heard
		return names, through
	}
	return failed, err
}

// announceAll tells that everything fell.
func (t *Tracker) announceAll(ctx context.Context) error {
	return t.listener.Through(ctx, func(rdb redis.UniversalClient) error {
		return rdb.Publish(ctx, t.channel()+t.names+allUnder, t.echo).Err()
	})
}

func (t *Tracker) channel() string { return "__keyspace@" + strconv.Itoa(t.db) + "__:" }

func (t *Tracker) publish(ctx context.Context, rdb redis.UniversalClient, names []Name) (failed []Name, err error) {
	channel := t.channel()
	for len(names) > 0 {
		n := min(len(names), publishBatch)
		pipe := rdb.Pipeline()
		for _, name := range names[:n] {
			pipe.Publish(ctx, channel+name.announced(t.names), t.echo)
		}
		cmds, perr := pipe.Exec(ctx)
		err = cmp.Or(err, perr)
		before := len(failed)
		for i, cmd := range cmds {
			if cmd.Err() != nil {
				failed = append(failed, names[i])
			}
		}
		if perr != nil && len(failed) == before { // a hook of the client's stopped them and blamed none
			failed = append(failed, names[:n]...)
		}
		names = names[n:]
	}
	return failed, err
}

// unsent are names whose announcement failed.
type unsent struct {
	any  atomic.Bool // whether names is not empty: asked at each heartbeat
	wake chan struct{}

	mu    sync.Mutex
	names map[Name]struct{} // with the empty Name in it: everything
}

func (u *unsent) keep(names []Name) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.names == nil {
		u.names = make(map[Name]struct{})
	}
	for _, n := range names {
		if len(u.names) >= maxUnsent {
			clear(u.names)
			u.names[Name{}] = struct{}{}
			break
		}
		u.names[n] = struct{}{}
	}
	u.any.Store(len(u.names) > 0)
}

// take empties u. all is true when too many were kept.
func (u *unsent) take() (names []Name, all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.any.Store(false)
	_, all = u.names[Name{}]
	for n := range u.names {
		names = append(names, n)
	}
	clear(u.names)
	return names, all
}

func (t *Tracker) wakeAnnouncer() {
	if !t.unsent.any.Load() {
		return
	}
	select {
	case t.unsent.wake <- struct{}{}:
	default:
	}
}

// announceUnsent sends what Touch could not, whenever Redis is heard. It ends with t.life.
func (t *Tracker) announceUnsent() {
	for {
		select {
		case <-t.life.Done():
			return
		case <-t.unsent.wake:
		}
		names, all := t.unsent.take()
		if len(names) == 0 {
			continue
		}
		var err error
		failed := names
		if all {
			err = t.announceAll(t.life)
		} else {
			failed, err = t.announce(t.life, names)
		}
		if err != nil {
			t.unsent.keep(failed)
			select { // the next heartbeat wakes us again: not at once
			case <-t.life.Done():
			case <-time.After(time.Second):
			}
		}
	}
}
