package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

// next reads one event in short.
func next(t testing.TB, s *Stream) string {
	t.Helper()
	ev, err := s.Next(testContext(t))
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return short(ev)
}

func TestReaders(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l := listen(t, rdb, Options{AuditEvery: never})
	all, err := l.Open(Reader{})
	if err != nil {
		t.Fatal(err)
	}
	some, err := l.Open(Reader{Pattern: "a:*", Names: []string{"set", "expired", "made-up"}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, rdb, "SET a:1 1", "SET b:1 1", "DEL a:1", "FLUSHALL", "PUBLISH __keyspace@0__:a:2 made-up", "CLIENT KILL TYPE pubsub")
	for _, want := range []string{"set a:1", "set b:1", "del a:1", "flush", "made-up a:2", "gap connection", "synced"} {
		if got := next(t, all); got != want {
			t.Errorf("all: %q, want %q", got, want)
		}
	}
	for _, want := range []string{"set a:1", "flush", "made-up a:2", "gap connection", "synced"} {
		if got := next(t, some); got != want {
			t.Errorf("some: %q, want %q", got, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := all.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended ctx: %v", err)
	}
	some.Close()
	some.Close()
	if _, err := some.Next(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after the stream's Close: %v", err)
	}
	run(t, rdb, "SET c 1")
	if got := next(t, all); got != "set c" {
		t.Errorf("after the other was closed: %q", got)
	}
}

func TestEvents(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l := listen(t, rdb, Options{AuditEvery: never})
	reading := func() bool { return len(*l.queues.Load()) > 0 }
	type end struct {
		n   int
		err error
	}
	read := func(ctx context.Context, most int) <-chan end {
		ended := make(chan end, 1)
		go func() {
			var e end
			for _, err := range l.Events(ctx, Reader{Names: []string{"set"}}) {
				if e.err = err; err == nil {
					e.n++
				}
				if e.n == most {
					break
				}
			}
			ended <- e
		}()
		eventually(t, "the loop to begin", reading)
		return ended
	}
	broken := read(context.Background(), 2)
	run(t, rdb, "SET a 1", "SET b 1", "SET c 1")
	if e := <-broken; e.n != 2 || e.err != nil {
		t.Errorf("a loop broken off after two: %+v", e)
	}
	if reading() {
		t.Error("its queue is still there")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := read(ctx, -1)
	cancel()
	if e := <-cancelled; !errors.Is(e.err, context.Canceled) {
		t.Errorf("a cancelled loop: %+v", e)
	}
	closed := read(context.Background(), -1)
	l.Close()
	if e := <-closed; !errors.Is(e.err, ErrClosed) {
		t.Errorf("a loop over a closed listener: %+v", e)
	}
	n := 0
	for _, err := range l.Events(context.Background(), Reader{}) {
		if n++; !errors.Is(err, ErrClosed) {
			t.Errorf("a loop begun after Close: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d rounds, want the error once", n)
	}
}

// TestHandlers: a slow one delays nobody, a panicking one goes on, and a stopped one is not called again.
func TestHandlers(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	var logged strings.Builder
	l, r := recorded(t, rdb, Options{AuditEvery: never, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	gate := make(chan struct{})
	if _, err := l.Handle(Reader{}, func(context.Context, Event) { <-gate }); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	stop, err := l.Handle(Reader{Pattern: "k*"}, func(_ context.Context, ev Event) {
		mu.Lock()
		got = append(got, short(ev))
		mu.Unlock()
		if ev.Key == "k1" {
			panic("boom")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, rdb, "SET k1 1", "SET k2 1")
	fenced(t, l)
	handled := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(got) }
	eventually(t, "both calls", func() bool { return len(handled()) == 2 })
	same(t, r, "synced", "set k1", "set k2") // though one handler hangs
	stop()
	stop()
	run(t, rdb, "SET k3 1")
	fenced(t, l)
	close(gate)
	l.Close()
	if want := []string{"set k1", "set k2"}; !slices.Equal(handled(), want) {
		t.Errorf("handled %q, want %q", handled(), want)
	}
	if st := l.Stats(); st.Panics != 1 || st.Gaps != 0 {
		t.Errorf("Stats: %+v", st)
	}
	if s := logged.String(); !strings.Contains(s, "boom") || !strings.Contains(s, "reader_test.go") {
		t.Errorf("the panic was logged as %q", s)
	}
}

// TestStopWaits: stop returns after the running call, and at once when called from within it.
func TestStopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bare()
		defer l.Close()
		entered, gate := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		stop, err := l.Handle(Reader{}, func(ctx context.Context, ev Event) {
			calls.Add(1)
			close(entered)
			<-gate
		})
		if err != nil {
			t.Fatal(err)
		}
		l.say(Event{Key: "1"})
		<-entered
		l.say(Event{Key: "2"})
		var returned atomic.Bool
		go func() { stop(); returned.Store(true) }()
		synctest.Wait()
		if returned.Load() {
			t.Error("stop returned during the call")
		}
		close(gate)
		synctest.Wait()
		if !returned.Load() || calls.Load() != 1 {
			t.Errorf("returned %v after %d calls", returned.Load(), calls.Load())
		}

		var within func()
		ready, done := make(chan struct{}), make(chan struct{})
		within, err = l.Handle(Reader{}, func(ctx context.Context, ev Event) {
			<-ready
			within()
			if ctx.Err() == nil {
				t.Error("ctx goes on after stop")
			}
			close(done)
		})
		if err != nil {
			t.Fatal(err)
		}
		close(ready)
		l.say(Event{Key: "3"})
		l.say(Event{Key: "4"})
		<-done // a second call would close it again and be counted as a panic
		synctest.Wait()
		if n := l.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}

		closing := make(chan error, 1)
		if _, err = l.Handle(Reader{}, func(context.Context, Event) { closing <- l.Close() }); err != nil {
			t.Fatal(err)
		}
		l.say(Event{Key: "5"})
		if err := <-closing; err != nil {
			t.Error(err)
		}
	})
}

// bare is a listener that talks to no server: its stream is what say tells.
func bare() *Listener {
	return newListener(0, Options{}.withDefaults())
}

func (l *Listener) say(ev Event) {
	l.stream.Lock()
	defer l.stream.Unlock()
	l.emit(ev)
}

// TestOverflow: what a full queue drops is declared, counted, and the oldest.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bare()
		defer l.Close()
		s, err := l.Open(Reader{Queue: 20})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			for i := range 50 {
				l.say(Event{Key: fmt.Sprint(i), Name: "set"})
			}
			if got := next(t, s); got != "gap overflow 30" {
				t.Errorf("round %d: %q", round, got)
			}
			for i := 30; i < 50; i++ {
				if got, want := next(t, s), fmt.Sprintf("set %d", i); got != want {
					t.Errorf("round %d: %q, want %q", round, got, want)
				}
			}
		}
		// Read while it overflows.
		for i := range 21 {
			l.say(Event{Key: fmt.Sprint(i), Name: "set"})
		}
		for _, want := range []string{"gap overflow 1", "set 1", "set 2"} {
			if got := next(t, s); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		for i := range 4 {
			l.say(Event{Key: fmt.Sprint("x", i), Name: "set"})
		}
		for _, want := range []string{"gap overflow 2", "set 5"} {
			if got := next(t, s); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if st := l.Stats(); st.Dropped != 93 || st.GapsByReason[GapOverflow] != 5 {
			t.Errorf("Stats: %+v", st)
		}
	})
}

func TestNextWakesEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bare()
		defer l.Close()
		s, _ := l.Open(Reader{})
		var read atomic.Int32
		for range 8 {
			go func() {
				for {
					if _, err := s.Next(context.Background()); err != nil {
						return
					}
					read.Add(1)
				}
			}()
		}
		for range 100 {
			l.say(Event{})
		}
		synctest.Wait()
		if n := read.Load(); n != 100 {
			t.Errorf("eight readers read %d of 100", n)
		}
	})
}

func TestReaderValidates(t *testing.T) {
	l := newListener(0, Options{Prefixes: []string{"p:", "q*:"}}.withDefaults())
	defer l.Close()
	for _, c := range []struct {
		r    Reader
		want string // part of the error; "" for none
	}{
		{Reader{}, ""},
		{Reader{Queue: -1}, "Reader.Queue is -1: give at least 1"},
		{Reader{Names: []string{}}, "Reader.Names is empty"},
		{Reader{Names: []string{"set", ""}}, "Reader.Names holds an empty name"},
		{Reader{Names: []string{"keymiss"}}, "Reader.Names holds \"keymiss\", which is a read"},
		{Reader{Pattern: "p:*"}, ""},
		{Reader{Pattern: "*"}, ""},
		{Reader{Pattern: "?:1"}, ""},
		{Reader{Pattern: "[a-z]:"}, ""},
		{Reader{Pattern: "p*1"}, ""},
		{Reader{Pattern: `q\*:x`}, ""},
		{Reader{Pattern: "*x"}, ""},
		{Reader{Pattern: "p"}, `Reader.Pattern "p" matches no key that is subscribed: the prefixes are ["p:" "q*:"]; Subscribe`},
		{Reader{Pattern: "x*"}, "matches no key that is subscribed"},
		{Reader{Pattern: "[^pq]*"}, "matches no key that is subscribed"},
		{Reader{Pattern: `q\*x*`}, "matches no key that is subscribed"},
		{Reader{Pattern: "p:[]"}, "holds an empty class []"},
		{Reader{Pattern: "p:[abc"}, "holds a class without its ]"},
	} {
		s, err := l.Open(c.r)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.r, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c.r, err, c.want)
		case err == nil:
			s.Close()
		}
	}
	if _, err := l.Handle(Reader{}, nil); err == nil {
		t.Error("a nil handler was taken")
	}
}

func TestAfterClose(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	l := listen(t, srv.Client(t), Options{})
	s, err := l.Open(Reader{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ctx := context.Background()
	for name, err := range map[string]error{
		"Fence":      l.Fence(ctx),
		"Subscribe":  l.Subscribe(ctx, "p"),
		"WaitSynced": l.WaitSynced(ctx),
		"Open":       func() error { _, err := l.Open(Reader{}); return err }(),
		"Handle":     func() error { _, err := l.Handle(Reader{}, func(context.Context, Event) {}); return err }(),
		"Next":       func() error { _, err := s.Next(ctx); return err }(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if st := l.Status(); st.Synced || !slices.Equal(st.Reasons, []string{"closed"}) {
		t.Errorf("Status: %+v", st)
	}
	if st := l.Stats(); st.Gaps != 0 {
		t.Errorf("Close was counted as a gap: %+v", st)
	}
}

// TestHookPanics costs the session: what the hook was told may not have been applied.
func TestHookPanics(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	r := newRecorder()
	hooks := r.hooks()
	event, pong := hooks.Event, hooks.Pong
	var once, oncePong sync.Once
	hooks.Event = func(ev *Event) {
		event(ev)
		if ev.Key == "bad" {
			once.Do(func() { panic("boom") })
		}
		*ev = Event{} // nobody else's
	}
	hooks.Pong = func(s, r time.Time) { oncePong.Do(func() { panic("boom") }); pong(s, r) }
	l := listen(t, rdb, Options{Hooks: hooks, StartDown: true})
	if err := l.WaitSynced(testContext(t)); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	run(t, rdb, "SET bad 1")
	r.awaitEvent(t, "gap panic", 2)
	fenced(t, l)
	same(t, r, "synced", "gap panic", "synced", "set bad", "gap panic", "synced")
	if n := l.Stats().Panics; n != 2 {
		t.Errorf("%d panics", n)
	}
}
