package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const canaryName = "canary:"

// canary proves without CONFIG that notifications are on: a key of its own is written in every way there is, and the
// events must come back on the stream before the PONG of a ping sent afterwards. Whoever listens to every key is told of
// every canary, so only a session's first is whole; audits take the classes in turn.
type canary struct {
	key     string
	channel string // of key, subscribed exactly where no pattern covers it
	proven  uint32 // the classes that the first canary proved; the user may not provoke the others
	turn    int    // audit's
	seen    atomic.Uint32
}

// canaryClass is a class of notify-keyspace-events, the command that provokes it and the event that proves it.
type canaryClass struct {
	flag    string
	event   string
	command string
	args    []any // behind the key
}

const (
	classString = iota
	classExpired
	classGeneric
	classTypes // the first of the types, each of which is a turn
)

// Classes e (evicted) and d (modules) cannot be provoked.
var canaryClasses = []canaryClass{
	classString:  {"$", "set", "SET", []any{"1", "PX", "1"}},
	classExpired: {"x", "expired", "EXISTS", nil}, // looking for a key whose time has passed deletes it
	classGeneric: {"g", "del", "DEL", nil},
	classTypes:   {"l", "lpush", "LPUSH", []any{"1"}},
	{"s", "sadd", "SADD", []any{"1"}},
	{"h", "hset", "HSET", []any{"1", "1"}},
	{"z", "zadd", "ZADD", []any{"1", "1"}},
	{"t", "xadd", "XADD", []any{"*", "1", "1"}},
}

const (
	wholeCanary = -1                   // instead of a turn
	canaryTTL   = time.Minute          // should its DEL not be reached
	canaryRest  = 5 * time.Millisecond // for the one that expires
)

// saw notes an event of the canary; the receive loop calls it.
func (c *canary) saw(event string) {
	for i := range canaryClasses {
		if canaryClasses[i].event == event {
			c.seen.Or(1 << i)
		}
	}
}

// song is what one singing of the canary provoked.
type song struct {
	provoked uint32 // classes
	refused  uint32
	why      []string // of what was refused
}

// sing writes the canary: turn 0 takes a string and its expiry, the following ones a type each. What the first canary was
// refused is not asked again: each refusal goes into the server's ACL log.
func (s *session) sing(ctx context.Context, turn int) (song, error) {
	c := s.canary
	c.seen.Store(0)
	if turn != wholeCanary {
		turn %= 1 + len(canaryClasses) - classTypes
	}
	var selected *redis.Cmd
	answers := make([]*redis.Cmd, len(canaryClasses))
	put := func(p redis.Pipeliner, class int) {
		if turn == wholeCanary || c.proven>>class&1 == 1 {
			answers[class] = p.Do(ctx, append([]any{canaryClasses[class].command, c.key}, canaryClasses[class].args...)...)
		}
	}
	ask := func(fill func(p redis.Pipeliner)) error {
		return s.desk.ask(ctx, func(p redis.Pipeliner) {
			if s.l.selects() {
				selected = p.Do(ctx, "SELECT", s.l.home())
			}
			fill(p)
		})
	}
	if turn <= 0 {
		if err := ask(func(p redis.Pipeliner) { put(p, classString) }); err != nil {
			return song{}, err
		}
		rest := time.NewTimer(canaryRest)
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-ctx.Done():
			return song{}, ctx.Err()
		}
	}
	err := ask(func(p redis.Pipeliner) {
		if answers[classString] != nil && answers[classString].Err() == nil {
			put(p, classExpired)
		}
		for class := classTypes; class < len(canaryClasses); class++ {
			if turn != wholeCanary && class != classTypes+turn-1 {
				continue
			}
			if put(p, class); answers[class] != nil {
				p.Do(ctx, "PEXPIRE", c.key, canaryTTL.Milliseconds())
				put(p, classGeneric)
			}
		}
	})
	if err != nil {
		return song{}, err
	}
	var got song
	for i, cmd := range answers {
		if cmd == nil {
			continue
		}
		err := cmd.Err()
		if selected != nil && selected.Err() != nil {
			err = selected.Err() // it sang in another database
		}
		if err == nil {
			got.provoked |= 1 << i
			continue
		}
		got.refused |= 1 << i
		got.why = append(got.why, fmt.Sprintf("%s (%s)", canaryClasses[i].flag, err))
	}
	return got, nil
}

// missing are the classes that were provoked and not seen.
func (c *canary) missing(provoked uint32) string {
	var b strings.Builder
	for i, class := range canaryClasses {
		if lost := provoked &^ c.seen.Load(); lost>>i&1 == 1 {
			b.WriteString(class.flag)
		}
	}
	return b.String()
}

var errMute = errors.New("the canary's events did not come")

// proveByCanary is proveFlags where CONFIG is refused.
func (s *session) proveByCanary(ctx context.Context, refusal error) error {
	o, home := &s.l.opts, s.l.home()
	key := o.Namespace + canaryName + s.l.id
	if s.l.clustered {
		slot, ok := s.p.slot()
		if !ok {
			s.doubt("flags unproven: CONFIG refused, and no canary where there are no slots")
			return nil
		}
		key += "{" + tagOf(slot) + "}"
	}
	c := &canary{key: key, channel: channelName(Keyspace, home, key)}
	s.canary = c
	if !s.hears(home, key) {
		exact := &subscribe{exact: c.channel}
		if err := s.subscribe(ctx, exact); err != nil {
			return err
		}
	}
	got, err := s.sing(ctx, wholeCanary)
	if err != nil {
		return err
	}
	if got.provoked == 0 {
		return &SetupError{MissingACL, s.canaryLine(refusal), fmt.Errorf("%w: CONFIG is refused (%w) and so are canaries (%s)",
			ErrNotEnabled, refusal, strings.Join(got.why, ", "))}
	}
	if err := s.roundTrip(ctx); err != nil {
		return err
	}
	if lost := c.missing(got.provoked); lost != "" {
		return &SetupError{MissingFlags, flagsName + " " + addFlags("", o.Channels),
			fmt.Errorf("%w: CONFIG is refused (%w), and %w for classes %s", ErrNotEnabled, refusal, errMute, lost)}
	}
	c.proven = got.provoked
	s.doubt("flags unproven: CONFIG refused, canary only (evictions and module events cannot be provoked)")
	for _, why := range got.why {
		s.doubt("flags unproven: class " + why)
	}
	return nil
}

// hears reports whether a confirmed pattern covers key.
func (s *session) hears(db int, key string) bool {
	for _, sub := range s.subs {
		if (sub.db == db || sub.db == AllDBs) && strings.HasPrefix(key, sub.prefix) {
			return true
		}
	}
	return false
}

// canaryLine is what gives the user either proof: CONFIG where it is a matter of permission, else the canary's commands.
func (s *session) canaryLine(refusal error) string {
	if redis.HasErrorPrefix(refusal, "NOPERM") {
		return aclLine(s.user(), "+config|get", "+config|set")
	}
	rules := []string{"~" + s.l.opts.Namespace + "*", "+pexpire"}
	for _, class := range canaryClasses {
		rules = append(rules, "+"+strings.ToLower(class.command))
	}
	return aclLine(s.user(), rules...)
}

// auditCanary sings one turn on a live session.
func (s *session) auditCanary(ctx context.Context) error {
	got, err := s.sing(ctx, s.canary.turn)
	if err != nil {
		return err
	}
	if got.refused != 0 {
		return fmt.Errorf("the canary is refused what it was not: %s", strings.Join(got.why, ", "))
	}
	if err := s.fenceHere(ctx); err != nil {
		return err
	}
	if lost := s.canary.missing(got.provoked); lost != "" {
		return cause{GapFlags, fmt.Errorf("%w for classes %s", errMute, lost)}
	}
	s.canary.turn++
	return nil
}
