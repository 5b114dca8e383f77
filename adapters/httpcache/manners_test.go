package httpcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counter answers with how often it was asked.
func counter(fields ...string) (http.HandlerFunc, *atomic.Int64) {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		fmt.Fprint(w, n.Add(1))
	}, &n
}

func TestHitAndAge(t *testing.T) {
	h, n := counter("Cache-Control", "max-age=60", "Age", "7", "X-Mine", "a", "X-Mine", "b")
	s := serve(t, Options{}, h)
	first := s.wantMiss("/a")
	second := s.wantHit("/a")
	if second.body != "1" || n.Load() != 1 {
		t.Fatalf("body %q after %d calls", second.body, n.Load())
	}
	if got := second.Header.Get("Age"); got != "7" {
		t.Errorf("Age %q, want 7", got)
	}
	if second.Header.Get("Date") != first.Header.Get("Date") || second.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
		t.Errorf("a hit's header %v differs from %v", second.Header, first.Header)
	}
	if got := second.Header.Values("X-Mine"); len(got) != 2 {
		t.Errorf("X-Mine %q", got)
	}
	if got := second.Header.Get("Cache-Status"); got != "freshet; hit; ttl=53" {
		t.Errorf("Cache-Status %q", got)
	}
	if got := first.Header.Get("Cache-Status"); got != "freshet; fwd=uri-miss; stored" {
		t.Errorf("Cache-Status %q", got)
	}
}

// The body goes to the client as it is written, while it is stored. Without that the client would wait for the second
// part in vain: the handler writes it only once the first has arrived.
func TestStreamsWhileStoring(t *testing.T) {
	arrived := make(chan struct{})
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "first ")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-arrived
		io.WriteString(w, "second")
	})
	resp, err := s.Client().Get(s.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	head := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, head); err != nil || string(head) != "first " {
		t.Fatalf("%q, %v", head, err)
	}
	close(arrived)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "second" {
		t.Fatalf("%q, %v", rest, err)
	}
	eventually(t, "a hit", func() bool { return s.get("/a").hit() })
	if a := s.wantHit("/a"); a.body != "first second" || a.ContentLength != 12 {
		t.Errorf("%q of %d bytes", a.body, a.ContentLength)
	}
}

// What will not be stored is never gathered: an endless response passes through, and its handler learns that the client
// has gone.
func TestEventStreamUnharmed(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, Options{Recorded: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/events", nil)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
			t.Fatalf("%q", lines.Text())
		}
		lines.Scan()
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler was not told")
	}
}

func TestMaxBodyPassesOn(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	for _, announce := range []bool{true, false} {
		s := serve(t, Options{MaxBody: 50_000}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if announce {
				w.Header().Set("Content-Length", "100000")
			}
			for i := 0; i < len(big); i += 10_000 {
				io.WriteString(w, big[i:i+10_000])
			}
		})
		for range 2 {
			if a := s.wantMiss("/big"); a.body != big {
				t.Fatalf("%d bytes", len(a.body))
			}
		}
	}
}

func TestHijackAndUpgrade(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buf.Flush()
		line, _ := buf.ReadString('\n')
		io.WriteString(buf, line)
		buf.Flush()
	})
	for _, upgrade := range []string{"Connection: Upgrade\r\nUpgrade: echo\r\n", ""} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\n%s\r\n", upgrade)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp, err)
		}
		fmt.Fprintln(conn, "hello")
		if line, err := in.ReadString('\n'); err != nil || line != "hello\n" {
			t.Fatalf("%q, %v", line, err)
		}
		conn.Close()
	}
}

func TestDeadlinesAndReadFrom(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if err := rc.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/stored" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("from a reader"))
		if n != 13 || err != nil {
			t.Error(n, err)
		}
	})
	for _, path := range []string{"/passed", "/stored", "/stored"} {
		if a := s.get(path); a.body != "from a reader" {
			t.Errorf("%s: %q", path, a.body)
		}
	}
	s.wantHit("/stored")
	s.wantMiss("/passed")
}

// Trailers arrive, both ways of setting them, and what has some is not stored.
func TestTrailers(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/announced" {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "4")
			return
		}
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
	})
	for _, path := range []string{"/announced", "/late"} {
		for range 2 {
			if a := s.wantMiss(path); a.body != "body" || a.Trailer.Get("X-Sum") != "4" {
				t.Errorf("%s: %q, trailers %v", path, a.body, a.Trailer)
			}
		}
	}
}

// 1xx responses pass at once, and their fields are not the response's.
func TestInterim(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("X-Early", "yes")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("X-Early")
		w.Header().Del("Link")
		w.WriteHeader(http.StatusProcessing)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "final")
	})
	for _, want := range []string{"103 yes,102 ,", ""} {
		got := ""
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				got += fmt.Sprint(code, " ", h.Get("X-Early"), ",")
				return nil
			},
		})
		a, err := s.try(ctx, http.MethodGet, "/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got != want || a.body != "final" || a.Header.Get("X-Early") != "" || a.Header.Get("Link") != "" {
			t.Errorf("1xx %q, want %q; then %q with %v", got, want, a.body, a.Header)
		}
	}
}

// Only what ended well is stored.
func TestStoresOnlyWhatEndedWell(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		switch r.URL.Path {
		case "/aborts":
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		case "/panics":
			io.WriteString(w, "half")
			panic("on purpose")
		case "/short":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
		}
	})
	for _, path := range []string{"/aborts", "/panics", "/short"} {
		calls.Store(0)
		for range 2 {
			if a, err := s.try(t.Context(), http.MethodGet, path, nil); err == nil {
				t.Errorf("%s: %q arrived as if it were whole", path, a.body)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%s: %d calls of the handler, want 2", path, calls.Load())
		}
	}
}

// A panic goes on as it is: a middleware around the cache sees the very value.
func TestPanicGoesOn(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	h := c.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if p := recover(); p != any(http.ErrAbortHandler) {
			t.Errorf("recovered %v", p)
		}
	}()
	h.ServeHTTP(newSink(), get("/a"))
}

// A client that leaves does not truncate what is stored: where nobody else waits, the handler is told, and what it then
// writes is not stored. Without the look at its context in finishKept it is.
func TestClientLeavesAlone(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	var calls atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			io.WriteString(w, "second")
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(http.StatusOK)
		close(began)
		<-r.Context().Done()
		io.WriteString(w, "cut short")
		ended <- r.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := s.try(ctx, http.MethodGet, "/a", nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if a := s.wantMiss("/a"); a.body != "second" {
		t.Errorf("%q", a.body)
	}
}

// What a middleware around the cache sets is sent with a hit, and is not stored for others.
func TestOuterHeadersAreNotStored(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=60")
	c := newCache(t, newTracker(t), Options{})
	inner := c.Handler(h)
	var n int
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("X-Request-Id", fmt.Sprint(n))
		http.SetCookie(w, &http.Cookie{Name: "session", Value: fmt.Sprint(n)})
		inner.ServeHTTP(w, r)
	})
	for i := range 3 {
		w := newSink()
		outer.ServeHTTP(w, get("/a"))
		if id := w.header.Get("X-Request-Id"); id != fmt.Sprint(i+1) {
			t.Errorf("request %d has id %s", i+1, id)
		}
		if cookies := w.header["Set-Cookie"]; len(cookies) != 1 || cookies[0] != fmt.Sprint("session=", i+1) {
			t.Errorf("request %d gets cookies %q", i+1, cookies)
		}
		if hit := strings.Contains(w.header.Get("Cache-Status"), "hit"); hit != (i > 0) {
			t.Errorf("request %d: %q", i+1, w.header.Get("Cache-Status"))
		}
	}
}

func TestClosedPassesOn(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=60")
	s := serve(t, Options{}, h)
	s.wantMiss("/a")
	s.wantHit("/a")
	if err := s.c.Close(); err != nil {
		t.Fatal(err)
	}
	if a := s.get("/a"); a.body != "2" || a.Header.Get("Cache-Status") != "" {
		t.Errorf("%q, %q", a.body, a.Header.Get("Cache-Status"))
	}
}
