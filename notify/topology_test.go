package notify

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// proofs notes the newest instant that Hooks.Pong has proven.
type proofs struct {
	*recorder
	newest atomic.Int64 // UnixNano
}

func (p *proofs) hooks() Hooks {
	h := p.recorder.hooks()
	h.Pong = func(sent, _ time.Time) { p.newest.Store(sent.UnixNano()) }
	return h
}

func (p *proofs) proven() time.Time { return time.Unix(0, p.newest.Load()) }

// unprovenSince fails if anything after t is proven while the listener's sessions hear n more events.
func (p *proofs) unprovenSince(t *testing.T, at time.Time, hear func() string) {
	t.Helper()
	for n := 1; n <= 10; n++ {
		p.awaitEvent(t, hear(), n)
		if proven := p.proven(); proven.After(at) {
			t.Fatalf("%v after another was promoted is proven", proven.Sub(at))
		}
		time.Sleep(20 * time.Millisecond) // a heartbeat
	}
}

// A primary that was deposed behind a partition answers pings as before, and the Sentinel that is behind it too has heard
// of nothing. What it tells is told, but proves nothing, and no fence returns.
// Seen to fail without l.seats.agreed in prove, and in confirmed, and with one Sentinel for a majority.
func TestDeposedBySentinels(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 3, 1)
	old, behind := g.Servers[0], g.Sentinels[0]
	var link gate
	o := g.FailoverOptions()
	o.Dialer = link.Dial
	rdb := redis.NewFailoverClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	r := &proofs{recorder: newRecorder()}
	l := listen(t, rdb, Options{Sentinel: o, Heartbeat: 20 * time.Millisecond, PongTimeout: time.Minute, Hooks: r.hooks()})

	mine := []string{old.Addr(), behind.Addr()}
	link.Shut(func(addr string, _ []byte) bool { return !slices.Contains(mine, addr) })
	g.Isolate(old, behind)
	promoted := g.Primary(t)
	for promoted == old {
		time.Sleep(20 * time.Millisecond)
		promoted = g.Primary(t)
	}
	at := time.Now()
	deposed := old.Client(t)
	r.unprovenSince(t, at, func() string {
		if err := deposed.Set(testContext(t), "k", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		return "set k"
	})
	short, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if err := l.Fence(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fence behind the partition: %v", err)
	}
	if rdb, agreed := l.Primaries(); rdb != nil && agreed.After(at) {
		t.Errorf("loads are told that the deposed one is a primary, as of %v after it was not", agreed.Sub(at))
	}
	for name, on := range map[string]func(context.Context, func(redis.UniversalClient) error) error{"Through": l.Through, "OnPrimaries": l.OnPrimaries} {
		short, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
		if err := on(short, func(redis.UniversalClient) error { return nil }); err == nil {
			t.Errorf("%s: what was sent to the deposed one counts as sent to the primary", name)
		}
		cancel()
	}

	link.Shut(nil)
	fenced(t, l)
	if st := l.Status(); st.Addr != promoted.Addr() {
		t.Errorf("listening to %s, %s is the primary", st.Addr, promoted.Addr())
	}
	if err := promoted.Client(t).Set(testContext(t), "k2", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got := r.events(); !slices.Equal(got[len(got)-3:], []string{"gap topology", "synced", "set k2"}) {
		t.Errorf("told %q", got)
	}
}

// The same of a Cluster, when no other primary can be asked, though they are heard.
// Seen to fail without l.seats.agreed in prove, and with half of the voters for a majority.
func TestDeposedByCluster(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 1)
	old := c.Primary(t, "k")
	var link gate
	rdb := c.Client(t, func(o *redis.ClusterOptions) { o.Dialer = link.Dial })
	r := &proofs{recorder: newRecorder()}
	l := listen(t, rdb, Options{Heartbeat: 20 * time.Millisecond, PongTimeout: time.Minute, AuditEvery: -1, Hooks: r.hooks()})

	link.Shut(func(addr string, sent []byte) bool {
		return addr != old.Addr() && bytes.Contains(sent, []byte("cluster\r\n"))
	})
	replica := c.Replica(t, old)
	c.Isolate(old)
	for replica.Role(t) != "master" {
		time.Sleep(20 * time.Millisecond)
	}
	at := time.Now()
	r.unprovenSince(t, at, func() string {
		if err := old.Client(t).Publish(testContext(t), "__keyspace@0__:k", "heard").Err(); err != nil {
			t.Fatal(err)
		}
		return "heard k"
	})
	short, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if err := l.Fence(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fence behind the partition: %v", err)
	}

	link.Shut(nil)
	fenced(t, l)
	if err := replica.Client(t).Set(testContext(t), "k", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got := r.events(); got[len(got)-1] != "set k" || !slices.Contains(got, "gap topology") {
		t.Errorf("told %q", got)
	}
}
