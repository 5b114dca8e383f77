package httpcache

// Ways in which the cache could be led astray. Each test was seen to fail before what it is about was mended.

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
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
