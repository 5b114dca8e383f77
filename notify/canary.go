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

// canary proves without CONFIG that notifications are on: a key of its own is written in every way there is, and the events must
// come back on the stream before the PONG of a ping sent afterwards.
type canary struct {
	key     string
	channel string // of key, subscribed exactly where no pattern covers it
	seen    atomic.Uint32
}

// canaryClass is one class of notify-keyspace-events, the command that provokes it and the event that proves it.
type canaryClass struct {
	flag  string
	event string
	args  []any // behind the key
	name  string
}

// Classes e (evicted) and d (modules) cannot be provoked.
var canaryClasses = []canaryClass{
	{"$", "set", nil, "SET"},
	{"x", "expired", nil, "EXISTS"},
	{"g", "del", nil, "DEL"},
	{"l", "lpush", []any{"1"}, "LPUSH"},
	{"s", "sadd", []any{"1"}, "SADD"},
	{"h", "hset", []any{"1", "1"}, "HSET"},
	{"z", "zadd", []any{"1", "1"}, "ZADD"},
	{"t", "xadd", []any{"*", "1", "1"}, "XADD"},
}

const (
	canaryTTL  = time.Minute          // should its DEL not be reached
	canaryRest = 5 * time.Millisecond // for the one that expires
)

// saw notes an event of the canary; the receive loop calls it.
func (c *canary) saw(event string) {
	for i := range canaryClasses {
		if canaryClasses[i].event == event {
			c.seen.Or(1 << i)
		}
	}
}

// sing writes the canary. It returns which classes were provoked, and what was refused.
func (c *canary) sing(ctx context.Context, s *session) (provoked uint32, refusals []string, err error) {
	c.seen.Store(0)
	answers := make([]*redis.Cmd, len(canaryClasses))
	var chosen *redis.Cmd
	home := s.l.home()
	err = s.desk.ask(ctx, func(p redis.Pipeliner) {
		if s.l.selects() {
			chosen = p.Do(ctx, "SELECT", home)
		}
		answers[0] = p.Do(ctx, "SET", c.key, "1", "PX", "1")
	})
	if err != nil {
		return 0, nil, err
	}
	if chosen != nil && chosen.Err() != nil {
		return 0, []string{fmt.Sprintf("SELECT %d (%s)", home, chosen.Err())}, nil
	}
	rest := time.NewTimer(canaryRest)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	err = s.desk.ask(ctx, func(p redis.Pipeliner) {
		answers[1] = p.Do(ctx, "EXISTS", c.key)
		for i, class := range canaryClasses[3:] {
			answers[3+i] = p.Do(ctx, append([]any{class.name, c.key}, class.args...)...)
			p.Do(ctx, "PEXPIRE", c.key, canaryTTL.Milliseconds())
			answers[2] = p.Do(ctx, "DEL", c.key)
		}
	})
	if err != nil {
		return 0, nil, err
	}
	for i, cmd := range answers {
		if err := cmd.Err(); err != nil {
			refusals = append(refusals, fmt.Sprintf("%s (%s)", canaryClasses[i].flag, err))
			continue
		}
		provoked |= 1 << i
	}
	if answers[0].Err() != nil {
		provoked &^= 1 << 1 // nothing was there to expire
	}
	return provoked, refusals, nil
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
	c := &canary{key: key, channel: channelName(Keyspace, home, key)}
	s.canary = c
	if !s.hears(home, key) {
		exact := &subscribe{exact: c.channel}
		if err := s.subscribe(ctx, exact); err != nil {
			return err
		}
	}
	provoked, refusals, err := c.sing(ctx, s)
	if err != nil {
		return err
	}
	if provoked == 0 {
		return &SetupError{MissingACL, s.canaryLine(refusal), fmt.Errorf("%w: CONFIG is refused (%w) and so are canaries (%s)",
			ErrNotEnabled, refusal, strings.Join(refusals, ", "))}
	}
	if err := s.roundTrip(ctx); err != nil {
		return err
	}
	if lost := c.missing(provoked); lost != "" {
		return &SetupError{MissingFlags, flagsName + " " + addFlags("", o.Channels),
			fmt.Errorf("%w: CONFIG is refused (%w), and %w for classes %s", ErrNotEnabled, refusal, errMute, lost)}
	}
	s.doubt("flags unproven: CONFIG refused, canary only (evictions and module events cannot be provoked)")
	for _, r := range refusals {
		s.doubt("flags unproven: class " + r)
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
		rules = append(rules, "+"+strings.ToLower(class.name))
	}
	return aclLine(s.user(), rules...)
}

// auditCanary is the canary of a live session.
func (s *session) auditCanary(ctx context.Context) error {
	provoked, refusals, err := s.canary.sing(ctx, s)
	if err != nil {
		return err
	}
	if provoked == 0 {
		return fmt.Errorf("the canary is refused: %s", strings.Join(refusals, ", "))
	}
	if err := s.fenceHere(ctx); err != nil {
		return err
	}
	if lost := s.canary.missing(provoked); lost != "" {
		return cause{GapFlags, fmt.Errorf("%w for classes %s", errMute, lost)}
	}
	return nil
}
