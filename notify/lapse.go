package notify

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// mendedName is nobody's key: it is what a listener that switched notifications on says so under. Every other finds them on
// whenever it looks, and has missed events all the same. It is the same whatever the Namespace, since the flags are the
// whole server's.
const mendedName = "freshet:mended"

func mendedChannel(db int) string { return "__keyspace@" + strconv.Itoa(db) + "__:" + mendedName }

// hearMended subscribes to word of mended flags, where what is subscribed does not bring it anyway.
func (s *session) hearMended(ctx context.Context, prefixes []string) error {
	if s.l.opts.Channels == Keyspace && prefixes == nil {
		return nil
	}
	sub := &subscribe{exact: mendedChannel(s.l.home()), optional: true, done: make(chan struct{})}
	if err := s.subscribe(ctx, sub); err != nil {
		return err
	}
	if sub.err != nil {
		s.doubt(fmt.Sprintf("flags that another process mends unheard: %q may not be subscribed: %v", sub.exact, sub.err))
	}
	return nil
}

// setFlags switches notifications on. Word of it goes out before, so that it cannot be on unannounced, and after, since
// only then nothing more is missed.
func (s *session) setFlags(ctx context.Context, want string) (set *redis.Cmd, err error) {
	n, err := s.countDatabases(ctx)
	if err != nil {
		return nil, err
	}
	err = s.desk.ask(ctx, func(p redis.Pipeliner) {
		tell := func() {
			for db := range n {
				p.Do(ctx, "PUBLISH", mendedChannel(db), s.l.id)
			}
		}
		tell()
		set = p.Do(ctx, "CONFIG", "SET", flagsName, want)
		tell()
	})
	return set, err
}

// lapse declares that events were lost up to here, though the session lives: R10 without a new one.
func (l *Listener) lapse(reason string) {
	l.stream.Lock()
	defer l.stream.Unlock()
	if l.live {
		l.lose(reason)
		l.resume()
	}
}
