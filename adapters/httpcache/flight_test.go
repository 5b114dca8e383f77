package httpcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// stage is a handler that a test holds before the header and before the end.
type stage struct {
	calls   atomic.Int64
	began   chan struct{} // one for each call
	header  chan func(w http.ResponseWriter)
	release chan struct{}
}

func newStage() *stage {
	return &stage{began: make(chan struct{}, 100), header: make(chan func(http.ResponseWriter), 100), release: make(chan struct{})}
}

func (st *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := st.calls.Add(1)
	st.began <- struct{}{}
	select {
	case f := <-st.header:
		f(w)
	case <-r.Context().Done():
		return
	}
	w.WriteHeader(http.StatusOK)
	select {
	case <-st.release:
	case <-r.Context().Done():
		return
	}
	fmt.Fprint(w, n)
}

func fresh(w http.ResponseWriter) { w.Header().Set("Cache-Control", "max-age=60") }

// crowd sends n requests at once; waiting says how many must wait for a flight before the test goes on.
func crowd(t *testing.T, s *site, n int, fields ...string) (answers chan answer, done *sync.WaitGroup) {
	answers, done = make(chan answer, n), new(sync.WaitGroup)
	for range n {
		done.Go(func() {
			a, err := s.try(context.WithoutCancel(t.Context()), http.MethodGet, "/a", nil, fields...)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	return answers, done
}

func (c *Cache) waiting() (n int) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	for _, f := range c.flights.byKey {
		n += f.waiters
	}
	return n
}

// A hundred requests, one call of the handler. The leader's client leaves in the middle: the others get it all.
func TestCoalesce(t *testing.T) {
	st := newStage()
	s := serve(t, Options{}, st.ServeHTTP)
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if _, err := s.try(ctx, http.MethodGet, "/a", nil); err == nil {
			t.Error("the leader's client had left")
		}
	}()
	<-st.began
	answers, done := crowd(t, s, 20)
	eventually(t, "all wait", func() bool { return s.c.waiting() == 20 })
	st.header <- fresh
	leave()
	<-gone
	close(st.release)
	done.Wait()
	for range 20 {
		a := <-answers
		if a.body != "1" || a.Header.Get("Cache-Status") != "freshet; fwd=uri-miss; collapsed" {
			t.Errorf("%q, %q", a.body, a.Header.Get("Cache-Status"))
		}
	}
	if n := st.calls.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
	s.wantHit("/a")
}

// What may not be shared releases those who wait as soon as its header is known, and the next ones do not wait at all.
func TestHitForMiss(t *testing.T) {
	for name, header := range map[string]func(http.ResponseWriter){
		"private":    func(w http.ResponseWriter) { w.Header().Set("Cache-Control", "private, max-age=60") },
		"no-store":   func(w http.ResponseWriter) { w.Header().Set("Cache-Control", "no-store") },
		"Set-Cookie": func(w http.ResponseWriter) { fresh(w); w.Header().Set("Set-Cookie", "a=b") },
		"no-cache": func(w http.ResponseWriter) {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("ETag", `"a"`)
		},
		"nothing": func(http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage()
			s := serve(t, Options{MaxWait: time.Hour}, st.ServeHTTP)
			first, ended := crowd(t, s, 1)
			<-st.began
			others, done := crowd(t, s, 10)
			eventually(t, "they wait", func() bool { return s.c.waiting() == 10 })
			st.header <- header
			for range 10 { // released by the header: the first is still at it
				<-st.began
			}
			late, lateDone := crowd(t, s, 3)
			for range 3 {
				<-st.began
			}
			if n := s.c.waiting(); n != 0 {
				t.Errorf("%d wait", n)
			}
			for range 13 {
				st.header <- header
			}
			close(st.release)
			ended.Wait()
			done.Wait()
			lateDone.Wait()
			seen := map[string]bool{}
			for _, from := range []chan answer{first, others, late} {
				for len(from) > 0 {
					seen[(<-from).body] = true
				}
			}
			if len(seen) != 14 {
				t.Errorf("%d different responses to 14 requests", len(seen))
			}
		})
	}
}

// Who selects another variant than the one that comes is released by its header.
func TestCoalesceByVary(t *testing.T) {
	st := newStage()
	s := serve(t, Options{MaxWait: time.Hour}, st.ServeHTTP)
	varied := func(w http.ResponseWriter) { fresh(w); w.Header().Set("Vary", "X-Who") }
	one, oneDone := crowd(t, s, 1, "X-Who", "one")
	<-st.began
	same, sameDone := crowd(t, s, 5, "X-Who", "one")
	other, otherDone := crowd(t, s, 1, "X-Who", "two")
	eventually(t, "they wait", func() bool { return s.c.waiting() == 6 })
	st.header <- varied
	<-st.began
	st.header <- varied
	close(st.release)
	oneDone.Wait()
	sameDone.Wait()
	otherDone.Wait()
	if a := <-one; a.body != "1" {
		t.Error(a.body)
	}
	for range 5 {
		if a := <-same; a.body != "1" {
			t.Error(a.body)
		}
	}
	if a := <-other; a.body != "2" {
		t.Error(a.body)
	}
}

// R4: who came after the data changed is not given a response whose handler began before, though it joined the flight.
// Without the question to ProvenFor in good it gets "old".
func TestJoinAfterWrite(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	began, gate := make(chan struct{}, 10), make(chan struct{})
	var truth atomic.Value
	truth.Store("old")
	s := serveOn(t, tracker, Options{MaxWait: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		invalidate.DependOn(r.Context(), invalidate.Key("k"))
		v := truth.Load().(string)
		began <- struct{}{}
		<-gate
		io.WriteString(w, v)
	})
	first, firstDone := crowd(t, s, 1)
	<-began
	truth.Store("new")
	set(t, rdb, "k", "new")
	fence(t, tracker)
	late, lateDone := crowd(t, s, 8)
	eventually(t, "they wait", func() bool { return s.c.waiting() == 8 })
	close(gate)
	firstDone.Wait()
	lateDone.Wait()
	if a := <-first; a.body != "old" {
		t.Error(a.body)
	}
	for range 8 {
		if a := <-late; a.body != "new" {
			t.Errorf("%q, %s", a.body, a.Header.Get("Cache-Status"))
		}
	}
	if n := len(began); n != 1 {
		t.Errorf("%d more calls of the handler, want 1", n)
	}
}

// MaxWait bounds the wait for a handler that hangs.
func TestMaxWait(t *testing.T) {
	st := newStage()
	s := serve(t, Options{MaxWait: 20 * time.Millisecond}, st.ServeHTTP)
	_, one := crowd(t, s, 1)
	<-st.began
	_, two := crowd(t, s, 1)
	<-st.began
	st.header <- fresh
	st.header <- fresh
	close(st.release)
	one.Wait()
	two.Wait()
}

// A panic of the leader releases those who wait; they try for themselves.
func TestCoalescePanic(t *testing.T) {
	began, gate := make(chan struct{}, 10), make(chan struct{})
	var calls atomic.Int64
	s := serve(t, Options{MaxWait: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		n := calls.Add(1)
		began <- struct{}{}
		if n == 1 {
			<-gate
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, n)
	})
	go func() { _, _ = s.try(context.WithoutCancel(t.Context()), http.MethodGet, "/a", nil) }()
	<-began
	answers, done := crowd(t, s, 3)
	eventually(t, "they wait", func() bool { return s.c.waiting() == 3 })
	close(gate)
	done.Wait()
	for range 3 {
		if a := <-answers; a.body == "" || a.body == "1" {
			t.Errorf("%q", a.body)
		}
	}
}

// deaf is a client that has gone: every write to it fails.
type deaf struct{ sink }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("the client has gone") }

// A write that fails does not reach the handler while others wait for the response; alone it does, and nothing is stored.
func TestWriteFails(t *testing.T) {
	c := newCache(t, newTracker(t), Options{MaxWait: time.Hour})
	began, gate := make(chan struct{}, 1), make(chan struct{})
	var failed error
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		began <- struct{}{}
		<-gate
		if _, failed = io.WriteString(w, "first "); failed == nil {
			_, failed = io.WriteString(w, "second")
		}
	}))
	var wg sync.WaitGroup
	wg.Go(func() { h.ServeHTTP(&deaf{*newSink()}, get("/a")) })
	<-began
	follower := &recorder{sink: *newSink()}
	wg.Go(func() { h.ServeHTTP(follower, get("/a")) })
	eventually(t, "it waits", func() bool { return c.waiting() == 1 })
	close(gate)
	wg.Wait()
	if failed != nil || string(follower.body) != "first second" {
		t.Errorf("%v, %q", failed, follower.body)
	}
	h.ServeHTTP(&deaf{*newSink()}, get("/alone"))
	<-began
	if failed == nil {
		t.Error("the handler was not told")
	}
	w := newSink()
	h.ServeHTTP(w, get("/alone"))
	if strings.Contains(w.header.Get("Cache-Status"), "hit") {
		t.Error("what could not be written was stored")
	}
}

// R4: data that changes without end does not make a stampede: who waited in vain once takes the next response, though
// that has fallen too, for its handler began after the call. With only what was stored shared, in keepOrNot, everybody
// runs the handler.
func TestJoinWhileFalling(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	began, gate := make(chan struct{}, 100), make(chan struct{})
	s := serveOn(t, tracker, Options{MaxWait: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		invalidate.DependOn(r.Context(), invalidate.Key("k"))
		began <- struct{}{}
		<-gate
	})
	_, firstDone := crowd(t, s, 1)
	<-began
	_, done := crowd(t, s, 10)
	eventually(t, "they wait", func() bool { return s.c.waiting() == 10 })
	set(t, rdb, "k", 1)
	fence(t, tracker)
	gate <- struct{}{}
	firstDone.Wait()
	<-began
	eventually(t, "they wait again", func() bool { return s.c.waiting() == 9 })
	set(t, rdb, "k", 2)
	fence(t, tracker)
	close(gate)
	done.Wait()
	if n := len(began); n != 0 {
		t.Errorf("the handler ran %d times more", n)
	}
}

// A response whose freshness is Options.Recorded is shared too, though that is known only at its end: a page that falls
// often is the one that many wait for.
func TestCoalesceRecorded(t *testing.T) {
	began, gate := make(chan struct{}, 100), make(chan struct{})
	s := serve(t, Options{Recorded: time.Minute, MaxWait: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Depends") != "" {
			invalidate.DependOn(r.Context(), invalidate.Key("k"))
		}
		began <- struct{}{}
		w.WriteHeader(http.StatusOK)
		<-gate
	})
	_, first := crowd(t, s, 1, "X-Depends", "yes")
	<-began
	answers, done := crowd(t, s, 10, "X-Depends", "yes")
	eventually(t, "they wait", func() bool { return s.c.waiting() == 10 })
	close(gate)
	first.Wait()
	done.Wait()
	for range 10 {
		if a := <-answers; !strings.HasSuffix(a.Header.Get("Cache-Status"), "; collapsed") {
			t.Error(a.Header.Get("Cache-Status"))
		}
	}
	if n := len(began); n != 0 {
		t.Errorf("the handler ran %d times more", n)
	}
}
