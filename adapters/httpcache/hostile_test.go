package httpcache

// Ways in which the cache could be led astray. Each test was seen to fail before what it is about was mended.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An Upgrade through the RoundTripper: what is written to the Body has to reach the server.
func TestTransportUpgrade(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: zz\r\n\r\n")
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		line, _ := buf.ReadString('\n')
		fmt.Fprintf(conn, "server has %q\n", line)
	}))
	t.Cleanup(backend.Close)
	rt := &http.Transport{}
	t.Cleanup(rt.CloseIdleConnections)
	r, _ := http.NewRequest("GET", backend.URL, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "zz")
	resp, err := c.Transport(rt).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("status %d, body cannot be written", resp.StatusCode)
	}
	go io.WriteString(rw, "hello\n")
	got := make(chan string, 1)
	go func() { line, _ := bufio.NewReader(rw).ReadString('\n'); got <- line }()
	select {
	case line := <-got:
		if line != "server has \"hello\\n\"\n" {
			t.Errorf("got %q", line)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing came")
	}
}

// A RoundTrip whose context ends while it waits for another's response.
func TestTransportContextError(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	in, out := make(chan struct{}, 10), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in <- struct{}{}
		<-out
		w.Header().Set("Cache-Control", "max-age=60")
	}))
	t.Cleanup(backend.Close)
	rt := &http.Transport{}
	t.Cleanup(rt.CloseIdleConnections)
	client := &http.Client{Transport: c.Transport(rt)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := client.Get(backend.URL); err == nil {
			resp.Body.Close()
		}
	}()
	<-in
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", backend.URL, nil)
	_, err := c.Transport(rt).RoundTrip(r) // another space: a load of its own; use the same client
	_ = err
	ctx2, cancel2 := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel2()
	r2, _ := http.NewRequestWithContext(ctx2, "GET", backend.URL, nil)
	_, err = client.Transport.RoundTrip(r2)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	close(out)
	<-done
}

// The server guesses the type from what it sends first (2 KiB or up to a Flush), not from the first Write.
func TestSniffedType(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "<!DOC")
		io.WriteString(w, "TYPE html><title>x</title>")
	})
	a, b := s.get("/a"), s.wantHit("/a")
	if x, y := a.Header.Get("Content-Type"), b.Header.Get("Content-Type"); x != y {
		t.Errorf("first %q, hit %q", x, y)
	}
}

// A Range header of nearly a megabyte, which net/http's own file server understood before Go 1.27, is kept and counted as nothing.
func TestPartAskedIsNotCounted(t *testing.T) {
	s := serve(t, Options{MaxBytes: 8 << 20}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Range", "bytes 0-0/10")
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, "0")
	})
	long := "bytes=0-0" + strings.Repeat(",", 900_000)
	a := s.get("/0", "Range", long)
	if a.StatusCode != 206 {
		t.Fatal(a.Status)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 300 {
		s.get(fmt.Sprint("/", i), "Range", long)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("a cache of 8 MiB holds %d MiB after 300 parts of one byte", grown>>20)
	}
}

// What a middleware around the cache has set is lost where the rest of a part is fetched.
func TestCompleteLosesOuterHeader(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	inner := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("0123456789"))
	}))
	s := front(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		inner.ServeHTTP(w, r)
	}))
	s.get("/a", "Range", "bytes=0-3")
	a := s.get("/a")
	if a.body != "0123456789" || a.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %q, HSTS %q, %q", a.StatusCode, a.body, a.Header["Strict-Transport-Security"], a.Header["Cache-Status"])
	}
}

// Too long for MaxBody, without a length: nobody remembers, so the next wait again.
func TestTooLongIsNotRemembered(t *testing.T) {
	var slow atomic.Bool
	in, out := make(chan struct{}, 10), make(chan struct{})
	s := serve(t, Options{MaxBody: 1000, MaxWait: 20 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		if slow.Load() {
			in <- struct{}{}
			<-out
		}
		io.WriteString(w, strings.Repeat("x", 2000))
	})
	for range 3 {
		s.get("/a")
	}
	slow.Store(true)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { s.try(context.Background(), "GET", "/a", nil) })
	}
	<-in
	select {
	case <-in:
	case <-time.After(20 * time.Second):
		t.Error("the second waits for the first though three such responses were too long before")
	}
	close(out)
	both.Wait()
}

// A 206 that ended early is replayed with the length that it did not have.
func TestShortPart(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Range", "bytes 0-9/100")
		w.WriteHeader(206)
		w.(http.Flusher).Flush()
		io.WriteString(w, "01234")
	})
	s.get("/a", "Range", "bytes=0-9")
	a := s.get("/a", "Range", "bytes=0-9")
	if a.hit() && a.Header.Get("Content-Range") == "bytes 0-9/100" && len(a.body) != 10 {
		t.Errorf("from memory: Content-Range %q, Content-Length %q, body %q", a.Header["Content-Range"], a.Header["Content-Length"], a.body)
	}
}

// Directives that mean private or no-store, written badly.
func TestMalformedDirectives(t *testing.T) {
	for _, cc := range []string{
		`max-age=60, private="`, `max-age=60, private="Set-Cookie`, `max-age=60, no-cache="`, `max-age=60, private=" , ;"`,
		`max-age=60, private =`, `max-age=60, private ="x"`, `max-age=60, no-store=`, `max-age=60, no-store =1`, `max-age=60, private;`, `max-age=60, "private"`,
		"max-age=60,\u00a0private", "max-age=60, private=\"\"",
	} {
		s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", cc)
			io.WriteString(w, "x")
		})
		s.get("/a")
		if a := s.get("/a"); a.hit() {
			t.Errorf("stored and served: %s", cc)
		}
	}
}

// A request with no-store: nothing of its response may be stored (RFC 9111 section 5.2.1.5).
func TestNoStoreRequestUpdates(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("X-From", r.Header.Get("X-From"))
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(304)
		}
	})
	s.get("/a", "X-From", "one")
	time.Sleep(1100 * time.Millisecond)
	s.get("/a", "Cache-Control", "no-store", "X-From", "secret")
	if a := s.get("/a", "X-From", "three"); a.Header.Get("X-From") == "secret" {
		t.Errorf("stored: %q, %q", a.Header["X-From"], a.Header["Cache-Status"])
	}
}

// 304s may add to the stored header without end.
func Test304Grows(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Options{MaxHeader: 4096}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set(fmt.Sprint("X-", n.Add(1)), strings.Repeat("x", 1000))
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
		}
	})
	var a answer
	for range 50 {
		a = s.get("/a")
	}
	if size := headerSize(a.Header); size > 3*4096 {
		t.Errorf("MaxHeader 4096, the stored header has %d bytes", size)
	}
}

// Close while a handler runs that is about to store.
func TestCloseBesideStore(t *testing.T) {
	c, err := New(newTracker(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, out := make(chan struct{}), make(chan struct{})
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		in <- struct{}{}
		<-out
		io.WriteString(w, "x")
	}))
	done := make(chan struct{})
	for i := range 10 {
		go func() {
			defer func() { done <- struct{}{} }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprint("/", i), nil))
		}()
		<-in
	}
	go func() { close(out) }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range 10 {
		<-done
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A superfluous WriteHeader, which net/http only logs, while the stored response stands in.
func TestSuperfluousWriteHeader(t *testing.T) {
	for _, second := range []int{500, 200} {
		var down atomic.Bool
		s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(500)
				http.Error(w, "down", second)
				return
			}
			w.Header().Set("Cache-Control", "max-age=0, stale-if-error=60")
			w.Header().Set("Content-Type", "text/css")
			w.Header().Set("Content-Security-Policy", "default-src 'none'")
			io.WriteString(w, "page")
		})
		s.get("/a")
		down.Store(true)
		a := s.get("/a")
		if a.StatusCode != 200 || a.body != "page" || a.Header.Get("Content-Type") != "text/css" || a.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("second %d: got %d %q %q CSP %q", second, a.StatusCode, a.body, a.Header["Content-Type"], a.Header["Content-Security-Policy"])
		}
	}
}

// The same with a 304 that validates.
func TestSuperfluousAfter304(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/css")
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "page")
	})
	s.get("/a")
	if a := s.get("/a"); a.StatusCode != 200 || a.body != "page" {
		t.Errorf("an unconditional GET got %d %q %v", a.StatusCode, a.body, a.Header)
	}
}
