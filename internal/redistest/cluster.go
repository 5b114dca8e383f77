package redistest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

const clusterSlots = 16384

// Cluster is a Redis Cluster of real servers. Its methods may be called from several goroutines.
//
// "The nodes", where they ask or wait for them, are those that run, are not paused and are not cut off.
type Cluster struct {
	wire Wire
	args []string

	mu    sync.Mutex
	nodes []*Node // guarded by mu
}

// Node is one server of a Cluster. Its address is a proxy: the one that it announces to clients and to the others.
type Node struct {
	*Server
	ID string // 40 hex digits, the same after every restart

	busPort int // announced
}

// StartCluster runs a Cluster until the end of the test and returns when all nodes agree, all slots are served and all
// replicas are in sync. [Cluster.Nodes] are the primaries, with the slots dealt out in order, then the replicas of the
// first, of the second, and so on. The nodes believe in one another's end after a second, serve the slots that are
// left when others are lost, and keep their replicas. args are further arguments of every server, such as
// "--notify-keyspace-events", "KEA" or "--cluster-node-timeout", "5000"; they override these defaults.
func StartCluster(t testing.TB, primaries, replicasPerPrimary int, args ...string) *Cluster {
	t.Helper()
	return Wire{}.StartCluster(t, primaries, replicasPerPrimary, args...)
}

// StartCluster is the function of that name on w.
func (w Wire) StartCluster(t testing.TB, primaries, replicasPerPrimary int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{wire: w, args: args}
	for range primaries * (1 + replicasPerPrimary) {
		c.start(t)
	}
	for i, n := range c.nodes[:primaries] {
		first, next := i*clusterSlots/primaries, (i+1)*clusterSlots/primaries
		n.do(t, "CLUSTER", "ADDSLOTSRANGE", first, next-1)
		n.do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i, n := range c.nodes {
		n.meet(t, c.nodes[:i])
	}
	c.Settle(t)
	for i, r := range c.nodes[primaries:] {
		r.do(t, "CLUSTER", "REPLICATE", c.nodes[i/replicasPerPrimary].ID)
	}
	c.Settle(t)
	return c
}

// start adds a node that has met nobody.
func (c *Cluster) start(t testing.TB) *Node {
	t.Helper()
	door, busDoor := c.wire.door(t), c.wire.door(t)
	host := fmt.Sprintf("node-%d.redistest", len(c.Nodes()))
	called := []string{"--cluster-announce-hostname", host}
	if c.wire.Name != "" {
		called = []string{"--cluster-announce-hostname", c.wire.Name, "--cluster-preferred-endpoint-type", "hostname"}
	}
	if c.wire.TLS != nil {
		called = append(called, "--cluster-announce-tls-port", strconv.Itoa(portOf(door.Addr())))
	}
	n := &Node{busPort: portOf(busDoor.Addr())}
	announce, mark := c.wire.asReplica(door)
	n.Server = c.wire.startBehind(t, door, func() []string {
		bus, err := freePort(c.wire.host())
		if err != nil {
			t.Fatal(err)
		}
		busDoor.SetTarget(net.JoinHostPort(c.wire.host(), strconv.Itoa(bus)))
		return slices.Concat(announce, called, []string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "1000",
			"--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no",
			"--cluster-replica-validity-factor", "0", // a replica on a slow machine still stands for election
			"--cluster-announce-ip", c.wire.host(), "--cluster-announce-port", strconv.Itoa(portOf(door.Addr())),
			"--cluster-announce-bus-port", strconv.Itoa(n.busPort),
		}, c.args)
	})
	n.doors = append(n.doors, busDoor)
	n.marks = []string{host, mark}
	n.ID = n.do(t, "CLUSTER", "MYID").(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n
}

// AddNode adds a primary without slots and returns when the nodes have settled. Nodes that are cut off are not cut off
// from it.
func (c *Cluster) AddNode(t testing.TB) *Node {
	t.Helper()
	others := reachable(c.Nodes())
	n := c.start(t)
	n.meet(t, others)
	c.Settle(t)
	return n
}

// Nodes are all nodes in the order in which they were started.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Client returns a client of the Cluster that is closed at the test's end. Each of opts may change its options.
func (c *Cluster) Client(t testing.TB, opts ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	o := &redis.ClusterOptions{Addrs: c.Addrs(), TLSConfig: c.wire.ClientTLS()}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClusterClient(o)
	closeAtEnd(t, rdb)
	return rdb
}

// Slot is the slot of key.
func (c *Cluster) Slot(t testing.TB, key string) int {
	t.Helper()
	return int(reachable(c.Nodes())[0].do(t, "CLUSTER", "KEYSLOT", key).(int64))
}

// Primary is the node that owns key as a majority of the nodes say now. It waits while there is none.
func (c *Cluster) Primary(t testing.TB, key string) *Node {
	t.Helper()
	slot := c.Slot(t, key)
	return c.elect(t, "primary of "+key, func(e entry) bool { return e.owns(slot) })
}

// Replica is the first of a primary's replicas as a majority of the nodes say now. It waits while there is none.
func (c *Cluster) Replica(t testing.TB, of *Node) *Node {
	t.Helper()
	return c.elect(t, "replica of "+of.Addr(), func(e entry) bool { return e.primary == of.ID })
}

// Failover makes replica the primary and returns when the nodes have settled. With mode "" its primary agrees to it, with
// "FORCE" the primaries vote and need not the old one, with "TAKEOVER" it asks nobody.
func (c *Cluster) Failover(t testing.TB, replica *Node, mode string) {
	t.Helper()
	cmd := []any{"CLUSTER", "FAILOVER"}
	if mode != "" {
		cmd = append(cmd, mode)
	}
	insist(t, "failover to "+replica.Addr(), func() error {
		return replica.admin.Do(context.Background(), cmd...).Err()
	}, func() error { return replica.follows(replica.Server) })
	c.Settle(t)
}

// MoveSlot moves a slot with its keys as redis-cli does, and returns when the nodes have settled.
func (c *Cluster) MoveSlot(t testing.TB, slot int, from, to *Node) {
	t.Helper()
	to.do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.ID)
	from.do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.ID)
	for {
		keys := from.do(t, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		from.do(t, append([]any{"MIGRATE", c.wire.host(), to.Port(), "", 0, groupTimeout.Milliseconds(), "KEYS"}, keys...)...)
	}
	// The target first: were the source to go first and the target to fail, nobody would own the slot.
	assign := []any{"CLUSTER", "SETSLOT", slot, "NODE", to.ID}
	to.do(t, assign...)
	from.do(t, assign...)
	for _, n := range reachable(c.Nodes()) {
		if n != to && n != from && n.Role(t) == "master" {
			n.do(t, assign...)
		}
	}
	c.Settle(t)
}

// Settle waits until the nodes see each other and agree on who serves what, and all replicas are in sync. Of those
// that cannot answer or are cut off it expects nothing.
func (c *Cluster) Settle(t testing.TB) {
	t.Helper()
	await(t, "Cluster settled", func() error {
		nodes, said := reachable(c.Nodes()), make(map[string]bool)
		for _, n := range nodes {
			v, err := n.view()
			if err != nil {
				return err
			}
			about, err := v.about(nodes)
			if err := errors.Join(err, n.serves(c.Nodes(), v[n.ID].primary)); err != nil {
				return fmt.Errorf("%s: %w", n.Addr(), err)
			}
			said[about] = true
		}
		if len(said) > 1 {
			return fmt.Errorf("they say %q", slices.Collect(maps.Keys(said)))
		}
		return nil
	})
}

// Isolate cuts nodes off from the others, both ways, until Heal: nothing arrives, nothing is refused. They still hear
// each other, and clients still reach everybody. So a primary goes on saying that it is the primary, while the others
// elect its replica, two to three seconds later. A second before that it notices that it sees no majority: from then on
// it answers CLUSTERDOWN to every command with keys, but still answers PING and serves subscribers. One that is not to
// notice, and is to take writes beside its successor, is given a long cluster-node-timeout by CONFIG SET before.
func (c *Cluster) Isolate(side ...*Node) { isolate(servers(side), servers(c.Nodes())) }

// Hold keeps back what nodes and the others say to each other, until release is called: then it arrives, in order. Clients
// reach everybody. Unless cluster-node-timeout is long they believe in each other's end meanwhile.
func (c *Cluster) Hold(side ...*Node) (release func()) {
	return hold(servers(side), servers(c.Nodes()))
}

// Heal ends Isolate. The nodes find together in a moment: see Settle.
func (c *Cluster) Heal() { heal(servers(c.Nodes())) }

func servers(nodes []*Node) []*Server {
	var servers []*Server
	for _, n := range nodes {
		servers = append(servers, n.Server)
	}
	return servers
}

// elect waits until a majority names the same node as the first that is ok.
func (c *Cluster) elect(t testing.TB, what string, ok func(entry) bool) *Node {
	t.Helper()
	var elected *Node
	await(t, what, func() error {
		voters, votes := reachable(c.Nodes()), make(map[string]int)
		for _, voter := range voters {
			v, err := voter.view()
			if err != nil {
				return err
			}
			for _, n := range c.Nodes() {
				if !ok(v[n.ID]) {
					continue
				}
				if votes[n.Addr()]++; votes[n.Addr()] > len(voters)/2 {
					elected = n
					return nil
				}
				break
			}
		}
		return fmt.Errorf("votes: %v", votes)
	})
	return elected
}
