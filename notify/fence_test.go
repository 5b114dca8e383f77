package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

// TestFenceOrder: whatever a writer had acknowledged before Fence was called has been told when Fence returns, with eight
// writers that fence at once.
// With done closed when the ping is written (in talk) instead of when its PONG is dispatched, this fails within milliseconds.
func TestFenceOrder(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	const writers, writes = 8, 150
	var told [writers]atomic.Int64
	var l *Listener
	hooks := Hooks{Event: func(ev *Event) {
		var w int
		var n int64
		if _, err := fmt.Sscanf(ev.Key, "%d:%d", &w, &n); err == nil {
			told[w].Store(n)
		}
	}}
	l = listen(t, srv.Client(t), Options{Hooks: hooks})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for w := range writers {
		rdb := srv.Client(t)
		wg.Go(func() {
			for n := int64(1); n <= writes; n++ {
				if err := rdb.Set(ctx, fmt.Sprintf("%d:%d", w, n), 1, 0).Err(); err != nil {
					t.Error(err)
					return
				}
				if err := l.Fence(ctx); err != nil {
					t.Error(err)
					return
				}
				if got := told[w].Load(); got != n {
					t.Errorf("writer %d fenced after write %d, and write %d was the last told", w, n, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestFenceSharesAPingSentAfterIt: a ping that is on the wire already is no answer to a fence that asks later; those that
// ask together share one.
// With askFence joining the pings on the wire, the fence returns here with the held PONG's ping, sent before it asked.
func TestFenceSharesAPingSentAfterIt(t *testing.T) {
	srv := redistest.Start(t)
	rdb, p := through(t, srv)
	r := newRecorder()
	var mu sync.Mutex
	var sent []time.Time
	hooks := r.hooks()
	hooks.Pong = func(at, _ time.Time) { mu.Lock(); defer mu.Unlock(); sent = append(sent, at) }
	l := listen(t, rdb, Options{Hooks: hooks, Heartbeat: 10 * time.Second, PongTimeout: patience, AuditEvery: never})
	seen := p.Having("psubscribe").HoldAt(faultproxy.ToClient, ":2\r\n") // the second ping's nonce
	first := make(chan error, 1)
	go func() { first <- l.Fence(context.Background()) }()
	<-seen
	asked := time.Now()
	const together = 50
	done := make(chan error, together)
	for range together {
		go func() { done <- l.Fence(context.Background()) }()
	}
	p.Having("psubscribe").Release(faultproxy.ToClient)
	for range together {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if last := sent[len(sent)-1]; last.Before(asked) {
		t.Error("fences were answered by a ping sent before they asked")
	}
	if n := len(sent); n > together/2 {
		t.Errorf("%d pings for %d fences at once", n, together)
	}
}

// TestFenceDoesNotWaitForTheHeartbeat: it wakes who pings.
// Without the nudge in askFence, the fence waits for an hour.
func TestFenceDoesNotWaitForTheHeartbeat(t *testing.T) {
	srv := redistest.Start(t)
	l := listen(t, srv.Client(t), Options{Heartbeat: never, PongTimeout: never, AuditEvery: never})
	for range 20 {
		fenced(t, l)
	}
	if err := l.Subscribe(testContext(t), "anything"); err != nil {
		t.Error(err)
	}
}

// TestFenceOutlivesItsSession: its ping was lost with the connection; the next session's answers it, after Synced.
func TestFenceOutlivesItsSession(t *testing.T) {
	srv := redistest.Start(t)
	rdb, p := through(t, srv)
	l, r := recorded(t, rdb, Options{Heartbeat: never, PongTimeout: never, AuditEvery: never})
	subs := p.Having("psubscribe")
	seen := subs.HoldAt(faultproxy.ToClient, ":2\r\n")
	done := make(chan []string, 1)
	go func() {
		if err := l.Fence(context.Background()); err != nil {
			t.Error(err)
		}
		done <- r.events()
	}()
	<-seen
	subs.Cut(faultproxy.RST)
	subs.Pass()
	if got := fmt.Sprint(<-done); got != "[synced gap connection synced]" {
		t.Errorf("told %s when the fence returned", got)
	}
	// Callers that give up leave nothing behind.
	p.Refuse()
	p.Cut(faultproxy.RST)
	r.awaitEvent(t, "gap connection", 2)
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-short.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for range 1000 {
		go l.Fence(ctx)
	}
	<-ctx.Done()
	l.mu.Lock()
	n := len(l.primaries[0].fences)
	l.mu.Unlock()
	if n > mostPings+1 {
		t.Errorf("%d fences wait for 1000 callers that gave up", n)
	}
	if err := l.Fence(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fence with an ended ctx: %v", err)
	}
}

// TestPong: sent was read before the ping was written, and every event before it has been told.
func TestPong(t *testing.T) {
	srv := redistest.Start(t)
	rdb, p := through(t, srv)
	var mu sync.Mutex
	var sent, received time.Time
	l := listen(t, rdb, Options{Heartbeat: 5 * time.Second, PongTimeout: patience, Hooks: Hooks{
		Pong: func(s, r time.Time) { mu.Lock(); defer mu.Unlock(); sent, received = s, r },
	}})
	seen := p.Having("psubscribe").HoldAt(faultproxy.ToServer, ":2\r\n")
	before := time.Now()
	done := make(chan error, 1)
	go func() { done <- l.Fence(context.Background()) }()
	<-seen
	written := time.Now()
	p.Having("psubscribe").Release(faultproxy.ToServer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if sent.Before(before) || sent.After(written) || received.Before(written) {
		t.Errorf("sent %v, received %v; asked at %v, on the wire by %v", sent, received, before, written)
	}
}
