package cache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// start is a tracker on an embedded server: in your program, invalidate.Connect with your client.
func start() (tracker *invalidate.Tracker, rdb *redis.Client, stop func()) {
	server, err := notifytest.Run()
	if err != nil {
		log.Fatal(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: server.Addr})
	tracker, err = invalidate.Connect(context.Background(), rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return tracker, rdb, func() {
		tracker.Close()
		rdb.Close()
		server.Close()
	}
}

type Order struct{ Total int }

// The truth is anywhere: what a load depends on, it names; who writes, writes through the cache.
func ExampleNew() {
	ctx := context.Background()
	tracker, rdb, stop := start()
	defer stop()

	table := map[int64]Order{7: {Total: 10}} // your SQL table
	orders, err := cache.New(tracker, cache.Options[int64, Order]{
		Prefix: "order:", MaxEntries: 10_000,
		Load: func(ctx context.Context, id int64) (Order, error) {
			o, ok := table[id]
			if !ok {
				return o, cache.ErrNotFound
			}
			invalidate.DependOn(ctx, invalidate.Key("discount"), invalidate.Tag("catalog"))
			return o, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	fmt.Println(orders.Get(ctx, 7))
	fmt.Println(orders.Get(ctx, 8))

	// It falls in every process, and reads here that begin after Write returned see it.
	err = orders.Write(ctx, 7, func(ctx context.Context) error {
		table[7] = Order{Total: 12}
		return nil
	})
	fmt.Println(err)
	fmt.Println(orders.Get(ctx, 7))

	// Somebody else changes what the entry depends on. What begins after a fence sees it.
	table[7] = Order{Total: 11}
	rdb.Set(ctx, "discount", "1", 0)
	if err := tracker.Fence(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders.Get(ctx, 7))
	// Output:
	// {10} <nil>
	// {0} cache: not found
	// <nil>
	// {12} <nil>
	// {11} <nil>
}

// What memory lacks is asked for at once.
func ExampleCache_GetMany() {
	ctx := context.Background()
	tracker, _, stop := start()
	defer stop()

	squares, err := cache.New(tracker, cache.Options[int, int]{
		Prefix: "square:", MaxEntries: 1000,
		LoadMany: func(ctx context.Context, ks []int) (map[int]int, error) {
			fmt.Println("asked for", ks)
			found := make(map[int]int)
			for _, k := range ks {
				if k >= 0 { // others are absent
					found[k] = k * k
				}
			}
			return found, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer squares.Close()
	fmt.Println(squares.GetMany(ctx, []int{1, 2}))
	fmt.Println(squares.GetMany(ctx, []int{1, 2, 3, -1}))
	// Output:
	// asked for [1 2]
	// map[1:1 2:4] <nil>
	// asked for [3 -1]
	// map[1:1 2:4 3:9] <nil>
}

// Read says where a value comes from and how fresh it is proven to be, and can ask for more.
func ExampleCache_Read() {
	ctx := context.Background()
	tracker, rdb, stop := start()
	defer stop()

	stock, err := cache.New(tracker, cache.Options[string, int]{
		Prefix: "stock:", MaxEntries: 1000, MaxStaleness: 5 * time.Second,
		Load: func(ctx context.Context, k string) (int, error) { return rdb.Get(ctx, "stock:"+k).Int() },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer stock.Close()
	rdb.Set(ctx, "stock:lamp", 3, 0)

	for range 2 {
		r, err := stock.Read(ctx, "lamp", cache.ReadOptions{Fence: true}) // no older than any write before the call
		fmt.Println(r.Value, r.Hit, r.Staleness < 5*time.Second, err)
	}
	rdb.Decr(ctx, "stock:lamp")
	r, err := stock.Read(ctx, "lamp", cache.ReadOptions{Fence: true})
	fmt.Println(r.Value, r.Hit, err)
	r, err = stock.Read(ctx, "lamp", cache.ReadOptions{Refresh: true}) // past memory
	fmt.Println(r.Value, r.Hit, err)
	// Output:
	// 3 false true <nil>
	// 3 true true <nil>
	// 2 false <nil>
	// 2 false <nil>
}

// A data-access function goes in, the same function comes out cached.
func ExampleCache_Wrap() {
	ctx := context.Background()
	tracker, _, stop := start()
	defer stop()

	names, err := cache.New(tracker, cache.Options[int64, string]{Prefix: "name:", MaxEntries: 1000})
	if err != nil {
		log.Fatal(err)
	}
	defer names.Close()
	queries := 0
	queryName := func(ctx context.Context, id int64) (string, error) {
		queries++
		return fmt.Sprint("user ", id), nil
	}

	nameOf := names.Wrap(queryName)
	for range 3 {
		fmt.Println(nameOf(ctx, 4))
	}
	fmt.Println(queries, "query")
	// Output:
	// user 4 <nil>
	// user 4 <nil>
	// user 4 <nil>
	// 1 query
}
