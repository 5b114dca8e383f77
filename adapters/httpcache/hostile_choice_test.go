package httpcache

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// A part that was joined of others answers to no Range but what it holds. Seen to fail without the look at whether the
// stored part knows of a question.
func TestEmptyRange(t *testing.T) {
	asked, etag := []string(nil), `"v1"`
	s := serve(t, Options{}, ranger(&asked, &etag))
	s.get("/", "Range", "bytes=0-3")
	s.get("/", "Range", "bytes=4-7")
	s.wantHit("/", "Range", "bytes=2-5")
	if a := s.get("/", "Range", ""); a.StatusCode != http.StatusOK || a.body != "0123456789" {
		t.Errorf("a Range that asks for nothing was answered %d %q", a.StatusCode, a.body)
	}
}

// A 304 that names a representation, where the one that was asked about had no name, updates nothing (RFC 9111 section
// 4.3.4): the whole is fetched. Seen to fail with every 304 taken for an answer to the question.
func Test304OfAnother(t *testing.T) {
	for name, tags := range map[string]struct{ first, told, second string }{
		"strong":      {`"v1"`, `"v2"`, ""},
		"weak":        {`W/"v1"`, `W/"v2"`, ""},
		"new":         {"", `"v2"`, `"v2"`},
		"same":        {`"v1"`, `"v1"`, ""},
		"same, weak":  {`"v1"`, `W/"v1"`, ""},
		"none":        {`"v1"`, "", ""},
		"weak is new": {"", `W/"v2"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			modified := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
			s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
				set := func(etag string) {
					if etag != "" {
						w.Header().Set("Etag", etag)
					}
				}
				fresh(w)
				w.Header().Set("Last-Modified", modified)
				switch {
				case r.Header.Get("If-Modified-Since") != "":
					set(tags.told)
					w.WriteHeader(http.StatusNotModified)
				case n.Add(1) == 1:
					set(tags.first)
					io.WriteString(w, "first")
				default:
					set(tags.second)
					io.WriteString(w, "second")
				}
			})
			s.get("/")
			want := "first"
			if tags.second != "" {
				want = "second"
			}
			if a := s.get("/", "Cache-Control", "max-age=0"); a.StatusCode != http.StatusOK || a.body != want {
				t.Errorf("validated: %d %q, want %q", a.StatusCode, a.body, want)
			}
			if a := s.wantHit("/"); a.body != want {
				t.Errorf("kept: %q, want %q", a.body, want)
			}
		})
	}
}

// Where several stored responses would do the newest is served, whichever came last (RFC 9111 section 4). Seen to fail
// with the last one that was stored in front.
func TestNewestOfSeveral(t *testing.T) {
	began, gate := make(chan struct{}), make(chan struct{})
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		if r.Header.Get("X-Slow") == "" {
			w.Header().Set("Vary", "A, B")
			io.WriteString(w, "new")
			return
		}
		w.Header().Set("Vary", "A")
		w.Header().Set("Date", time.Now().UTC().Add(-2*time.Second).Format(http.TimeFormat))
		close(began)
		<-gate
		io.WriteString(w, "old")
	})
	slow := make(chan answer)
	go func() {
		a, _ := s.try(t.Context(), "GET", "/", nil, "X-Slow", "1", "Cache-Control", "no-cache")
		slow <- a
	}()
	<-began
	s.get("/", "Cache-Control", "no-cache")
	close(gate)
	if a := <-slow; a.body != "old" {
		t.Fatalf("the slow one was given %q", a.body)
	}
	if a := s.wantHit("/"); a.body != "new" {
		t.Errorf("served %q, and a newer one is there", a.body)
	}
}

// max-stale does not take back what max-age says of the age. Seen to fail without the look at max-age.
func TestMaxStaleWithMaxAge(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Age", "100")
		w.Header().Set("Etag", `"v"`)
	})
	s.get("/")
	s.wantHit("/", "Cache-Control", "max-stale=600")
	s.wantMiss("/", "Cache-Control", "max-stale=600, max-age=5")
}

// A field that comes in two lines is not one that is there and empty. Seen to fail with the first line of each compared
// where there is none to compare.
func TestVaryOnTwoLines(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		w.Header().Set("Vary", "X-Tenant")
		io.WriteString(w, strings.Join(r.Header["X-Tenant"], "+"))
	})
	s.get("/", "X-Tenant", "one", "X-Tenant", "two")
	if a := s.wantMiss("/", "X-Tenant", ""); a.body != "" {
		t.Errorf("nobody was given what is for %s", a.body)
	}
	s.wantHit("/", "X-Tenant", "one", "X-Tenant", "two")
	s.wantHit("/", "X-Tenant", "")
}

// What takes the place of a response that was recorded, and is asked for with its validator, is recorded only if it rests
// on something itself. Seen to fail with the old one's freshness for whatever comes in its place.
func TestRecordedOfAnother(t *testing.T) {
	var n atomic.Int64
	tag := invalidate.Tag("a")
	s := serve(t, Options{Recorded: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			invalidate.DependOn(r.Context(), tag)
		}
		w.Header().Set("Etag", `"v`+strconv.FormatInt(n.Load(), 10)+`"`)
	})
	s.get("/")
	s.wantHit("/")
	if err := s.c.tracker.Touch(t.Context(), tag); err != nil {
		t.Fatal(err)
	}
	s.wantMiss("/")
	s.wantMiss("/")
}

// Nobody knows what became of a write that ended without a response: what is stored falls. Seen to fail without the look
// at whether there was one.
func TestUnsafeWithoutResponse(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			panic(http.ErrAbortHandler)
		case http.MethodPatch:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}
		fresh(w)
	})
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		s.get("/")
		s.wantHit("/")
		if _, err := s.try(t.Context(), method, "/", nil); err == nil {
			t.Fatal(method, "was answered")
		}
		eventually(t, method+" makes it fall", func() bool { return !s.get("/").hit() })
	}
	down := errors.New("the link is cut")
	rt := s.c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut {
			return nil, down
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: http.NoBody, Request: r}, nil
	}))
	trip := func(method string) (hit bool, err error) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://h.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(r)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return answer{Response: resp}.hit(), nil
	}
	if _, err := trip("GET"); err != nil {
		t.Fatal(err)
	}
	if hit, err := trip("GET"); err != nil || !hit {
		t.Fatal("a response is not kept", err)
	}
	if _, err := trip("PUT"); !errors.Is(err, down) {
		t.Fatal(err)
	}
	if hit, err := trip("GET"); err != nil || hit {
		t.Errorf("served from before a PUT whose outcome is unknown (%v)", err)
	}
}
