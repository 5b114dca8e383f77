package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrTopology says that it is not known which servers are the primaries, or that others became so meanwhile.
var ErrTopology = errors.New("notify: the primaries are in doubt")

// Primaries is a client that speaks to the very servers that are listened to and follows no redirection, and an instant up to
// which nobody else was a primary: what it reads is at least as new as that. With one server it is the client that
// Listen was given, and now. It is nil while the stream is not live. It tries nothing twice. It is the listener's: do not
// close it. When other servers become the primaries it is closed, and what is under way on it fails.
func (l *Listener) Primaries() (rdb redis.UniversalClient, agreed time.Time) {
	if l.electorate == nil {
		return l.rdb, time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.synced || l.seats.agreed.IsZero() {
		return nil, time.Time{}
	}
	return l.seats.client, l.seats.agreed
}

// OnPrimaries calls do with a client as [Listener.Primaries] gives it, and returns nil if do did and if these were still the
// primaries when it had: what do has written is then on the primaries, though a failover that comes later may lose it. With
// Sentinels or a Cluster it asks a majority afterwards, a round trip; else it costs nothing. Its error is do's, or
// wraps [ErrTopology], at once where they are in doubt and else after a moment; or is ctx's.
func (l *Listener) OnPrimaries(ctx context.Context, do func(redis.UniversalClient) error) error {
	return l.confirmed(ctx, func(rdb redis.UniversalClient, _ string) error { return do(rdb) })
}

// Through is OnPrimaries with a client of one primary, for what is published: it is then what every listener's fence
// covers. Of a Cluster it is the primary that has been one the longest: who has just joined others may not listen to yet.
func (l *Listener) Through(ctx context.Context, do func(redis.UniversalClient) error) error {
	return l.confirmed(ctx, func(rdb redis.UniversalClient, eldest string) error {
		if c, ok := rdb.(*redis.ClusterClient); ok {
			primary, err := c.MasterForKey(ctx, eldest)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrTopology, err)
			}
			rdb = primary
		}
		return do(rdb)
	})
}

// confirmed calls do with a client of all primaries and a key of the eldest's, and returns nil if they still were that.
func (l *Listener) confirmed(ctx context.Context, do func(rdb redis.UniversalClient, eldest string) error) error {
	if l.electorate == nil {
		return do(l.rdb, "")
	}
	l.mu.Lock()
	rdb, v, agreed, eldest, why := l.seats.client, l.seats.view, l.seats.agreed, l.seats.eldest, l.seats.reason()
	l.mu.Unlock()
	if agreed.IsZero() {
		return fmt.Errorf("%w: %s", ErrTopology, cmp.Or(strings.TrimPrefix(why, doubt), "nobody has been asked yet"))
	}
	if err := do(rdb, eldest); err != nil {
		return err
	}
	done := time.Now()
	limited, cancel := context.WithTimeout(ctx, 2*l.opts.PongTimeout)
	defer cancel()
	l.askVoters()
	still := false
	err := l.wait(limited, func() bool {
		still = l.seats.view == v && l.seats.cause == nil
		return !still || l.seats.agreed.After(done)
	})
	switch {
	case errors.Is(err, ErrClosed) || ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%w: no majority answered within %v", ErrTopology, 2*l.opts.PongTimeout)
	case !still:
		return ErrTopology
	}
	return nil
}
