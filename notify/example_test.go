package notify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

func ExampleListener_Events() {
	ctx := context.Background()
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	l, err := notify.Listen(ctx, rdb, notify.Options{Prefixes: []string{"product:"}})
	if err != nil {
		log.Fatal(err) // a *notify.SetupError holds the line that mends it
	}
	defer l.Close()
	for ev, err := range l.Events(ctx, notify.Reader{Names: []string{"set", "del", "expired"}}) {
		if err != nil {
			log.Fatal(err)
		}
		switch ev.Kind {
		case notify.Change:
			fmt.Println(ev.Name, ev.Key)
		case notify.Gap:
			fmt.Println("events may be missing:", ev.Reason)
		}
	}
}

func ExampleListener_Handle() {
	ctx := context.Background()
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	l, err := notify.Listen(ctx, rdb, notify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	stop, err := l.Handle(notify.Reader{Pattern: "session:*", Names: []string{"expired"}}, func(ctx context.Context, ev notify.Event) {
		fmt.Println(ev.Kind, ev.Key)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	// What another client has written is told by the time Fence returns.
	if err := rdb.Set(ctx, "session:1", "alice", 0).Err(); err != nil {
		log.Fatal(err)
	}
	if err := l.Fence(ctx); err != nil {
		log.Fatal(err)
	}
}
