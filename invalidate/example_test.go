package invalidate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// A tracker for keys below two prefixes, in a service that must start whether Redis is there or not.
func ExampleConnect() {
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // bounds the start alone
	defer cancel()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{Notify: notify.Options{
		Prefixes:  []string{"product:", "user:"},
		StartDown: true, // reads load through until Redis is heard
	}})
	if err != nil {
		log.Fatal(err) // a *notify.SetupError says what is missing and the line that mends it
	}
	defer tracker.Close()

	if err := tracker.WaitSynced(ctx); err != nil { // for this example; a service need not wait
		log.Fatal(err)
	}
	health := tracker.Health() // for /readyz
	fmt.Println(health.Synced, health.Reasons, health.Staleness < time.Minute)
	fmt.Println(tracker.Cover(ctx, "order:"))
	// Output:
	// true [] true
	// invalidate: name lies outside Options.Notify.Prefixes: "order:": add it to Prefixes, or set Options.FollowCaches
}

// With Sentinels the tracker wants the client's options too, for the client does not tell them. Loads that read Redis
// themselves take the client that Reader gives them.
func ExampleTracker_Reader() {
	sentinels := &redis.FailoverOptions{MasterName: "mymaster", SentinelAddrs: []string{"sentinel-1:26379", "sentinel-2:26379"}}
	rdb := redis.NewFailoverClient(sentinels)
	defer rdb.Close()
	tracker, err := invalidate.Connect(context.Background(), rdb, invalidate.Options{Notify: notify.Options{Sentinel: sentinels}})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()

	load := func(ctx context.Context, user string) (string, error) { // for cache.Options.Load
		invalidate.DependOn(ctx, invalidate.Key("user:"+user))
		name, err := tracker.Reader(ctx, rdb).HGet(ctx, "user:"+user, "name").Result()
		if err != nil && !errors.Is(err, redis.Nil) { // another may be the primary by now: rdb finds it
			invalidate.NoStore(ctx)
			return rdb.HGet(ctx, "user:"+user, "name").Result()
		}
		return name, err
	}
	_ = load
}

// Two processes: one builds something from what Redis does not know of and depends on a tag, the other changes it.
func ExampleTracker_Touch() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	reader, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	writer, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer writer.Close()

	record, rctx := reader.Record(ctx) // what cache.Cache does around each load
	page := "a page built from the price list"
	invalidate.DependOn(rctx, invalidate.Tag("prices"), invalidate.Key("layout"))
	valid, ok := record.Seal()
	fmt.Println(page, ok, valid.Valid(time.Second))

	// Elsewhere, after the commit:
	if err := writer.Touch(ctx, invalidate.Tag("prices")); err != nil {
		log.Fatal(err)
	}
	if err := reader.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(valid.Valid(time.Second))
	// Output:
	// a page built from the price list true true
	// false
}
