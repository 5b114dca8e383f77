package httpcache

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// connect gives a tracker on the server at addr, as another process would have one.
func connect(t testing.TB, addr string) (*invalidate.Tracker, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { rdb.Close() })
	tracker, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracker.Close() })
	return tracker, rdb
}

// redisHere is a Redis in the process. It watches for goroutines that outlive the test: call it first.
func redisHere(t testing.TB) *notifytest.Server {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		leak.Check(t)
	}
	return notifytest.Start(t)
}

func newTracker(t testing.TB) *invalidate.Tracker {
	t.Helper()
	tracker, _ := connect(t, redisHere(t).Addr)
	return tracker
}

func newCache(t testing.TB, tracker *invalidate.Tracker, opts Options) *Cache {
	t.Helper()
	c, err := New(tracker, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// site is a cache before a handler, behind a real listener.
type site struct {
	t *testing.T
	c *Cache
	*httptest.Server
}

func serve(t *testing.T, opts Options, h http.HandlerFunc) *site {
	t.Helper()
	return serveOn(t, newTracker(t), opts, h)
}

func serveOn(t *testing.T, tracker *invalidate.Tracker, opts Options, h http.HandlerFunc) *site {
	t.Helper()
	c := newCache(t, tracker, opts)
	s := &site{t: t, c: c, Server: httptest.NewUnstartedServer(c.Handler(h))}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // panics are on purpose
	s.Start()
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.Client().Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(s.Close)
	return s
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (s *site) do(method, path string, fields ...string) answer {
	s.t.Helper()
	a, err := s.try(s.t.Context(), method, path, nil, fields...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *site) get(path string, fields ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, fields...)
}

func (s *site) try(ctx context.Context, method, path string, body io.Reader, fields ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp, string(data)}, err
}

// hit reports whether our cache served a from memory.
func (a answer) hit() bool { return strings.Contains(a.Header.Get("Cache-Status"), "freshet; hit") }

func (s *site) wantHit(path string, fields ...string) answer {
	s.t.Helper()
	a := s.get(path, fields...)
	if !a.hit() {
		s.t.Fatalf("GET %s: Cache-Status %q, want a hit", path, a.Header.Get("Cache-Status"))
	}
	return a
}

func (s *site) wantMiss(path string, fields ...string) answer {
	s.t.Helper()
	a := s.get(path, fields...)
	if a.hit() {
		s.t.Fatalf("GET %s: Cache-Status %q, want none from memory", path, a.Header.Get("Cache-Status"))
	}
	return a
}

// eventually polls for what another goroutine is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}
