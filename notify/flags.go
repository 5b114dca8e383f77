package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	flagsName  = "notify-keyspace-events"
	allClasses = "g$lshzxetd" // what A stands for on every server that has it; newer ones add to it
)

// enoughFlags reports whether every class of change is sent on ch. A server that has more classes than we know of
// writes A only when all of them are on, so A it must be.
func enoughFlags(flags string, ch Channels) bool {
	return strings.IndexByte(flags, 'A') >= 0 && strings.IndexByte(flags, ch.flag()) >= 0
}

// addFlags adds what is missing and takes nothing away.
func addFlags(flags string, ch Channels) string {
	var b strings.Builder
	for _, c := range flags {
		if c != 'A' && !strings.ContainsRune(allClasses, c) {
			b.WriteRune(c)
		}
	}
	if strings.IndexByte(flags, ch.flag()) < 0 {
		b.WriteByte(ch.flag())
	}
	b.WriteByte('A')
	return b.String()
}

// keepsFlags reports whether flags still say what good said.
func keepsFlags(flags, good string) bool {
	for _, c := range good {
		if !strings.ContainsRune(flags, c) && !(strings.ContainsRune(allClasses, c) && strings.Contains(flags, "A")) {
			return false
		}
	}
	return true
}

// askConfig puts CONFIG GET into p.
func askConfig(ctx context.Context, p redis.Pipeliner, name string) *redis.Cmd {
	return p.Do(ctx, "CONFIG", "GET", name)
}

var errNoSuchConfig = errors.New("CONFIG GET does not know " + flagsName)

// configValue reads the reply. A refusal comes back as the error.
func configValue(cmd *redis.Cmd, name string) (string, error) {
	if err := cmd.Err(); err != nil && err != redis.Nil {
		return "", err
	}
	value, ok := fields(cmd.Val())[name]
	if !ok {
		return "", errNoSuchConfig
	}
	return value, nil
}

// proveFlags makes sure that notifications are on, as far as Options.Flags allows, while the session is built.
func (s *session) proveFlags(ctx context.Context) error {
	o := &s.l.opts
	if o.Flags == FlagsTrust {
		s.doubt("flags unproven: FlagsTrust asks nothing")
		return nil
	}
	was, err := s.readFlags(ctx)
	if refused(err) || errors.Is(err, errNoSuchConfig) {
		return s.proveByCanary(ctx, err)
	}
	if err != nil {
		return err
	}
	if enoughFlags(was, o.Channels) {
		s.flags = was
		return nil
	}
	want := addFlags(was, o.Channels)
	missing := func(err error) error {
		return &SetupError{MissingFlags, flagsName + " " + want, fmt.Errorf("%w: it is %q: %w", ErrNotEnabled, was, err)}
	}
	if o.Flags == FlagsVerify {
		return missing(errors.New("FlagsVerify changes nothing"))
	}
	set, err := s.setFlags(ctx, want)
	if err != nil {
		return err
	}
	if err := set.Err(); err != nil {
		return missing(err)
	}
	is, err := s.readFlags(ctx)
	if err != nil {
		return err
	}
	if !keepsFlags(is, want) && !keepsFlags(is, allClasses+string(o.Channels.flag())) {
		return missing(fmt.Errorf("CONFIG SET %s %s left it %q", flagsName, want, is))
	}
	s.flags = is
	s.l.log.info("changed "+flagsName, "was", was, "is", is)
	if hook := o.Hooks.Config; hook != nil {
		s.l.stream.Lock()
		s.l.guard(func() { hook(was, is) })
		s.l.stream.Unlock()
	}
	return nil
}

func (s *session) readFlags(ctx context.Context) (string, error) {
	var cmd *redis.Cmd
	if err := s.desk.ask(ctx, func(p redis.Pipeliner) { cmd = askConfig(ctx, p, flagsName) }); err != nil {
		return "", err
	}
	return configValue(cmd, flagsName)
}
