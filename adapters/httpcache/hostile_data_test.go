package httpcache

// Ways in which the cache could be led astray. Each test was seen to fail before what it is about was mended.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/invalidate"
)

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

// What falls while a POST announces its own change makes its representation fall too. Seen to fail with a record begun after
// the announcement.
func TestFallsWhileAPostAnnounces(t *testing.T) {
	door := faultproxy.New(t, redisHere(t).Addr)
	tracker, _ := connect(t, door.Addr())
	s := serveOn(t, tracker, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Location", r.URL.Path)
		fresh(w)
		io.WriteString(w, r.Method)
	})
	if s.do("POST", "/a"); s.wantHit("/a").body != "POST" {
		t.Fatal("a POST's representation is not kept")
	}
	announces := door.HoldAt(faultproxy.ToServer, "publish")
	posted := make(chan answer, 1)
	go func() { posted <- s.do("POST", "/a") }()
	<-announces
	u, err := url.Parse(s.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.c.Purge(gone, u); err == nil {
		t.Error("the purge was announced")
	}
	door.Release(faultproxy.ToServer)
	<-posted
	if a := s.get("/a"); a.body != "GET" {
		t.Errorf("what was posted before the purge is served: %q", a.Header["Cache-Status"])
	}
}

// A client that has v1 asks with its Date, as it may where there is no Last-Modified.
func TestDateStandsInSameSecond(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	_, writer := connect(t, server.Addr)
	products, err := rediscache.New(tracker, rdb, rediscache.JSON[int](), cache.Options[string, int]{Prefix: "p:", MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { products.Close() })
	s := serveOn(t, tracker, Options{Recorded: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		v, err := products.Get(r.Context(), "1")
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, "v", v)
	})
	set(t, writer, "p:1", 0)
	fence(t, tracker)
	for range 5 { // until both are of one second
		set(t, writer, "p:1", 1)
		fence(t, tracker)
		a := s.get("/a")
		set(t, writer, "p:1", 2)
		fence(t, tracker)
		b := s.get("/a")
		if a.Header.Get("Date") != b.Header.Get("Date") {
			continue
		}
		if c := s.get("/a", "If-Modified-Since", a.Header.Get("Date")); c.StatusCode == 304 {
			t.Errorf("the client with %q is told that nothing changed; now it is %q", a.body, b.body)
		}
		return
	}
}

// 304 of a fallen entry to a request whose revalidation is private: what the handler says no more may be stored is dropped.
func TestPrivate304KeepsOld(t *testing.T) {
	var private atomic.Bool
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		if private.Load() {
			w.Header().Set("Cache-Control", "private")
		} else {
			w.Header().Set("Cache-Control", "max-age=0, stale-if-error=600")
		}
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(503)
			return
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
		}
		io.WriteString(w, "page")
	})
	s.get("/a")
	private.Store(true)
	s.get("/a")
	if a := s.get("/a", "X-Fail", "1"); a.StatusCode != 503 {
		t.Errorf("private now, and yet %d %q", a.StatusCode, a.Header["Cache-Status"])
	}
}

var _ = httptest.NewRecorder

// Behind a proxy that ends TLS, a POST's Location is https.
func TestLocationBehindTLS(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n.Add(1)
			w.Header().Set("Location", "https://"+r.Host+"/b")
			w.WriteHeader(303)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, n.Load())
	})
	s.get("/b")
	s.do("POST", "/a", "X-Forwarded-Proto", "https")
	if a := s.get("/b"); a.body != "1" {
		t.Errorf("%q %q", a.body, a.Header["Cache-Status"])
	}
}

// A hit of what failed once: gzip written by an outer writer, the stored one is identity.
func TestHEADWhileFallen(t *testing.T) {
	var n atomic.Int64
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		if r.Header.Get("If-Modified-Since") != "" && n.Load() == 0 {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, strings.Repeat("x", 10))
	})
	s.get("/a")
	if a := s.do("HEAD", "/a"); a.StatusCode != 200 || a.Header.Get("Content-Length") != "10" || a.body != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// Two handlers wrapped by one cache behind each other: the inner one is asked inside the outer one's load.
func TestNested(t *testing.T) {
	c := newCache(t, newTracker(t), Options{MaxWait: 30 * time.Second})
	var n atomic.Int64
	h := c.Handler(c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, n.Add(1))
	})))
	s := front(t, c, h)
	for range 3 {
		if a := s.get("/a"); a.body != "1" {
			t.Errorf("%q %q", a.body, a.Header["Cache-Status"])
		}
	}
	s.do("POST", "/a")
	if a := s.get("/a"); a.body == "1" {
		t.Errorf("%q %q", a.body, a.Header["Cache-Status"])
	}
}
