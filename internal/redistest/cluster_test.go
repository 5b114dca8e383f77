package redistest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/leak"
)

func TestCluster(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	start := time.Now()
	c := StartCluster(t, 3, 1, "--notify-keyspace-events", "KEA")
	t.Logf("ready after %v", time.Since(start))
	rdb := c.Client(t)
	for i := range 20 {
		if err := rdb.Set(ctx, fmt.Sprint("{tag}", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	from := c.Primary(t, "{tag}")
	if from.Role(t) != "master" || c.Replica(t, from).Role(t) != "slave" {
		t.Errorf("%s and %s have the wrong roles", from.Addr(), c.Replica(t, from).Addr())
	}
	got, err := from.Client(t).ConfigGet(ctx, "notify-keyspace-events").Result()
	if err != nil || got["notify-keyspace-events"] == "" {
		t.Errorf("arguments: %v, %v", got, err)
	}

	to := c.AddNode(t)
	c.MoveSlot(t, c.Slot(t, "{tag}"), from, to)
	if got := c.Primary(t, "{tag}0"); got != to {
		t.Errorf("the slot is at %s, want %s", got.Addr(), to.Addr())
	}
	for i := range 20 {
		if got, err := rdb.Get(ctx, fmt.Sprint("{tag}", i)).Int(); err != nil || got != i {
			t.Errorf("{tag}%d = %d, %v", i, got, err)
		}
		if n, err := to.Client(t).Exists(ctx, fmt.Sprint("{tag}", i)).Result(); err != nil || n != 1 {
			t.Errorf("{tag}%d is not at its new node: %v", i, err)
		}
	}
}

func TestClusterFailover(t *testing.T) {
	leak.Check(t)
	c := StartCluster(t, 3, 1)
	for _, mode := range []string{"", "FORCE", "TAKEOVER"} {
		old := c.Primary(t, "k")
		replica := c.Replica(t, old)
		c.Failover(t, replica, mode)
		if got := c.Primary(t, "k"); got != replica {
			t.Errorf("mode %q: primary is %s, want %s", mode, got.Addr(), replica.Addr())
		}
		if got := c.Replica(t, replica); got != old {
			t.Errorf("mode %q: replica is %s, want %s", mode, got.Addr(), old.Addr())
		}
	}
}

func TestClusterCrashAndPause(t *testing.T) {
	leak.Check(t)
	c := StartCluster(t, 3, 1)
	for _, lose := range []struct{ begin, end func(*Server) error }{
		{(*Server).Kill, (*Server).Restart}, {(*Server).Pause, (*Server).Resume},
	} {
		old := c.Primary(t, "k")
		replica := c.Replica(t, old)
		lose.begin(old.Server)
		awaitPrimary(t, c, replica)
		lose.end(old.Server)
		c.Settle(t)
		if got := c.Replica(t, replica); got != old {
			t.Errorf("replica is %s, want %s", got.Addr(), old.Addr())
		}
	}
}

func awaitPrimary(t *testing.T, c *Cluster, want *Node) {
	t.Helper()
	await(t, "election", func() error {
		if got := c.Primary(t, "k"); got != want {
			return fmt.Errorf("primary is %s, want %s", got.Addr(), want.Addr())
		}
		return nil
	})
}

// Fails when less is cut: without the nodes' mark on the bus, nobody believes in the old primary's end; without that of
// replicas, one has the write that it must not hear of.
func TestClusterIsolate(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	c := StartCluster(t, 3, 1)
	old := c.Primary(t, "k")
	replica := c.Replica(t, old)
	rdb := old.Client(t)
	// It would notice that it is alone. Now it will not.
	if err := rdb.ConfigSet(ctx, "cluster-node-timeout", "3600000").Err(); err != nil {
		t.Fatal(err)
	}
	sub := subscribe(t, rdb)
	epoch := majorityEpoch(t, c)

	c.Isolate(old)
	start := time.Now()
	servesOn(t, old.Server, rdb, sub, "unheard")
	awaitPrimary(t, c, replica)
	t.Logf("promoted after %v", time.Since(start))

	if now := majorityEpoch(t, c); now <= epoch {
		t.Errorf("epoch of the majority is %d, was %d: nobody voted", now, epoch)
	}
	if err := replica.Client(t).Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("the new primary has what it cannot have heard: %v", err)
	}
	servesOn(t, old.Server, rdb, sub, "still")

	c.Heal()
	c.Settle(t)
	if got := old.Role(t); got != "slave" {
		t.Errorf("after Heal the deposed primary says that it is %s", got)
	}
	if err := replica.Client(t).Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("after Heal the new primary has what the deposed one wrote: %v", err)
	}
}

// majorityEpoch is the epoch that most of the reachable nodes have come to.
func majorityEpoch(t *testing.T, c *Cluster) int {
	t.Helper()
	var epochs []int
	for _, n := range reachable(c.Nodes()) {
		_, after, _ := strings.Cut(n.do(t, "CLUSTER", "INFO").(string), "cluster_current_epoch:")
		var epoch int
		if _, err := fmt.Sscan(after, &epoch); err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, epoch)
	}
	slices.Sort(epochs)
	return epochs[(len(epochs)-1)/2]
}

// Fails when what the isolated node itself dials is not cut: it never notices.
func TestClusterIsolatedPrimaryNotices(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	c := StartCluster(t, 3, 1)
	old := c.Primary(t, "k")
	replica := c.Replica(t, old)
	rdb := old.Client(t)
	start := time.Now()
	c.Isolate(old)
	await(t, "refusal", func() error {
		err := rdb.Set(ctx, "k", "v", 0).Err()
		if err == nil {
			return fmt.Errorf("SET succeeds")
		}
		if !redis.HasErrorPrefix(err, "CLUSTERDOWN") {
			t.Fatalf("SET = %v", err)
		}
		return nil
	})
	t.Logf("refuses after %v", time.Since(start))
	awaitPrimary(t, c, replica)
	t.Logf("promoted after %v", time.Since(start))
	subscribe(t, rdb)
	if err := rdb.Ping(ctx).Err(); err != nil || old.Role(t) != "master" {
		t.Errorf("PING: %v; it says that it is %s", err, old.Role(t))
	}
}
