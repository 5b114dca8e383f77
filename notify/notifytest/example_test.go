package notifytest_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/notify/notifytest"
)

func ExampleRun() {
	ctx := context.Background()
	server, err := notifytest.Run() // in a test: notifytest.Start(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()

	rdb.ConfigSet(ctx, "notify-keyspace-events", "KA")
	events := rdb.PSubscribe(ctx, "__keyspace@0__:product:*")
	defer events.Close()
	if _, err := events.Receive(ctx); err != nil { // the confirmation
		fmt.Println(err)
		return
	}
	rdb.Set(ctx, "product:42", "lamp", 0)
	rdb.Del(ctx, "product:42")
	for range 2 {
		m, err := events.ReceiveMessage(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Channel, m.Payload)
	}
	// Output:
	// __keyspace@0__:product:42 set
	// __keyspace@0__:product:42 del
}
