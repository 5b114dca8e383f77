package invalidate

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gofreshet/freshet/notify"
)

const (
	defaultSlots = 1 << 20
	minSlots     = 1 << 10
	maxSlots     = 1 << 30
)

// Options for [Connect]. The zero value covers every key of the client's database with 8 MB of ledger.
type Options struct {
	// Notify says what is listened to and how: prefixes, flags, heartbeat, namespace, StartDown. Its Prefixes are also
	// what may be cached (see [ErrNotCovered]); nil covers every key. Its DBs and Channels are the tracker's to choose.
	Notify notify.Options

	// FollowCaches subscribes, beside Notify.Prefixes, to the prefix of each cache as it is made, and to nothing else:
	// the choice for many instances on a busy Redis, which pays about a microsecond for every event it sends to each of
	// them. A load that depends on a key outside is then returned, not stored, and counted in [Stats].Uncovered.
	FollowCaches bool

	// Slots is the ledger's size, a power of two; default 1,048,576 (8 MB), good for some 1,000 invalidated names a
	// second with few dependencies an entry. Take four times that above it.
	Slots int

	Logger *slog.Logger // nil: silent. Also the listener's unless that has its own
	Hooks  Hooks
}

// Hooks run synchronously, on the receive loop or in a call to Touch or Forget. They must not block and must not call
// the tracker.
type Hooks struct {
	Invalidated func(n Name, event string) // after a name fell; event is what Redis calls it, or "touch" or "forget"
	Epoch       func(reason string)        // after everything fell
}

var (
	// ErrClosed is returned by every call on a closed tracker.
	ErrClosed = errors.New("invalidate: closed")
	// ErrNotCovered says that a name lies outside what the tracker listens to, so nothing would tell when it changes.
	ErrNotCovered = errors.New("invalidate: name lies outside Options.Notify.Prefixes")
	// ErrUnsynced wraps the ctx's error when a fence or a wait ended while Redis was not being heard.
	ErrUnsynced = errors.New("invalidate: not connected to Redis")
	// ErrNotAnnounced is wrapped by Touch's error when the names fell in this process and others may not know yet. What
	// was written before is written.
	ErrNotAnnounced = errors.New("invalidate: fell here, but the announcement to other processes failed")
	// ErrWrongClient says that what a client reads may not be kept on a tracker.
	ErrWrongClient = errors.New("invalidate: client not fit for this tracker")
	// ErrEmptyName is returned for a key or a tag without a text.
	ErrEmptyName = errors.New("invalidate: a key or tag must not be empty")
)

// Validate names the first field that cannot be used and how to mend it. Connect calls it.
func (o *Options) Validate() error {
	if o.Slots != 0 && (o.Slots < minSlots || o.Slots > maxSlots || o.Slots&(o.Slots-1) != 0) {
		return fmt.Errorf("invalidate: Options.Slots is %d: give a power of two from %d to %d, or 0 for %d",
			o.Slots, minSlots, maxSlots, defaultSlots)
	}
	if len(o.Notify.DBs) > 0 {
		return errors.New("invalidate: Options.Notify.DBs must be nil: a tracker hears its client's own database; " +
			"make one tracker for each")
	}
	if o.Notify.Channels != notify.Keyspace {
		return errors.New("invalidate: Options.Notify.Channels must be notify.Keyspace, the channels Touch announces on")
	}
	if err := o.Notify.Validate(); err != nil {
		return fmt.Errorf("invalidate: Options.Notify: %w", err)
	}
	return nil
}

// covered prefixes, and the stamp since which each is heard.
type cover struct {
	prefix string
	since  uint64
}

// covers reports whether every key that begins with p has been heard since stamp.
func covers(list []cover, p string, stamp uint64) bool {
	for _, c := range list {
		if c.since <= stamp && strings.HasPrefix(p, c.prefix) {
			return true
		}
	}
	return false
}
