package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

type Product struct {
	Name  string
	Price int
}

// A near cache over JSON values: any client that changes the key, in whatever language, evicts the entry.
func ExampleNew() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	products, err := rediscache.New(tracker, rdb, rediscache.JSON[Product](), cache.Options[string, Product]{
		Prefix: "product:", MaxEntries: 100_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer products.Close()

	rdb.Set(ctx, "product:42", `{"Name":"lamp","Price":9}`, 0)
	if err := tracker.Fence(ctx); err != nil { // what begins after this sees it
		log.Fatal(err)
	}
	for range 2 {
		p, err := products.Read(ctx, "42", cache.ReadOptions{})
		fmt.Println(p.Value, p.Hit, err)
	}
	rdb.Set(ctx, "product:42", `{"Name":"lamp","Price":12}`, 0)
	if err := tracker.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	p, err := products.Get(ctx, "42")
	fmt.Println(p, err)
	_, err = products.Get(ctx, "43")
	fmt.Println(errors.Is(err, redis.Nil))
	// Output:
	// {lamp 9} false <nil>
	// {lamp 9} true <nil>
	// {lamp 12} <nil>
	// true
}

type User struct {
	Name   string `redis:"name"`
	Visits int    `redis:"visits"`
}

// Hashes are read into structs by their fields' tags.
func ExampleNewHash() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	users, err := rediscache.NewHash(tracker, rdb, cache.Options[int64, User]{Prefix: "user:", MaxEntries: 10_000})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	rdb.HSet(ctx, "user:7", "name", "Ada", "visits", 1)
	fmt.Println(users.Get(ctx, 7))
	rdb.HIncrBy(ctx, "user:7", "visits", 1)
	if err := tracker.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(users.Get(ctx, 7))
	// Output:
	// {Ada 1} <nil>
	// {Ada 2} <nil>
}

// Inside any other cache's load, GetString and GetHash make the entry fall with the keys they read.
func ExampleGetString() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	greetings, err := cache.New(tracker, cache.Options[string, string]{
		NoKey: true, MaxEntries: 1000,
		Load: func(ctx context.Context, id string) (string, error) {
			word, err := rediscache.GetString(ctx, rdb, "greeting", rediscache.Text())
			if err != nil {
				return "", err
			}
			user, err := rediscache.GetHash[User](ctx, rdb, "user:"+id)
			return word + ", " + user.Name, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer greetings.Close()

	rdb.Set(ctx, "greeting", "Hello", 0)
	rdb.HSet(ctx, "user:7", "name", "Ada")
	fmt.Println(greetings.Get(ctx, "7"))
	rdb.Set(ctx, "greeting", "Welcome", 0)
	if err := tracker.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greetings.Get(ctx, "7"))
	// Output:
	// Hello, Ada <nil>
	// Welcome, Ada <nil>
}

// A hook serves a client's own reads from memory: the code that makes them stays as it is.
func ExampleNewHook() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	hook, err := rediscache.NewHook(tracker, rdb, rediscache.HookOptions{
		Prefixes: []string{"user:"}, MaxEntries: 100_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer hook.Close()

	rdb.HSet(ctx, "user:7", "name", "Ada")
	if err := tracker.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		fmt.Println(rdb.HGet(ctx, "user:7", "name").Val())
	}
	rdb.HSet(ctx, "user:7", "name", "Grace") // seen by this client at once, by others with the event
	fmt.Println(rdb.HGet(ctx, "user:7", "name").Val())
	stats := hook.Stats()
	fmt.Println(stats.Hits, "hits,", stats.Loads, "loads")
	// Output:
	// Ada
	// Ada
	// Ada
	// Grace
	// 2 hits, 2 loads
}
