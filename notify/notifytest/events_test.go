package notifytest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify/notifytest"
)

// listener is a subscription to everything, with a fence.
type listener struct {
	t  testing.TB
	ps *redis.PubSub
	n  int
}

func listen(t testing.TB, rdb *redis.Client, patterns ...string) *listener {
	t.Helper()
	if len(patterns) == 0 {
		patterns = []string{"__key*@*__:*"}
	}
	l := &listener{t: t, ps: rdb.PSubscribe(context.Background(), patterns...)}
	t.Cleanup(func() { _ = l.ps.Close() })
	for range patterns {
		if _, err := l.ps.ReceiveTimeout(context.Background(), 10*time.Second); err != nil {
			t.Fatalf("subscribe: %v", err)
		}
	}
	return l
}

// drain returns what came before the answer to a PING sent now: on both
// servers that is every event of every command that has been answered.
func (l *listener) drain() []string {
	l.t.Helper()
	l.n++
	nonce := fmt.Sprint("nonce", l.n)
	if err := l.ps.Ping(context.Background(), nonce); err != nil {
		l.t.Fatalf("ping: %v", err)
	}
	var events []string
	for {
		m, err := l.ps.ReceiveTimeout(context.Background(), 10*time.Second)
		if err != nil {
			l.t.Fatalf("receive: %v", err)
		}
		switch m := m.(type) {
		case *redis.Message:
			events = append(events, m.Channel+" "+m.Payload)
		case *redis.Pong:
			if m.Payload != nonce {
				l.t.Fatalf("pong %q, want %q", m.Payload, nonce)
			}
			return events
		default:
			l.t.Fatalf("unexpected %T %v", m, m)
		}
	}
}

func enable(t testing.TB, rdb *redis.Client, flags string) {
	t.Helper()
	if err := rdb.ConfigSet(context.Background(), "notify-keyspace-events", flags).Err(); err != nil {
		t.Fatal(err)
	}
}

// do runs a line of words on one connection; words in double quotes are Go's.
func do(c *redis.Conn, line string) error {
	var args []any
	for _, w := range strings.Split(line, " ") {
		if q, err := strconv.Unquote(w); err == nil && w[0] == '"' {
			w = q
		}
		args = append(args, w)
	}
	err := c.Do(context.Background(), args...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// TestEventsAsRedis compares each row of the table with a real server. Seen to
// fail, in the history it is in, with a row taken out of writeCommands.
func TestEventsAsRedis(t *testing.T) {
	real, ours := redistest.Start(t), notifytest.Start(t)
	type side struct {
		rdb    *redis.Client
		conn   *redis.Conn
		events *listener
	}
	sides := make(map[string]side)
	for name, addr := range map[string]string{"redis": real.Addr(), "embedded": ours.Addr} {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = rdb.Close() })
		enable(t, rdb, "KEAn")
		sides[name] = side{rdb, rdb.Conn(), listen(t, rdb)}
	}
	known, err := sides["redis"].rdb.Command(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	product, _, err := real.Version()
	if err != nil {
		t.Fatal(err)
	}
	refuses := slices.Contains(known["blpop"].Flags, "noscript")
	if !refuses {
		t.Logf("NOT COMPARED: the errors of %s, which this server has none of", blockingInScripts)
	}
	for _, h := range histories {
		if product == "Valkey" && strings.HasSuffix(h.name, inThePast) {
			t.Logf("NOT RUN: %s, for Valkey differs from Redis, and the embedded server does as Redis", h.name)
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			for name, s := range sides {
				if err := s.rdb.FlushAll(context.Background()).Err(); err != nil {
					t.Fatal(name, err)
				}
			}
			var sum [2][]string
			for line := range strings.SplitSeq(strings.TrimSpace(h.lines), "\n") {
				want, wantErr := step(sides["redis"].conn, sides["redis"].events, line)
				got, gotErr := step(sides["embedded"].conn, sides["embedded"].events, line)
				if h.whole {
					sum[0], sum[1] = append(sum[0], got...), append(sum[1], want...)
				} else if !slices.Equal(got, want) {
					t.Errorf("%q:\n got %q (%v)\nwant %q (%v)", line, got, gotErr, want, wantErr)
				}
				if h.name == blockingInScripts && !refuses {
					wantErr = gotErr
				}
				if (gotErr == nil) != (wantErr == nil) {
					t.Errorf("%q: got error %v, want %v", line, gotErr, wantErr)
				}
			}
			if !slices.Equal(sum[0], sum[1]) {
				t.Errorf("\n got %q\nwant %q", sum[0], sum[1])
			}
		})
	}
}

func step(c *redis.Conn, l *listener, line string) ([]string, error) {
	err := do(c, line)
	return l.drain(), err
}
