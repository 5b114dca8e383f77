package redistest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/leak"
)

func TestSentinels(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	start := time.Now()
	g := StartSentinels(t, 3, 2, "--notify-keyspace-events", "KEA")
	t.Logf("ready after %v", time.Since(start))
	if got := g.Primary(t); got != g.Servers[0] {
		t.Errorf("primary is %s, want %s", got.Addr(), g.Servers[0].Addr())
	}
	rdb := g.Client(t)
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	now := g.Failover(t)
	t.Logf("failed over after %v", time.Since(start))
	if now == g.Servers[0] || now != g.Primary(t) || now.Role(t) != "master" {
		t.Errorf("after Failover %s is primary", now.Addr())
	}
	g.Settle(t)
	t.Logf("settled after %v", time.Since(start))
	if got := g.Servers[0].Role(t); got != "slave" {
		t.Errorf("the former primary says that it is %s", got)
	}
	if err := rdb.Set(ctx, "k", "w", 0).Err(); err != nil {
		t.Errorf("SET by the Sentinels' client: %v", err)
	}
	if got, err := now.Client(t).Get(ctx, "k").Result(); err != nil || got != "w" {
		t.Errorf("the new primary has k = %q, %v", got, err)
	}
}

func TestSentinelsCrashAndPause(t *testing.T) {
	leak.Check(t)
	g := StartSentinels(t, 3, 1)
	g.Sentinels[0].Kill() // a majority is left
	old := g.Primary(t)
	old.Pause()
	awaitOther(t, g, old)
	old.Resume()
	g.Sentinels[0].Restart()
	g.Settle(t)
	if got := old.Role(t); got != "slave" {
		t.Errorf("the former primary says that it is %s", got)
	}
}

func awaitOther(t *testing.T, g *SentinelGroup, old *Server) *Server {
	t.Helper()
	now := old
	await(t, "promotion", func() error {
		if now = g.Primary(t); now == old || now.Role(t) != "master" {
			return fmt.Errorf("primary is %s", now.Addr())
		}
		return nil
	})
	return now
}

// Fails when less is cut: without the mark of the Sentinels, they never believe in the primary's end; without that of the
// replicas, one of them has the write that it must not hear of.
func TestSentinelIsolate(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	g := StartSentinels(t, 3, 2)
	old := g.Primary(t)
	rdb := old.Client(t)
	sub := subscribe(t, rdb)

	astray := g.Sentinels[2]
	g.Isolate(old, astray)
	start := time.Now()
	servesOn(t, old, rdb, sub, "unheard")
	now := awaitOther(t, g, old)
	t.Logf("promoted after %v", time.Since(start))

	if err := now.Client(t).Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("the new primary has what it cannot have heard: %v", err)
	}
	servesOn(t, old, rdb, sub, "still")
	if m, err := astray.tells(); err != nil || m["port"] != fmt.Sprint(old.Port()) {
		t.Errorf("the Sentinel beside the deposed primary names port %s, want %d: %v", m["port"], old.Port(), err)
	}

	g.Heal()
	start = time.Now()
	g.Settle(t)
	t.Logf("healed after %v", time.Since(start))
	if got := old.Role(t); got != "slave" {
		t.Errorf("after Heal the deposed primary says that it is %s", got)
	}
	if m, err := astray.tells(); err != nil || m["port"] != fmt.Sprint(now.Port()) {
		t.Errorf("after Heal the Sentinel names port %s, want %d: %v", m["port"], now.Port(), err)
	}
}

// subscribe returns once the server has confirmed.
func subscribe(t *testing.T, rdb *redis.Client) *redis.PubSub {
	t.Helper()
	sub := rdb.Subscribe(context.Background(), "c")
	closeAtEnd(t, sub)
	if m, err := sub.Receive(context.Background()); err != nil {
		t.Fatalf("subscription: %v, %v", m, err)
	}
	return sub
}

// servesOn checks that a primary that is cut off takes writes, answers PING to a subscriber and knows of no other.
func servesOn(t *testing.T, s *Server, rdb *redis.Client, sub *redis.PubSub, value string) {
	t.Helper()
	ctx := context.Background()
	if err := rdb.Set(ctx, "k", value, 0).Err(); err != nil {
		t.Errorf("SET: %v", err)
	}
	if got, err := rdb.Get(ctx, "k").Result(); err != nil || got != value {
		t.Errorf("GET = %q, %v, want %q", got, err, value)
	}
	if err := sub.Ping(ctx); err != nil {
		t.Errorf("PING on a subscription: %v", err)
	}
	if m, err := sub.Receive(ctx); err != nil {
		t.Errorf("PONG on a subscription: %v", err)
	} else if _, ok := m.(*redis.Pong); !ok {
		t.Errorf("PONG on a subscription: %v", m)
	}
	if got := s.Role(t); got != "master" {
		t.Errorf("it says that it is %s", got)
	}
}
