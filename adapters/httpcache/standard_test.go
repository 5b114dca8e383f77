package httpcache

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestRangesOfAWhole(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		io.WriteString(w, "0123456789")
	})
	s.wantMiss("/a")
	for _, c := range []struct {
		fields []string
		status int
		body   string
		span   string
	}{
		{[]string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{[]string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range", "bytes=7-", "If-Range", `"v1"`}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range", "bytes=7-", "If-Range", `"v2"`}, 200, "0123456789", ""},
		{[]string{"Range", "bytes=7-", "If-Range", `W/"v1"`}, 200, "0123456789", ""},
		{[]string{"Range", "bytes=7-", "If-Range", "Mon, 01 Jan 2024 00:00:00 GMT"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{[]string{"Range", "lines=1-2"}, 416, "", "*"},
		{[]string{"Range", "bytes=7-", "If-None-Match", `"v1"`}, 304, "", ""},
		{[]string{"If-None-Match", `W/"v0", W/"v1"`}, 304, "", ""},
		{[]string{"If-None-Match", `"v0"`, "If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT"}, 200, "0123456789", ""},
		{[]string{"If-None-Match", "*"}, 304, "", ""},
		{[]string{"If-Modified-Since", "Monday, 01-Jan-24 00:00:00 GMT"}, 304, "", ""},
		{[]string{"If-Modified-Since", "Sun, 31 Dec 2023 23:59:59 GMT"}, 200, "0123456789", ""},
		{[]string{"If-Modified-Since", "nonsense"}, 200, "0123456789", ""},
	} {
		a := s.get("/a", c.fields...)
		if a.StatusCode != c.status || c.status < 400 && a.body != c.body || !a.hit() ||
			c.span != "*" && a.Header.Get("Content-Range") != c.span {
			t.Errorf("%q: %d %q, Content-Range %q (%s)", c.fields, a.StatusCode, a.body, a.Header.Get("Content-Range"),
				a.Header.Get("Cache-Status"))
		}
		if a.StatusCode == 304 && (a.Header.Get("Content-Length") != "" || a.Header.Get("ETag") != `"v1"`) {
			t.Errorf("%q: a 304 with %v", c.fields, a.Header)
		}
	}
	a := s.get("/a", "Range", "bytes=0-1,5-6")
	_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := ""
	for mr := multipart.NewReader(strings.NewReader(a.body), params["boundary"]); ; {
		p, err := mr.NextPart()
		if err != nil {
			break
		}
		body, _ := io.ReadAll(p)
		parts += p.Header.Get("Content-Range") + " " + string(body) + ";"
	}
	if parts != "bytes 0-1/10 01;bytes 5-6/10 56;" || !a.hit() {
		t.Errorf("%q", parts)
	}
	if a := s.do(http.MethodHead, "/a", "Range", "bytes=0-1"); a.StatusCode != 200 || a.ContentLength != 10 || !a.hit() {
		t.Errorf("HEAD: %d, %d bytes, %s", a.StatusCode, a.ContentLength, a.Header.Get("Cache-Status"))
	}
}

// ranger answers ranges as an origin does, and writes down what it was asked for.
func ranger(asked *[]string, etag *string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", *etag)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("0123456789"))
	}
}

// Parts are stored, joined and completed: a body is never fetched twice while its validator is strong and the same.
func TestParts(t *testing.T) {
	var asked []string
	etag := `"v1"`
	s := serve(t, Options{}, ranger(&asked, &etag))
	for _, c := range []struct{ span, body, asked string }{
		{"bytes=0-2", "012", "bytes=0-2"},
		{"bytes=1-2", "12", ""},
		{"bytes=2-5", "2345", "bytes=2-5"},
		{"bytes=0-5", "012345", ""}, // of both
		{"bytes=4-6", "456", "bytes=4-6"},
		{"", "0123456789", `bytes=7- "v1"`}, // completed
		{"", "0123456789", ""},
		{"bytes=-2", "89", ""},
	} {
		asked = nil
		var fields []string
		status := 200
		if c.span != "" {
			fields, status = []string{"Range", c.span}, 206
		}
		a := s.get("/a", fields...)
		if got := strings.Join(asked, "; "); a.StatusCode != status || a.body != c.body || got != c.asked {
			t.Errorf("%q: %d %q, asked for %q; want %q, asked for %q (%s)", c.span, a.StatusCode, a.body, got, c.body, c.asked,
				a.Header.Get("Cache-Status"))
		}
	}
}

// The rest of another representation is not taken for the rest of this one.
func TestPartOfAnother(t *testing.T) {
	var asked []string
	etag := `"v1"`
	careless := false
	h := ranger(&asked, &etag)
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if careless { // an origin that does not know If-Range
			delete(r.Header, "If-Range")
		}
		h(w, r)
	})
	for i, c := range []struct{ first, then string }{
		{`"v1"`, `"v2"`},
		{`W/"v1"`, `W/"v1"`}, // a weak one does not tell bytes apart
	} {
		path := fmt.Sprint("/", i)
		etag, careless = c.first, true
		s.get(path, "Range", "bytes=0-2")
		etag = c.then
		asked = nil
		if a := s.get(path); a.StatusCode != 200 || a.body != "0123456789" || a.Header.Get("ETag") != etag {
			t.Errorf("%d %q %v", a.StatusCode, a.body, a.Header)
		}
		if len(asked) != 2 || asked[1] != "" {
			t.Errorf("asked for %q", asked)
		}
	}
}

// staged is a handler whose answer a test sets.
type staged struct {
	f     atomic.Pointer[http.HandlerFunc]
	calls atomic.Int64
}

func (s *staged) is(f http.HandlerFunc) { s.f.Store(&f) }
func (s *staged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	(*s.f.Load())(w, r)
}

func says(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestStaleWhileRevalidate(t *testing.T) {
	var h staged
	s := serve(t, Options{}, h.ServeHTTP)
	h.is(says(200, "old", "Cache-Control", "max-age=10, stale-while-revalidate=60", "Age", "20"))
	s.wantMiss("/a")
	gate := make(chan struct{})
	h.is(func(w http.ResponseWriter, r *http.Request) {
		<-gate
		says(200, "new", "Cache-Control", "max-age=60")(w, r)
	})
	for range 3 { // one of them fetches, none waits
		if a := s.get("/a"); a.body != "old" || !strings.Contains(a.Header.Get("Cache-Status"), "hit; ttl=-10") {
			t.Errorf("%q, %s", a.body, a.Header.Get("Cache-Status"))
		}
	}
	close(gate)
	eventually(t, "the new one", func() bool { return s.get("/a").body == "new" })
	if n := h.calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}

	for name, cc := range map[string]string{
		"beyond the window": "max-age=10, stale-while-revalidate=5",
		"must-revalidate":   "max-age=10, stale-while-revalidate=60, must-revalidate",
		"proxy-revalidate":  "max-age=10, stale-while-revalidate=60, proxy-revalidate",
		"no-cache":          "max-age=10, stale-while-revalidate=60, no-cache",
		"without":           "max-age=10",
	} {
		h.is(says(200, "old", "Cache-Control", cc, "Age", "20", "ETag", `"a"`))
		s.wantMiss("/" + name[:3])
		h.is(says(200, "new", "Cache-Control", "max-age=60"))
		if a := s.wantMiss("/" + name[:3]); a.body != "new" {
			t.Errorf("%s: %q", name, a.body)
		}
	}
}

// Close waits for what revalidates in the background, and tells it to end.
func TestCloseEndsRevalidation(t *testing.T) {
	var h staged
	s := serve(t, Options{LoadTimeout: time.Hour}, h.ServeHTTP)
	h.is(says(200, "old", "Cache-Control", "max-age=10, stale-while-revalidate=60", "Age", "20"))
	s.wantMiss("/a")
	began, ended := make(chan struct{}), false
	h.is(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended = true
		panic("a revalidation that panics harms nobody")
	})
	s.get("/a")
	<-began
	if err := s.c.Close(); err != nil || !ended {
		t.Error(err, ended)
	}
}

func TestStaleIfError(t *testing.T) {
	minute := Options{StaleIfUnreachable: time.Minute}
	for _, c := range []struct {
		opts        Options
		cc, request string
		status      int
		old         bool
	}{
		{Options{}, "max-age=10, stale-if-error=60", "", 503, true},
		{Options{}, "max-age=10, stale-if-error=60", "", 500, true},
		{Options{}, "max-age=10, stale-if-error=60", "", 404, false},
		{Options{}, "max-age=10, stale-if-error=5", "", 503, false},
		{Options{}, "max-age=10, stale-if-error=60, must-revalidate", "", 503, false},
		{Options{}, "max-age=10", "", 503, false},
		{Options{}, "max-age=10", "stale-if-error=60", 503, true},
		{Options{}, "max-age=10, stale-if-error=60", "no-cache", 503, false},
		{Options{}, "s-maxage=10, stale-if-error=60", "", 503, true},
		{Options{}, "s-maxage=10", "stale-if-error=60", 503, false},

		{minute, "max-age=10", "", 502, true},
		{minute, "max-age=10", "", 504, true},
		{minute, "max-age=10", "", 503, false}, // it was reached, and said what it said
		{minute, "max-age=10, stale-if-error=60", "", 503, true},
		{minute, "max-age=10", "", 404, false},
		{minute, "max-age=10", "no-cache", 502, false},
		{minute, "max-age=10, stale-if-error=5", "", 502, false}, // the response's own word counts
		{minute, "max-age=10, stale-if-error=5", "stale-if-error=60", 502, true},
		{minute, "max-age=10, must-revalidate", "", 502, false},
		{minute, "max-age=10, proxy-revalidate", "", 502, false},
		{minute, "max-age=10, no-cache", "", 502, false},
		{minute, "s-maxage=10", "", 502, false},
		{Options{StaleIfUnreachable: 5 * time.Second}, "max-age=10", "", 502, false},
	} {
		var h staged
		s := serve(t, c.opts, h.ServeHTTP)
		h.is(says(200, "old", "Cache-Control", c.cc, "Age", "20", "ETag", `"a"`))
		s.wantMiss("/a")
		h.is(says(c.status, "error"))
		var fields []string
		if c.request != "" {
			fields = []string{"Cache-Control", c.request}
		}
		a := s.get("/a", fields...)
		if (a.body == "old" && a.StatusCode == 200) != c.old || (a.body == "error") == c.old {
			t.Errorf("StaleIfUnreachable %v, %q, asked for with %q: %d %q (%s)", c.opts.StaleIfUnreachable, c.cc, c.request, a.StatusCode,
				a.body, a.Header.Get("Cache-Status"))
		}
	}
}

// An error that was stored does not stand in for the next one, which may say something newer: it did before ifError asked
// for its status.
func TestNoErrorStandsInForAnError(t *testing.T) {
	var h staged
	s := serve(t, Options{}, h.ServeHTTP)
	h.is(says(503, "back at nine", "Cache-Control", "max-age=10, stale-if-error=60", "Age", "20"))
	s.wantMiss("/a")
	h.is(says(503, "back at ten"))
	if a := s.get("/a"); a.StatusCode != 503 || a.body != "back at ten" {
		t.Errorf("%d %q (%s)", a.StatusCode, a.body, a.Header.Get("Cache-Status"))
	}
}

func TestTargeted(t *testing.T) {
	for _, c := range []struct {
		fields []string
		hit    bool
		passed string // CDN-Cache-Control as clients see it
	}{
		{[]string{"Freshet-Cache-Control", "max-age=60", "Cache-Control", "no-store"}, true, ""},
		{[]string{"CDN-Cache-Control", "max-age=60", "Cache-Control", "private"}, true, "max-age=60"},
		{[]string{"Freshet-Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60"}, false, "max-age=60"},
		{[]string{"Freshet-Cache-Control", "&&&", "CDN-Cache-Control", "max-age=60"}, true, "max-age=60"},
		{[]string{"CDN-Cache-Control", "max-age=60, &&&", "Cache-Control", "no-store"}, false, "max-age=60, &&&"},
		{[]string{"CDN-Cache-Control", `max-age="60"`, "Cache-Control", "max-age=60"}, false, `max-age="60"`},
		{[]string{"CDN-Cache-Control", "", "Cache-Control", "max-age=60"}, true, ""},
		{[]string{"CDN-Cache-Control", "max-age=0", "Expires", "Thu, 18 Aug 2050 02:01:18 GMT"}, false, "max-age=0"},
		{[]string{"CDN-Cache-Control", "max-age=60;x=y, no-store=?0"}, true, "max-age=60;x=y, no-store=?0"},
		{[]string{"Surrogate-Control", "max-age=60"}, false, ""},
	} {
		h, _ := counter(c.fields...)
		s := serve(t, Options{}, h)
		for i := range 2 {
			a := s.get("/a")
			if a.hit() != (c.hit && i == 1) || a.Header.Get("CDN-Cache-Control") != c.passed || a.Header.Get("Freshet-Cache-Control") != "" {
				t.Errorf("%q: hit %v, %v", c.fields, a.hit(), a.Header)
			}
		}
	}
}

func TestHead(t *testing.T) {
	var h staged
	s := serve(t, Options{}, h.ServeHTTP)
	h.is(says(200, "body", "Cache-Control", "max-age=60", "ETag", `"a"`, "Content-Length", "4"))
	if a := s.do(http.MethodHead, "/a"); a.hit() {
		t.Error("a hit from nothing")
	}
	if a := s.do(http.MethodHead, "/a"); a.hit() {
		t.Error("a response to HEAD was stored")
	}
	s.wantMiss("/a")
	if a := s.do(http.MethodHead, "/a"); !a.hit() || a.ContentLength != 4 || a.body != "" {
		t.Errorf("%d, %v", a.ContentLength, a.Header)
	}
	// A HEAD that tells of another representation ends the stored one (RFC 9111 section 4.3.5).
	h.is(says(200, "", "Cache-Control", "max-age=60", "ETag", `"b"`))
	s.do(http.MethodHead, "/a", "Cache-Control", "no-cache")
	s.wantMiss("/a")
}

func TestRequestDirectives(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=100", "Age", "50")
	s := serve(t, Options{}, h)
	s.wantMiss("/a")
	s.wantHit("/a")
	s.wantHit("/a", "Cache-Control", "max-age=60, min-fresh=10")
	if a := s.get("/b", "Cache-Control", "only-if-cached"); a.StatusCode != http.StatusGatewayTimeout {
		t.Error(a.StatusCode)
	}
	s.wantHit("/a", "Cache-Control", "only-if-cached")
	for _, field := range [][2]string{
		{"Cache-Control", "no-cache"}, {"Cache-Control", "max-age=10"}, {"Cache-Control", "min-fresh=70"}, {"Pragma", "no-cache"},
	} {
		a := s.wantMiss("/a", field[0], field[1])
		if !strings.HasPrefix(a.Header.Get("Cache-Status"), "freshet; fwd=request") {
			t.Errorf("%v: %s", field, a.Header.Get("Cache-Status"))
		}
	}
}

func TestPostedRepresentation(t *testing.T) {
	n := 0
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Location", r.URL.Query().Get("at"))
		}
		fmt.Fprint(w, n)
	})
	s.do(http.MethodPost, "/a?at=/a%3Fat=/x") // somewhere else
	s.wantMiss("/a?at=/a%3Fat=/x")
	s.do(http.MethodPost, "/b?at=")
	s.wantMiss("/b?at=")
	posted := s.do(http.MethodPost, "/c?at=%3Fat=%253Fat")
	if posted.hit() {
		t.Error("a POST from memory")
	}
}

// An upstream cache's member stays before ours.
func TestCacheStatusChain(t *testing.T) {
	h, _ := counter("Cache-Control", "max-age=60", "Cache-Status", "origin; hit")
	s := serve(t, Options{Name: "edge"}, h)
	for _, want := range []string{"edge; fwd=uri-miss; stored", "edge; hit; ttl=60"} {
		a := s.get("/a")
		if got := a.Header.Values("Cache-Status"); len(got) != 2 || got[0] != "origin; hit" || got[1] != want {
			t.Errorf("%q, want %q behind the origin's", got, want)
		}
	}
}
