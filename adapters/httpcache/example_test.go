package httpcache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/gofreshet/freshet/adapters/httpcache"
	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// A page made of a Redis value says nothing of caching. It is kept, and falls when the value changes.
func Example() {
	server, err := notifytest.Run() // or a Redis of yours
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	ctx := context.Background()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		panic(err)
	}
	defer tracker.Close()
	pages, err := httpcache.New(tracker, httpcache.Options{Recorded: time.Minute})
	if err != nil {
		panic(err)
	}
	defer pages.Close()

	site := httptest.NewServer(pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		price, err := rediscache.GetString[int](r.Context(), rdb, "price:lamp", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, "a lamp costs %d", price)
	})))
	defer site.Close()
	look := func() {
		resp, err := http.Get(site.URL + "/lamp")
		if err != nil {
			panic(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Printf("%s (%s)\n", body, resp.Header.Get("Cache-Status"))
	}

	rdb.Set(ctx, "price:lamp", 10, 0)
	tracker.Fence(ctx)
	look()
	look()
	rdb.Set(ctx, "price:lamp", 12, 0) // by anybody, in any language
	tracker.Fence(ctx)
	look()
	// Output:
	// a lamp costs 10 (freshet; fwd=uri-miss; stored)
	// a lamp costs 10 (freshet; hit; ttl=60)
	// a lamp costs 12 (freshet; fwd=stale; stored; detail=fallen)
}

// Responses fall by URL, by tag and by group, in every process on the same Redis.
func ExampleCache_Purge() {
	server, err := notifytest.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	ctx := context.Background()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		panic(err)
	}
	defer tracker.Close()
	pages, err := httpcache.New(tracker, httpcache.Options{})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	site := httptest.NewServer(pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Freshet-Cache-Control", "max-age=3600") // for this cache; it is taken off
		w.Header().Set("Cache-Control", "no-store")             // for browsers
		w.Header().Set("Cache-Tag", "catalog, lamps")
		w.Header().Set("Cache-Groups", `"front"`)
	})))
	defer site.Close()
	look := func() {
		resp, err := http.Get(site.URL + "/lamp")
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Header.Get("Cache-Status"))
	}

	look()
	look()
	u, _ := url.Parse(site.URL + "/lamp")
	pages.Purge(ctx, u)
	look()
	tracker.Touch(ctx, invalidate.Tag("lamps"))
	look()
	tracker.Touch(ctx, httpcache.GroupTag(site.URL, "front"))
	look()
	// Output:
	// freshet; fwd=uri-miss; stored
	// freshet; hit; ttl=3600
	// freshet; fwd=stale; stored; detail=fallen
	// freshet; fwd=stale; stored; detail=fallen
	// freshet; fwd=stale; stored; detail=fallen
}
