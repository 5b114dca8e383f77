package httpcache

// Ways in which the cache could be led astray. Each test was seen to fail before what it is about was mended.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

func front(t *testing.T, c *Cache, h http.Handler) *site {
	t.Helper()
	s := &site{t: t, c: c, Server: httptest.NewServer(h)}
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.Client().Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(s.Close)
	return s
}

// A session middleware around the cache says Vary: Cookie before it calls next (as scs's LoadAndSave does).
func TestOuterVaryIsIgnored(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	inner := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "for ", r.Header.Get("Cookie"))
	}))
	s := front(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		inner.ServeHTTP(w, r)
	}))
	a := s.get("/a", "Cookie", "user=alice")
	b := s.get("/a", "Cookie", "user=bob")
	if b.body != "for user=bob" {
		t.Errorf("bob got %q (Vary of the first answer as sent: %q, Cache-Status %q)", b.body, a.Header["Vary"], b.Header["Cache-Status"])
	}
}

// A middleware around the cache says no-store/private; the handler only has a Last-Modified (any file server).
func TestOuterPrivateIsIgnored(t *testing.T) {
	for _, cc := range []string{"private", "no-store", "no-cache, no-store"} {
		c := newCache(t, newTracker(t), Options{})
		inner := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", time.Now().Add(-240*time.Hour).UTC().Format(http.TimeFormat))
			fmt.Fprint(w, "for ", r.Header.Get("X-User"))
		}))
		s := front(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", cc)
			inner.ServeHTTP(w, r)
		}))
		a := s.get("/a", "X-User", "alice")
		b := s.get("/a", "X-User", "bob")
		if b.body != "for bob" {
			t.Errorf("%s: bob got %q; as sent the first said Cache-Control %q", cc, b.body, a.Header["Cache-Control"])
		}
	}
}

// A middleware rewrites Path and leaves RawPath, which then is stale and ignored by everybody but spells.
func TestStaleRawPath(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	inner := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, r.URL.Path)
	}))
	s := front(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := r.Clone(r.Context())
		r2.URL.Path = "/" + r.Header.Get("X-Tenant") + r.URL.Path
		inner.ServeHTTP(w, r2)
	}))
	for _, p := range []string{"/plain", "/a%2fb"} {
		a, b := s.get(p, "X-Tenant", "one"), s.get(p, "X-Tenant", "two")
		if a.body == b.body {
			t.Errorf("%s: tenant two got tenant one's %q", p, b.body)
		}
	}
}

// One caching transport, a reverse proxy that keeps the client's Host and chooses the backend by URL.Host.
func TestTransportBackendsMixed(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	backend := func(name string) *url.URL {
		b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, name)
		}))
		t.Cleanup(b.Close)
		u, _ := url.Parse(b.URL)
		return u
	}
	backends := map[string]*url.URL{"one": backend("one"), "two": backend("two")}
	rt := &http.Transport{}
	t.Cleanup(rt.CloseIdleConnections)
	s := front(t, c, &httputil.ReverseProxy{Transport: c.Transport(rt), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(backends[p.In.Header.Get("X-Tenant")])
		p.Out.Host = p.In.Host
	}})
	a, b := s.get("/x", "X-Tenant", "one"), s.get("/x", "X-Tenant", "two")
	if a.body != "one" || b.body != "two" {
		t.Errorf("%q %q %q", a.body, b.body, b.Header["Cache-Status"])
	}
}

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
		conn.SetDeadline(time.Now().Add(2 * time.Second))
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
	case <-time.After(4 * time.Second):
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

// 416 is the answer to one request's Range, and its header may say max-age (nginx: add_header ... always).
func Test416Poisons(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("Range") == "bytes=999-" {
			w.Header().Set("Content-Range", "bytes */4")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		io.WriteString(w, "page")
	})
	s.get("/a", "Range", "bytes=999-")
	if a := s.get("/a"); a.StatusCode != 200 || a.body != "page" {
		t.Errorf("a plain GET got %d %q, %q", a.StatusCode, a.body, a.Header["Cache-Status"])
	}
}

// curl --http2 sends Upgrade: h2c with a POST.
func TestPostWithUpgradeInvalidates(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n.Add(1)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, n.Load())
	})
	s.get("/a")
	s.do("POST", "/a", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
	if a := s.get("/a"); a.body != "1" {
		t.Errorf("after the POST: %q, %q", a.body, a.Header["Cache-Status"])
	}
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

// What a revalidation replaced goes on being served while stale-while-revalidate lasts.
func TestRevalidationSaidGone(t *testing.T) {
	var gone atomic.Bool
	var asked atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if gone.Load() {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "gone", http.StatusGone)
			return
		}
		w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=86400")
		io.WriteString(w, "secret")
	})
	s.get("/a")
	gone.Store(true)
	time.Sleep(1100 * time.Millisecond)
	for i := int64(2); i < 6; i++ {
		a := s.get("/a")
		eventually(t, "revalidation", func() bool { return asked.Load() >= i })
		time.Sleep(20 * time.Millisecond)
		t.Logf("%d %q", a.StatusCode, a.Header["Cache-Status"])
		if i > 2 && a.StatusCode != http.StatusGone {
			t.Errorf("after %d answers of 410 the stale page is still served: %d %q", i-2, a.StatusCode, a.body)
			return
		}
	}
}

// The data fell, the handler's Last-Modified has the resolution of a second: a 304 brings the old body back to life.
func TestSameSecondValidation(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	_, writer := connect(t, server.Addr)
	products, err := rediscache.New(tracker, rdb, rediscache.JSON[int](), cache.Options[string, int]{Prefix: "p:", MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { products.Close() })
	modified := time.Now().Truncate(time.Second) // both writes are within this second
	s := serveOn(t, tracker, Options{}, func(w http.ResponseWriter, r *http.Request) {
		v, err := products.Get(r.Context(), "1")
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, r, "a.txt", modified, strings.NewReader(fmt.Sprint("v", v)))
	})
	set(t, writer, "p:1", 1)
	fence(t, tracker)
	s.get("/a")
	set(t, writer, "p:1", 2)
	fence(t, tracker)
	for range 2 {
		if a := s.get("/a"); a.body != "v2" {
			t.Errorf("after SET and Fence: %q, %q", a.body, a.Header["Cache-Status"])
		}
	}
}

// A POST's representation is stored though its URL and its tag fell while its handler ran.
func TestPostedRepresentationFell(t *testing.T) {
	for _, how := range []string{"another POST", "tag"} {
		var n atomic.Int64
		in, out := make(chan struct{}), make(chan struct{})
		tracker := newTracker(t)
		s := serveOn(t, tracker, Options{}, func(w http.ResponseWriter, r *http.Request) {
			v := n.Load()
			if r.Method == "POST" {
				v = n.Add(1)
				if r.URL.RawQuery == "" && r.Header.Get("X-Slow") != "" {
					in <- struct{}{}
					<-out
				}
				w.Header().Set("Content-Location", r.URL.Path)
			}
			w.Header().Set("Cache-Tag", "t")
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, v)
		})
		done := make(chan answer, 1)
		go func() { done <- s.do("POST", "/a", "X-Slow", "1") }()
		<-in
		if how == "tag" {
			n.Add(1)
			if err := tracker.Touch(t.Context(), invalidate.Tag("t")); err != nil {
				t.Fatal(err)
			}
		} else {
			s.do("POST", "/a")
		}
		close(out)
		<-done
		if a := s.get("/a"); a.body != fmt.Sprint(n.Load()) {
			t.Errorf("%s: GET says %q, truth is %d, %q", how, a.body, n.Load(), a.Header["Cache-Status"])
		}
	}
}

// A Range header of nearly a megabyte, which net/http's own file server understands, is kept and counted as nothing.
func TestPartAskedIsNotCounted(t *testing.T) {
	s := serve(t, Options{MaxBytes: 8 << 20}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("0123456789"))
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
	for range 2 {
		go s.try(context.Background(), "GET", "/a", nil)
	}
	<-in
	select {
	case <-in:
	case <-time.After(2 * time.Second):
		t.Error("the second waits for the first though three such responses were too long before")
	}
	close(out)
	time.Sleep(100 * time.Millisecond)
}

// The scheme of an absolute-form target is seen by the handler and is not in the key.
func TestAbsoluteFormScheme(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		next := *r.URL
		next.RawQuery = "page=2"
		fmt.Fprint(w, next.String())
	})
	host := strings.TrimPrefix(s.URL, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET gopher://%s/a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host, host)
	io.ReadAll(conn)
	conn.Close()
	if a := s.get("/a"); a.body != "/a?page=2" {
		t.Errorf("%q, %q", a.body, a.Header["Cache-Status"])
	}
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
