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

// Fails when isolate cuts less: with what the Sentinels dial left alone, they never believe in the primary's end; with
// what its replicas dial left alone, one of them has the write that it must not hear of.
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
	deposedServes(t, rdb, "k", "unheard")
	now := awaitOther(t, g, old)
	t.Logf("promoted after %v", time.Since(start))

	if err := now.Client(t).Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("the new primary has what it cannot have heard: %v", err)
	}
	deposedServes(t, rdb, "k", "still")
	if err := sub.Ping(ctx); err != nil {
		t.Errorf("PING on a subscription: %v", err)
	}
	if _, ok := receive(t, sub).(*redis.Pong); !ok {
		t.Error("no PONG on a subscription")
	}
	if got := old.Role(t); got != "master" {
		t.Errorf("the deposed primary says that it is %s", got)
	}
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
	if _, ok := receive(t, sub).(*redis.Subscription); !ok {
		t.Fatal("no subscription")
	}
	return sub
}

func receive(t *testing.T, sub *redis.PubSub) any {
	t.Helper()
	m, err := sub.Receive(context.Background())
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return m
}

func deposedServes(t *testing.T, rdb *redis.Client, key, value string) {
	t.Helper()
	ctx := context.Background()
	if err := rdb.Set(ctx, key, value, 0).Err(); err != nil {
		t.Errorf("SET at an isolated primary: %v", err)
	}
	if got, err := rdb.Get(ctx, key).Result(); err != nil || got != value {
		t.Errorf("GET at an isolated primary = %q, %v, want %q", got, err, value)
	}
}
