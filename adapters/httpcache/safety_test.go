package httpcache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever is not for all is not stored, whatever else its header says.
func TestNotStored(t *testing.T) {
	fresh := []string{"Cache-Control", "max-age=60"}
	for name, c := range map[string]struct {
		request, response []string
	}{
		"Set-Cookie":                 {nil, append([]string{"Set-Cookie", "a=b"}, fresh...)},
		"Set-Cookie in other case":   {nil, append([]string{"set-cookie", "a=b"}, fresh...)},
		"no-store":                   {nil, []string{"Cache-Control", "max-age=60, no-store"}},
		"no-store on a second line":  {nil, []string{"Cache-Control", "max-age=60", "Cache-Control", "No-Store"}},
		"private":                    {nil, []string{"Cache-Control", "private, max-age=60"}},
		"Authorization":              {[]string{"Authorization", "x"}, fresh},
		"Authorization with Expires": {[]string{"Authorization", "x"}, []string{"Expires", "Thu, 18 Aug 2050 02:01:18 GMT"}},
		"Vary *":                     {nil, append([]string{"Vary", "Accept, *"}, fresh...)},
		"no freshness":               {nil, nil},
		"request no-store":           {[]string{"Cache-Control", "no-store"}, fresh},
		"event stream":               {nil, append([]string{"Content-Type", "text/event-stream; charset=utf-8"}, fresh...)},
		"large header":               {nil, append([]string{"X-Large", strings.Repeat("x", 40<<10)}, fresh...)},
		"implicit with a cookie":     {[]string{"Cookie", "a=b"}, []string{"Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"}},
		"no-cache, no validator":     {nil, []string{"Cache-Control", "no-cache, max-age=60"}},
		"nonsense max-age":           {nil, []string{"Cache-Control", "max-age=abc"}},
		"targeted no-store":          {nil, append([]string{"Freshet-Cache-Control", "no-store"}, fresh...)},
	} {
		t.Run(name, func(t *testing.T) {
			h, n := counter(c.response...)
			if name == "Set-Cookie in other case" {
				h = func(w http.ResponseWriter, r *http.Request) {
					n.Add(1)
					w.Header()["set-cookie"] = []string{"a=b"}
					w.Header().Set("Cache-Control", "max-age=60")
				}
			}
			s := serve(t, Options{}, h)
			s.wantMiss("/a", c.request...)
			s.wantMiss("/a", c.request...)
			if len(c.request) > 0 && c.request[0] != "Cache-Control" {
				s.wantMiss("/a")
			}
			if n.Load() < 2 {
				t.Errorf("the handler was called %d times", n.Load())
			}
		})
	}
}

// What may be stored in spite of Authorization and Set-Cookie says so.
func TestStoredBecauseItSaysSo(t *testing.T) {
	for name, c := range map[string]struct{ request, response []string }{
		"public":          {[]string{"Authorization", "x"}, []string{"Cache-Control", "public, max-age=60"}},
		"s-maxage":        {[]string{"Authorization", "x"}, []string{"Cache-Control", "s-maxage=60"}},
		"must-revalidate": {[]string{"Authorization", "x"}, []string{"Cache-Control", "must-revalidate, max-age=60"}},
		"no-cache=field":  {nil, []string{"Cache-Control", `max-age=60, no-cache="Set-Cookie"`, "Set-Cookie", "a=b"}},
		"private=field":   {nil, []string{"Cache-Control", `max-age=60, private="set-cookie, X-User"`, "Set-Cookie", "a=b", "X-User", "u"}},
		"Vary Cookie":     {[]string{"Cookie", "a=b"}, []string{"Vary", "Cookie", "Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"}},
		"targeted":        {nil, []string{"CDN-Cache-Control", "max-age=60", "Cache-Control", "no-store"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := counter(c.response...)
			s := serve(t, Options{}, h)
			s.wantMiss("/a", c.request...)
			a := s.wantHit("/a", c.request...)
			if a.Header.Get("Set-Cookie") != "" || a.Header.Get("X-User") != "" {
				t.Errorf("a hit has %v", a.Header)
			}
		})
	}
}

// A GET with a body is answered by its handler, whatever is stored, and not stored.
func TestGetWithBody(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=60")
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Body", string(body))
		h(w, r)
	})
	for i := range 2 {
		a, err := s.try(t.Context(), http.MethodGet, "/a", strings.NewReader("q"))
		if err != nil || a.hit() || a.body != fmt.Sprint(i+1) || a.Header.Get("X-Body") != "q" {
			t.Errorf("%v, %q, %v", err, a.body, a.Header)
		}
	}
	s.wantMiss("/a")
	s.wantHit("/a")
}

// Two spellings are two keys.
func TestKeysAreNotFolded(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Host+r.RequestURI)
	}
	s := serve(t, Options{}, h)
	conn := s.Client()
	seen := map[string]bool{}
	for _, target := range []string{
		"/a", "/a/", "//a", "/A", "/%61", "/a?", "/a?b", "/a?b=", "/a?b=1&c=2", "/a?c=2&b=1", "/a?b=%31&c=2", "/a/../a", "/a%2Fb", "/a/b",
		"/a;b", "/a%3Bb",
	} {
		for _, host := range []string{"one.example", "two.example"} {
			for i := range 2 {
				r, err := http.NewRequest(http.MethodGet, s.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.URL.Opaque, r.Host = target, host
				if strings.HasPrefix(target, "//") {
					r.URL.Opaque = "http://" + host + target
				}
				resp, err := conn.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if i == 0 && seen[string(body)] {
					t.Errorf("%s on %s got %q, which was another's", target, host, body)
				}
				if hit := (answer{Response: resp}).hit(); hit != (i == 1) {
					t.Errorf("%s on %s: hit %v at request %d (%s)", target, host, hit, i+1, body)
				}
				seen[string(body)] = true
			}
		}
	}
	if len(seen) != 32 {
		t.Errorf("%d responses, want 32: %v", len(seen), seen)
	}
}

// A middleware that changes the URL before the cache does not make two resources one.
func TestRewrittenURL(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	inner := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.URL.Path)
	}))
	for _, language := range []string{"de", "en", "de"} {
		r := httptest.NewRequest(http.MethodGet, "/page", nil)
		r.Body = http.NoBody
		r.URL.Path = "/" + language + r.URL.Path
		w := httptest.NewRecorder()
		inner.ServeHTTP(w, r)
		if w.Body.String() != "/"+language+"/page" {
			t.Errorf("%s got %s", language, w.Body)
		}
	}
}

// Two handlers behind one cache do not answer for each other.
func TestHandlersApart(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	one, _ := counter("Cache-Control", "max-age=60", "X-Which", "one")
	two, _ := counter("Cache-Control", "max-age=60", "X-Which", "two")
	for name, h := range map[string]http.Handler{"one": c.Handler(one), "two": c.Handler(two)} {
		for range 2 {
			w := newSink()
			h.ServeHTTP(w, get("/a"))
			if w.header.Get("X-Which") != name {
				t.Errorf("%s answered for %s", w.header.Get("X-Which"), name)
			}
		}
	}
}

func TestKeyOption(t *testing.T) {
	s := serve(t, Options{Key: func(r *http.Request) string { return r.Header.Get("X-Tenant") }},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, r.Header.Get("X-Tenant"))
		})
	for i := range 2 {
		for _, tenant := range []string{"a", "b"} {
			if a := s.get("/", "X-Tenant", tenant); a.body != tenant || a.hit() != (i == 1) {
				t.Errorf("tenant %s got %q (%s)", tenant, a.body, a.Header.Get("Cache-Status"))
			}
		}
	}
}

// Variants are capped: the oldest goes, and the memory that all take stays below MaxBytes.
func TestCaps(t *testing.T) {
	var calls atomic.Int64
	body := bytes.Repeat([]byte("x"), 10_000)
	s := serve(t, Options{MaxVariants: 3, MaxBytes: 400_000, MaxBody: 20_000}, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "X-Variant")
		_, _ = w.Write(body)
	})
	for i := range 10 {
		s.wantMiss("/v", "X-Variant", fmt.Sprint(i))
	}
	for i := 9; i >= 7; i-- {
		s.wantHit("/v", "X-Variant", fmt.Sprint(i))
	}
	s.wantMiss("/v", "X-Variant", "0")
	for i := range 200 {
		s.get(fmt.Sprint("/p", i))
	}
	if cost := s.c.store.Cost(); cost > 400_000 {
		t.Errorf("%d bytes are held", cost)
	}
}

func TestOptionsValidate(t *testing.T) {
	tracker := newTracker(t)
	for field, o := range map[string]Options{
		"MaxBytes":           {MaxBytes: -1},
		"MaxBody":            {MaxBytes: 10, MaxBody: 11},
		"MaxHeader":          {MaxHeader: -1},
		"MaxVariants":        {MaxVariants: -1},
		"MaxStaleness":       {MaxStaleness: time.Millisecond},
		"StaleIfUnreachable": {StaleIfUnreachable: -1},
		"Recorded":           {Recorded: -1},
		"MaxWait":            {MaxWait: -1},
		"LoadTimeout":        {LoadTimeout: -1},
		"Name":               {Name: "not a token"},
		"Targets":            {Targets: []string{"Cache-Control"}},
	} {
		if _, err := New(tracker, o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("a nil tracker was taken")
	}
}

// The scheme of a request in absolute form is the client's word, but the handler sees it and may write it into links: what
// is not the connection's own has a key of its own.
func TestAbsoluteForm(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=60")
	s := serve(t, Options{}, h)
	for i, line := range []string{"GET https://x.example/a", "GET http://x.example/a", "GET /a"} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n", line)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if (answer{Response: resp}).hit() != (i > 1) {
			t.Errorf("%s: %s", line, resp.Header.Get("Cache-Status"))
		}
		conn.Close()
	}
}

// A response whose freshness nobody stated was made for somebody unknown. Whoever says who they are does not get it, nor
// waits for it. Without anonymous, in selects, the second request gets "anonymous".
func TestImplicitIsAnonymous(t *testing.T) {
	who := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		name := "anonymous"
		if c, err := r.Cookie("name"); err == nil {
			name = c.Value
		}
		io.WriteString(w, name+r.Header.Get("Authorization"))
	}
	s := serve(t, Options{}, who)
	s.wantMiss("/a")
	s.wantHit("/a")
	for range 2 {
		if a := s.wantMiss("/a", "Cookie", "name=bob"); a.body != "bob" {
			t.Error(a.body)
		}
		if a := s.wantMiss("/a", "Authorization", "me"); a.body != "anonymousme" {
			t.Error(a.body)
		}
	}
	s.wantHit("/a")
}

// A response without stated freshness that was made for somebody known is not stored, not even to be validated: the next
// one's If-Modified-Since would be true of it.
func TestPersonalIsNotValidated(t *testing.T) {
	for _, cc := range []string{"", "no-cache"} {
		s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if cc != "" {
				w.Header().Set("Cache-Control", cc)
			}
			w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
			http.ServeContent(w, r, "", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), strings.NewReader(r.Header.Get("Cookie")))
		})
		for _, cookie := range []string{"name=bob", "name=eve", "name=bob"} {
			if a := s.get("/a", "Cookie", cookie); a.body != cookie {
				t.Errorf("Cache-Control %q: %s got %q (%s)", cc, cookie, a.body, a.Header.Get("Cache-Status"))
			}
		}
	}
}
