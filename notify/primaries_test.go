package notify

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// The client of the primaries dials them and nobody else, whatever it is asked first.
// Seen to fail without DisableRoutingPolicies: somebody is asked for COMMAND, and without node.Addr in cluster.client it may
// be whoever listens at localhost:6379.
func TestPrimariesDialsPrimaries(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 0)
	var (
		mu      sync.Mutex
		dialled []string
	)
	rdb := c.Client(t, func(o *redis.ClusterOptions) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dialled = append(dialled, addr)
			mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	l := listen(t, rdb, Options{})
	fenced(t, l)
	primaries, _ := l.Primaries()
	for _, key := range []string{"a", "b", "c"} {
		if err := primaries.Set(testContext(t), key, 1, 0).Err(); err != nil {
			t.Error(err)
		}
		if v, err := primaries.Get(testContext(t), key).Result(); v != "1" || err != nil {
			t.Errorf("%s: %q, %v", key, v, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, addr := range dialled {
		if !slices.Contains(c.Addrs(), addr) {
			t.Errorf("dialled %s, the nodes are %s", addr, c.Addrs())
		}
	}
	for _, n := range c.Nodes() {
		stats, err := n.Client(t).Info(testContext(t), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		if infoField(stats, "cmdstat_command") != "" {
			t.Errorf("%s was asked for COMMAND", n.Addr())
		}
	}
}
