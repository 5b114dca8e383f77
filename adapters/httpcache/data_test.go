package httpcache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// instance is one process of a shop: a near cache, and pages made of what is in it.
func instance(t *testing.T, addr string, opts Options) (*site, *invalidate.Tracker) {
	t.Helper()
	tracker, rdb := connect(t, addr)
	products, err := rediscache.New(tracker, rdb, rediscache.JSON[int](), cache.Options[string, int]{Prefix: "product:", MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { products.Close() })
	return serveOn(t, tracker, opts, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/static") {
			io.WriteString(w, "static")
			return
		}
		price, err := products.Get(r.Context(), r.URL.Path[1:])
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		fmt.Fprint(w, price)
	}), tracker
}

func fence(t *testing.T, tracker *invalidate.Tracker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tracker.Fence(ctx); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, rdb *redis.Client, key string, value any) {
	t.Helper()
	if err := rdb.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// A SET by a client that knows of no cache, and after a fence both instances serve the new page. No header and no tag
// says that the page depends on the key. Without the record on the request's context (x.rec's in run) nothing is stored.
func TestTwoInstancesOneRedis(t *testing.T) {
	server := redistest.Start(t)
	other := server.Client(t)
	set(t, other, "product:42", 10)
	one, first := instance(t, server.Addr(), Options{Recorded: time.Hour})
	two, second := instance(t, server.Addr(), Options{Recorded: time.Hour})
	for price := 10; price < 15; price++ {
		set(t, other, "product:42", price)
		fence(t, first)
		fence(t, second)
		for _, s := range []*site{one, two} {
			if a := s.wantMiss("/42"); a.body != fmt.Sprint(price) {
				t.Fatalf("the page says %s, want %d", a.body, price)
			}
			if a := s.wantHit("/42"); a.body != fmt.Sprint(price) {
				t.Fatalf("the stored page says %s, want %d", a.body, price)
			}
		}
	}
	one.get("/42")
	set(t, other, "product:42", 1)
	fence(t, first)
	if a := one.wantMiss("/42"); !strings.Contains(a.Header.Get("Cache-Status"), "detail=fallen") {
		t.Errorf("Cache-Status %q", a.Header.Get("Cache-Status"))
	}
}

// Recorded is for what depends on something, and for nothing else.
func TestRecorded(t *testing.T) {
	server := redisHere(t)
	set(t, server.Client(t), "product:42", 10)
	s, _ := instance(t, server.Addr, Options{Recorded: time.Hour})
	s.wantMiss("/42")
	s.wantHit("/42")
	s.wantMiss("/static")
	s.wantMiss("/static")
	s.wantMiss("/42", "Cookie", "session=1", "Cache-Control", "no-cache")

	without, _ := instance(t, server.Addr, Options{})
	without.wantMiss("/42")
	without.wantMiss("/42")

	personal, _ := instance(t, server.Addr, Options{Recorded: time.Hour})
	personal.wantMiss("/42", "Cookie", "session=1")
	personal.wantMiss("/42", "Cookie", "session=1")
	personal.wantMiss("/42", "Authorization", "me")
	personal.wantMiss("/42")
}

// Tags, surrogate keys, groups and URLs make responses fall in every process.
func TestNamedByHand(t *testing.T) {
	server := redisHere(t)
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Cache-Tag", "catalog, menu")
		w.Header().Set("Surrogate-Key", "shop front")
		w.Header().Set("Cache-Groups", `"scripts", "other";a=1`)
		invalidate.DependOn(r.Context(), invalidate.Key("by:hand"))
		if r.Method == http.MethodPost {
			w.Header().Set("Cache-Group-Invalidation", `"scripts"`)
		}
	}
	tracker, rdb := connect(t, server.Addr)
	one := serveOn(t, tracker, Options{}, h)
	elsewhere, _ := connect(t, server.Addr)
	two := newCache(t, elsewhere, Options{})

	u, _ := url.Parse(one.URL + "/page?a=b")
	touch := func(n invalidate.Name) func() error {
		return func() error { return elsewhere.Touch(t.Context(), n) }
	}
	for name, fell := range map[string]func() error{
		"tag":           touch(invalidate.Tag("menu")),
		"surrogate key": touch(invalidate.Tag("front")),
		"group":         touch(GroupTag(one.URL, "other")),
		"purge":         func() error { return two.Purge(t.Context(), u) },
		"a key":         func() error { return rdb.Set(t.Context(), "by:hand", 1, 0).Err() },
		"group by POST": func() error { one.do(http.MethodPost, "/elsewhere"); return nil },
		"POST":          func() error { one.do(http.MethodPost, "/page?a=b"); return nil },
		"unknown":       func() error { one.do("FROBNICATE", "/page?a=b"); return nil },
	} {
		one.get("/page?a=b")
		one.wantHit("/page?a=b")
		if err := touch(invalidate.Tag("nobody's"))(); err != nil {
			t.Fatal(err)
		}
		fence(t, tracker)
		one.wantHit("/page?a=b")
		if err := fell(); err != nil {
			t.Fatal(err)
		}
		fence(t, tracker)
		if a := one.get("/page?a=b"); a.hit() {
			t.Errorf("%s: it has not fallen", name)
		}
	}
	one.get("/page?a=b")
	for _, harmless := range []string{http.MethodOptions, http.MethodHead, "PROPFIND"} {
		one.do(harmless, "/page?a=b")
		one.wantHit("/page?a=b")
	}
}

// Location and Content-Location fall with an unsafe request, if they are of the same origin, and only if it succeeded.
func TestUnsafeMethods(t *testing.T) {
	var status = http.StatusOK
	var location string
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("Location", location)
			w.Header().Set("Content-Location", "rel")
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
	})
	paths := []string{"/dir/a", "/dir/rel", "/loc", "/far"}
	for _, c := range []struct {
		status   int
		location string
		fallen   string
	}{
		{http.StatusOK, "/loc?x#frag", "/dir/a /dir/rel"},
		{http.StatusSeeOther, s.URL + "/loc", "/dir/a /dir/rel /loc"},
		{http.StatusCreated, "http://elsewhere.example/far", "/dir/a /dir/rel"},
		{http.StatusCreated, "://", "/dir/a /dir/rel"},
		{http.StatusConflict, "/loc", ""},
		{http.StatusInternalServerError, "/loc", ""},
	} {
		for _, p := range paths {
			s.get(p)
			s.wantHit(p)
		}
		status, location = c.status, c.location
		s.do(http.MethodPut, "/dir/a")
		var fallen []string
		for _, p := range paths {
			if !s.get(p).hit() {
				fallen = append(fallen, p)
			}
		}
		if got := strings.Join(fallen, " "); got != c.fallen {
			t.Errorf("%d with Location %q: %q fell, want %q", c.status, c.location, got, c.fallen)
		}
	}
}

// What falls while its handler runs is given to the client and to nobody after (R3). With records begun when the handler
// has ended, in seal, the old page is served from then on.
func TestFallsWhileLoading(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	set(t, rdb, "k", "old")
	during := func() {}
	s := serveOn(t, tracker, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		raw, err := rediscache.GetString(r.Context(), rdb, "k", rediscache.Bytes())
		v := string(raw)
		if err != nil {
			t.Error(err)
		}
		during()
		io.WriteString(w, v)
	})
	during = func() {
		set(t, rdb, "k", "new")
		fence(t, tracker)
		during = func() {}
	}
	if a := s.wantMiss("/a"); a.body != "old" {
		t.Fatal(a.body)
	}
	if a := s.wantMiss("/a"); a.body != "new" {
		t.Fatal(a.body)
	}
	s.wantHit("/a")
}

// A page that fell is validated like one that is old: the handler says with a 304 that it would be the same, and it then
// still falls with all that it was made of.
func TestFallenIsValidated(t *testing.T) {
	server := redisHere(t)
	tracker, rdb := connect(t, server.Addr)
	var full int
	s := serveOn(t, tracker, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full++
		invalidate.DependOn(r.Context(), invalidate.Key("k"))
		io.WriteString(w, "body")
	})
	s.wantMiss("/a")
	for range 3 {
		set(t, rdb, "k", "x")
		fence(t, tracker)
		a := s.wantMiss("/a")
		if want := "freshet; fwd=stale; fwd-status=304; stored; detail=fallen"; a.body != "body" || a.Header.Get("Cache-Status") != want {
			t.Errorf("%q, %q, want %q", a.body, a.Header.Get("Cache-Status"), want)
		}
		s.wantHit("/a")
	}
	if full != 1 {
		t.Errorf("the page was made %d times", full)
	}
}

// Nothing is served from memory that is not proven, unless that was chosen; nothing that fell comes back as stale.
func TestUnprovenAndStale(t *testing.T) {
	server := redistest.Start(t)
	for _, c := range []struct {
		name          string
		opts          Options
		unproven, old bool // whether it is served: while Redis is away; as stale after it fell
	}{
		{"default", Options{}, false, false},
		{"stale if unreachable", Options{StaleIfUnreachable: time.Minute}, false, false},
		{"chosen", Options{ServeUnproven: true, StaleFallen: true}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			rdb := server.Client(t)
			tracker, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer tracker.Close()
			var fail atomic.Bool
			s := serveOn(t, tracker, c.opts, func(w http.ResponseWriter, r *http.Request) {
				if fail.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if c.opts.StaleIfUnreachable > 0 {
					w.Header().Set("Cache-Control", "max-age=60")
				} else {
					w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=60, stale-if-error=60")
				}
				invalidate.DependOn(r.Context(), invalidate.Key("k"))
			})
			s.wantMiss("/a")
			s.wantHit("/a")
			set(t, rdb, "k", 1)
			fence(t, tracker)
			fail.Store(true)
			if a := s.get("/a"); a.hit() != c.old {
				t.Errorf("after it fell: %s", a.Header.Get("Cache-Status"))
			}
			if a := s.get("/a", "Cache-Control", "max-stale"); a.hit() != c.old {
				t.Errorf("after it fell, with max-stale: %s", a.Header.Get("Cache-Status"))
			}
			fail.Store(false)
			s.get("/b")
			s.wantHit("/b")
			server.Pause()
			defer server.Resume()
			eventually(t, "the proof has aged", func() bool { return tracker.Staleness() > s.c.opts.MaxStaleness })
			fail.Store(true)
			// The load itself was proof until MaxStaleness after it.
			eventually(t, "unproven", func() bool {
				a := s.get("/b")
				return a.hit() == c.unproven && (c.unproven || a.StatusCode == http.StatusServiceUnavailable)
			})
		})
	}
}

// I1 through the whole of it, coalescing and validation included: a page that is asked for after a fence is never older
// than what was written before that fence, whatever runs at the same time.
func TestNeverOlderThanTheFence(t *testing.T) {
	server := redistest.Start(t)
	writer := server.Client(t)
	set(t, writer, "k", 0)
	var sites []*site
	var trackers []*invalidate.Tracker
	for range 2 {
		tracker, rdb := connect(t, server.Addr())
		sites = append(sites, serveOn(t, tracker, Options{Recorded: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
			v, err := rediscache.GetString[int](r.Context(), rdb, "k", nil)
			if err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Millisecond) // time for others to join, and for a write
			etag := fmt.Sprintf(`"%d"`, v)
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			fmt.Fprint(w, v)
		}))
		trackers = append(trackers, tracker)
	}
	var written, hits, joined atomic.Int64
	stop := make(chan struct{})
	var writes, reads sync.WaitGroup
	writes.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			set(t, writer, "k", n)
			written.Store(int64(n))
			time.Sleep(time.Duration(n%5) * time.Millisecond)
		}
	})
	for i := range 8 {
		reads.Go(func() {
			s, tracker := sites[i%2], trackers[i%2]
			for range 100 {
				least := written.Load()
				fence(t, tracker)
				a, err := s.try(t.Context(), http.MethodGet, "/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				v, err := strconv.ParseInt(a.body, 10, 64)
				if err != nil || v < least {
					t.Errorf("%q (%s) after %d had been written", a.body, a.Header.Get("Cache-Status"), least)
				}
				if a.hit() {
					hits.Add(1)
				}
				if strings.Contains(a.Header.Get("Cache-Status"), "collapsed") {
					joined.Add(1)
				}
			}
		})
	}
	reads.Wait()
	close(stop)
	writes.Wait()
	if hits.Load() == 0 || joined.Load() == 0 {
		t.Errorf("%d hits and %d joined: this has shown nothing", hits.Load(), joined.Load())
	}
	t.Logf("%d writes, %d hits, %d joined", written.Load(), hits.Load(), joined.Load())
}

// Cache-Status says stored of a page that lives by what was recorded only where something was. Seen to fail without
// grounds in commit.
func TestStoredIsSaidOfWhatIs(t *testing.T) {
	for want, read := range map[bool]func(context.Context){
		true:  func(ctx context.Context) { invalidate.DependOn(ctx, invalidate.Key("k")) },
		false: func(context.Context) { invalidate.DependOn(context.Background(), invalidate.Key("k")) },
	} {
		s := serve(t, Options{Recorded: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			read(r.Context())
			w.WriteHeader(http.StatusOK)
		})
		first, second := s.get("/a"), s.get("/a")
		if said := strings.Contains(first.Header.Get("Cache-Status"), "stored"); said != want || second.hit() != want {
			t.Errorf("read with the request's context %v: %q, then %q", want, first.Header["Cache-Status"], second.Header["Cache-Status"])
		}
	}
}
