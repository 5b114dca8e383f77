package notify

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

const keymiss = "keymiss" // a read of an absent key: no change

// message tells of an event, unless it is none that anybody asked for.
func (s *session) message(m *redis.Message) error {
	kind, db, rest, ok := ParseChannel(m.Channel)
	key, name := rest, m.Payload
	if kind == Keyevent {
		key, name = m.Payload, rest
	}
	if m.Pattern == "" && s.canary != nil && m.Channel == s.canary.channel {
		s.canary.saw(name)
		return nil
	}
	if ok && kind == Keyspace && rest == mendedName {
		if s.live && m.Payload != s.l.id {
			s.l.lapse(GapFlags)
		}
		return nil
	}
	sub := s.subs[m.Pattern]
	if sub == nil || m.PayloadSlice != nil {
		return s.unplanned("a message on %q for %q, which is not subscribed", m.Channel, m.Pattern)
	}
	if !ok || kind != s.l.opts.Channels || sub.db != AllDBs && sub.db != db {
		return nil // somebody's own PUBLISH
	}
	if own := s.l.opts.Namespace; strings.HasPrefix(key, own) {
		switch rest := key[len(own):]; {
		case rest == markerName:
			return nil
		case strings.HasPrefix(rest, canaryName):
			if s.canary != nil && key == s.canary.key && db == s.l.home() {
				s.canary.saw(name)
			}
			return nil
		}
	}
	if !s.live || sub.shadowed || name == keymiss || !s.asked(sub, key) {
		return nil
	}
	s.emit(Event{Kind: Change, DB: db, Key: key, Name: name, Channel: m.Channel, Pattern: m.Pattern, Payload: m.Payload})
	return nil
}

// emit tells of ev if the whole stream is live; else what is missing is told of already, by a Gap.
func (s *session) emit(ev Event) {
	s.l.stream.Lock()
	defer s.l.stream.Unlock()
	if s.l.live && !s.p.left {
		s.l.events.Add(1)
		s.l.emit(ev)
	}
}

// asked reports whether key begins with a prefix that is listened to. The pattern alone does not tell: over all databases its
// star may have matched more than a number, and keyevent patterns say nothing of keys.
func (s *session) asked(sub *subscription, key string) bool {
	if s.l.opts.Channels == Keyspace {
		return strings.HasPrefix(key, sub.prefix)
	}
	prefixes := s.l.filter.Load()
	return prefixes == nil || slices.ContainsFunc(*prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// Own reports whether a key of this name under Options.Namespace is a listener's own, a marker or a canary: its events
// are told to nobody.
func Own(name string) bool { return name == markerName || strings.HasPrefix(name, canaryName) }

// emit hands ev to the hook and then to every reader's queue; nothing here waits for anyone (I5). l.stream is held.
func (l *Listener) emit(ev Event) {
	l.tell(ev)
	for _, q := range *l.queues.Load() {
		if !q.wants(&l.ev) {
			continue
		}
		lost, fresh := q.push(&l.ev)
		if lost > 0 {
			l.dropped.Add(uint64(lost))
		}
		if fresh {
			l.countGap(GapOverflow)
		}
	}
}

// tell hands ev to the hook alone. l.stream is held.
func (l *Listener) tell(ev Event) {
	l.ev = ev
	l.ev.At = time.Now()
	if hook := l.opts.Hooks.Event; hook != nil {
		l.guardEvent(hook)
	}
}

func (l *Listener) guardEvent(hook func(*Event)) {
	defer l.catch()
	ev := l.ev // a hook that changes it does not change what readers get
	hook(&l.ev)
	l.ev = ev
}

// guard runs a hook. One that panics may not have applied what it was told: that is a gap.
func (l *Listener) guard(hook func()) {
	defer l.catch()
	hook()
}

func (l *Listener) catch() {
	p := recover()
	if p == nil {
		return
	}
	l.panics.Add(1)
	l.log.error("hook panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, primary := range l.primaries {
		if primary.session != nil {
			primary.session.fail(GapPanic, fmt.Errorf("a hook panicked: %v", p))
		}
	}
}

// invalidations hears the null invalidation of a flush, in its place among the events: go-redis calls it inside Receive.
type invalidations struct{ s *session }

func (h invalidations) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, n []any) error {
	if len(n) == 2 && n[1] == nil {
		h.s.flushed()
	}
	return nil
}

func (s *session) flushed() {
	s.flushes.Add(1)
	if s.live && !s.isDead() {
		s.emit(Event{Kind: Flush})
	}
	nudge(s.relook) // the markers are gone too
}
