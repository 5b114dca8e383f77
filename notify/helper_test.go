package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience ends a test that hangs; it measures nothing.
const patience = 30 * time.Second

// never is a cadence that no test lives to see.
const never = time.Hour

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// recorder writes down what the hooks are told.
type recorder struct {
	mu      sync.Mutex
	told    []Event
	pongs   int
	configs []string
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) hooks() Hooks {
	return Hooks{
		Event: func(ev *Event) {
			if ev.Kind == Flush && ev.Reason != "" {
				return // told once more, by an audit
			}
			r.note(func() { r.told = append(r.told, *ev) })
		},
		Pong:   func(sent, received time.Time) { r.note(func() { r.pongs++ }) },
		Config: func(was, is string) { r.note(func() { r.configs = append(r.configs, was+">"+is) }) },
	}
}

// proofs is how often Hooks.Pong was called.
func (r *recorder) proofs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pongs
}

// events is the stream so far in short: "set a", "gap silence", "flush", "synced"; with a database other than 0 "set 3:a".
func (r *recorder) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, ev := range r.told {
		out = append(out, short(ev))
	}
	return out
}

func short(ev Event) string {
	switch {
	case ev.Kind == Change && ev.DB != 0:
		return fmt.Sprintf("%s %d:%s", ev.Name, ev.DB, ev.Key)
	case ev.Kind == Change:
		return ev.Name + " " + ev.Key
	case ev.Kind == Gap && ev.Dropped > 0:
		return fmt.Sprintf("gap %s %d", ev.Reason, ev.Dropped)
	case ev.Kind == Gap:
		return "gap " + ev.Reason
	}
	return ev.Kind.String()
}

// await waits until ok of the stream so far.
func (r *recorder) await(t testing.TB, what string, ok func(events []string) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if ok(r.events()) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("not within %v: %s; told so far: %q", patience, what, r.events())
		}
	}
}

// awaitEvent waits until the stream has told want for the nth time.
func (r *recorder) awaitEvent(t testing.TB, want string, nth int) {
	t.Helper()
	r.await(t, fmt.Sprintf("%q, %d times", want, nth), func(events []string) bool {
		n := 0
		for _, ev := range events {
			if ev == want {
				n++
			}
		}
		return n >= nth
	})
}

// listen starts a listener that ends with the test.
func listen(t testing.TB, rdb redis.UniversalClient, opts Options) *Listener {
	t.Helper()
	l, err := Listen(testContext(t), rdb, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// recorded is listen with the hooks written down.
func recorded(t testing.TB, rdb redis.UniversalClient, opts Options) (*Listener, *recorder) {
	t.Helper()
	r := newRecorder()
	opts.Hooks = r.hooks()
	return listen(t, rdb, opts), r
}

func fenced(t testing.TB, l *Listener) {
	t.Helper()
	if err := l.Fence(testContext(t)); err != nil {
		t.Fatalf("Fence: %v", err)
	}
}

// do runs one command.
func do(t testing.TB, rdb *redis.Client, args ...any) {
	t.Helper()
	if err := rdb.Do(testContext(t), args...).Err(); err != nil && err != redis.Nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// run runs commands written as a person would type them.
func run(t testing.TB, rdb *redis.Client, lines ...string) {
	t.Helper()
	for _, line := range lines {
		var args []any
		for _, f := range strings.Fields(line) {
			args = append(args, f)
		}
		do(t, rdb, args...)
	}
}

// same compares the stream from its first Synced on.
func same(t testing.TB, r *recorder, want ...string) {
	t.Helper()
	if got := r.events(); !slices.Equal(got, want) {
		t.Errorf("told %q\nwant %q", got, want)
	}
}

func reasons(l *Listener) string { return strings.Join(l.Status().Reasons, "\n") }

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
