package invalidate

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// within ends a test that hangs; it measures nothing.
const within = 20 * time.Second

// patient is a heartbeat that keeps out of a test's way, beside a silence that no test lives to see.
var patient = notify.Options{Heartbeat: 100 * time.Millisecond, PongTimeout: time.Hour, AuditEvery: -1}

// soon ends a test that hangs, and counts calls that must not succeed as failed no sooner than the test says.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

// connect makes a tracker that ends with the test.
func connect(t testing.TB, rdb redis.UniversalClient, opts Options) *Tracker {
	t.Helper()
	return without(t, rdb, opts, 0)
}

// without is connect with guards taken out.
func without(t testing.TB, rdb redis.UniversalClient, opts Options, out guard.Set) *Tracker {
	t.Helper()
	ctx, cancel := context.WithTimeout(guard.Without(t.Context(), out), within)
	defer cancel()
	tr, err := Connect(ctx, rdb, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// through is a client of s by way of a proxy. It gives up on an answer soon, and at once for good.
func through(t testing.TB, s *redistest.Server, opts ...func(*redis.Options)) (*redis.Client, *faultproxy.Proxy) {
	t.Helper()
	p := faultproxy.New(t, s.Addr())
	return s.Client(t, append([]func(*redis.Options){func(o *redis.Options) {
		o.Addr, o.MaxRetries = p.Addr(), -1
		o.DialTimeout, o.ReadTimeout = 2*time.Second, 300*time.Millisecond
	}}, opts...)...), p
}

// subscription is the tracker's stream among a proxy's links.
func subscription(p *faultproxy.Proxy) faultproxy.Links { return p.Having("psubscribe") }

func fence(t testing.TB, tr *Tracker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := tr.Fence(ctx); err != nil {
		t.Fatal(err)
	}
}

func touch(t testing.TB, tr *Tracker, names ...Name) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := tr.Touch(ctx, names...); err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, rdb *redis.Client, key string, value any) {
	t.Helper()
	if err := rdb.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// diary writes down what the hooks are told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) hooks() Hooks {
	return Hooks{
		Invalidated: func(n Name, event string) { d.write(event + " " + n.String()) },
		Epoch:       func(reason string) { d.write("all: " + reason) },
	}
}

// read returns what was written since the last read.
func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// has reports whether line has been written since the last read.
func (d *diary) has(line string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if l == line {
			return true
		}
	}
	return false
}

func inDB(db int) func(*redis.Options) { return func(o *redis.Options) { o.DB = db } }

func as(user string) func(*redis.Options) {
	return func(o *redis.Options) { o.Username, o.Password = user, "secret" }
}
