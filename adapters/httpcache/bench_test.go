package httpcache

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// sink is a ResponseWriter that costs nothing, so that what is measured is the cache.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func newSink() *sink { return &sink{header: make(http.Header, 16)} }

func (s *sink) reset() { clear(s.header); s.n = 0 }

// bare is what a cache costs that does nothing right: a map and a mutex.
type bare struct {
	mu    sync.Mutex
	byURL map[string]bareEntry
	next  http.Handler
}

type bareEntry struct {
	header  http.Header
	body    []byte
	expires time.Time
}

func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	e, ok := b.byURL[r.Host+r.URL.RequestURI()]
	b.mu.Unlock()
	if !ok || time.Now().After(e.expires) {
		rec := httptest.NewRecorder()
		b.next.ServeHTTP(rec, r)
		e = bareEntry{rec.Header(), rec.Body.Bytes(), time.Now().Add(time.Hour)}
		b.mu.Lock()
		b.byURL[r.Host+r.URL.RequestURI()] = e
		b.mu.Unlock()
	}
	for name, lines := range e.header {
		w.Header()[name] = lines
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(e.body)
}

func page(size int) http.Handler {
	body := bytes.Repeat([]byte("x"), size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=3600")
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Etag", `"abc"`)
		h.Set("Vary", "Accept-Encoding")
		h.Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(body)
	})
}

func get(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "example.com"
	r.Header.Set("Accept-Encoding", "gzip, deflate, br")
	r.Header.Set("User-Agent", "bench")
	r.Header.Set("Accept", "text/html")
	r.Body = http.NoBody
	return r
}

func sides(b *testing.B, size int) map[string]http.Handler {
	c := newCache(b, newTracker(b), Options{})
	return map[string]http.Handler{
		"freshet": c.Handler(page(size)),
		"bare":    &bare{byURL: make(map[string]bareEntry), next: page(size)},
	}
}

// BenchmarkHit is a hit through ServeHTTP beside the bare cache's.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		handlers := sides(b, size)
		for _, name := range []string{"freshet", "bare"} {
			h := handlers[name]
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				r, w := get("/products/42?currency=eur"), newSink()
				h.ServeHTTP(w, r)
				b.ReportAllocs()
				for b.Loop() {
					w.reset()
					h.ServeHTTP(w, r)
				}
				if w.n != size {
					b.Fatalf("%d bytes, want %d", w.n, size)
				}
			})
		}
	}
}

// BenchmarkHitParallel is the same on all cores, over a thousand URLs.
func BenchmarkHitParallel(b *testing.B) {
	handlers := sides(b, 1<<10)
	for _, name := range []string{"freshet", "bare"} {
		h := handlers[name]
		var requests []*http.Request
		for i := range 1000 {
			requests = append(requests, get("/products/"+strconv.Itoa(i)))
			h.ServeHTTP(newSink(), requests[i])
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := newSink()
				for i := 0; pb.Next(); i++ {
					w.reset()
					h.ServeHTTP(w, requests[i%len(requests)])
				}
			})
		})
	}
}

// BenchmarkMiss is what the cache adds to a handler that runs, and is stored.
func BenchmarkMiss(b *testing.B) {
	h := sides(b, 1<<10)["freshet"]
	w := newSink()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.reset()
		i++
		h.ServeHTTP(w, get("/products/"+strconv.Itoa(i)))
	}
}
