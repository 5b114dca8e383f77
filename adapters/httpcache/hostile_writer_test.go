package httpcache

// Ways in which the cache could be led astray. Each test was seen to fail before what it is about was mended.

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
)

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

// A client names a field in Connection: the reverse proxy takes it off, the cache stores under its value.
func TestConnectionNamesVaryField(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		fmt.Fprintf(w, "language %q", r.Header.Get("Accept-Language"))
	}))
	t.Cleanup(origin.Close)
	u, _ := url.Parse(origin.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u) }}
	s := serve(t, Options{}, proxy.ServeHTTP)
	s.get("/a", "Accept-Language", "de", "Connection", "Accept-Language")
	if a := s.get("/a", "Accept-Language", "de"); a.body != `language "de"` {
		t.Errorf("%s, %q", a.body, a.Header["Cache-Status"])
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
