package faultproxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

// The subscription is late, the data is not: the schedule that most races need.
func TestHoldsOnlyTheSubscription(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	s := redistest.Start(t, "--notify-keyspace-events", "KEA")
	p := faultproxy.New(t, s.Addr())
	rdb := s.Client(t, func(o *redis.Options) { o.Addr = p.Addr() })
	ps := rdb.PSubscribe(ctx, "__keyspace@0__:*")
	defer ps.Close()
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	seen := p.Having("psubscribe").HoldAt(faultproxy.ToClient, "__keyspace@0__:k")
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	<-seen
	if v, err := rdb.Get(ctx, "k").Result(); v != "v" || err != nil {
		t.Errorf("GET = %q, %v", v, err)
	}
	got := make(chan string, 1)
	go func() {
		msg, err := ps.ReceiveMessage(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- strings.TrimPrefix(msg.Channel, "__keyspace@0__:")
	}()
	select {
	case k := <-got:
		t.Errorf("event of %q passed a held subscription", k)
	case <-time.After(30 * time.Millisecond):
	}
	p.Having("psubscribe").Release(faultproxy.ToClient)
	if k := <-got; k != "k" {
		t.Errorf("event of %q", k)
	}
}
