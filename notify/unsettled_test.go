package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// In a term that no primary was promoted in, and in which no majority has voted, a replica may yet be: who voted late ends
// the view, though no term is later.
// Seen to fail without the votes in cluster.poll: the fence returns and the promoted one is not listened to.
func TestVotesInATermThatIsKnown(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 1)
	a := c.Nodes()[0]
	replica := c.Replica(t, a)
	for _, n := range c.Nodes() { // nobody is to believe in anybody's end
		do(t, n.Client(t), "CONFIG", "SET", "cluster-node-timeout", 60_000)
	}
	// A view taken between the votes and the word of who was promoted holds proofs back until the next one is.
	l, r := recorded(t, c.Client(t), Options{Heartbeat: 20 * time.Millisecond, PongTimeout: 10 * time.Second, AuditEvery: 5 * time.Second})

	release := c.Hold(a, replica)
	do(t, replica.Client(t), "CLUSTER", "FAILOVER", "FORCE")
	r.awaitEvent(t, "gap topology", 1) // its own primary has voted, the others have heard of nothing
	fenced(t, l)
	if st := l.Status(); strings.Contains(st.Addr, replica.Addr()) || replica.Role(t) != "slave" {
		t.Fatalf("the replica was promoted by one vote of three: %+v", st)
	}
	release()
	eventually(t, "the replica is a primary", func() bool { return replica.Role(t) == "master" })
	fenced(t, l)
	if st := l.Status(); !strings.Contains(st.Addr, replica.Addr()) {
		t.Errorf("listening to %s after %s was promoted", st.Addr, replica.Addr())
	}
}

// A term that no primary was promoted in holds proofs back until its election must be over, and not at all where as many
// as make a majority have never voted.
// Seen to fail without view.open in count, and, with a timeout of Listen, without view.quiet.
func TestTermOfNoPrimary(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 1)
	timeouts := func(ms int) {
		for _, n := range c.Nodes() {
			do(t, n.Client(t), "CONFIG", "SET", "cluster-node-timeout", ms)
		}
	}
	unspent := func() { // the terms of replicas are nobody's elections
		term := func(n *redistest.Node) uint64 {
			term, _, err := clusterInfo(n.Client(t).ClusterInfo(testContext(t)).Val())
			if err != nil {
				t.Fatal(err)
			}
			return term
		}
		n := c.Replica(t, c.Nodes()[1])
		do(t, n.Client(t), "CLUSTER", "BUMPEPOCH")
		for _, other := range c.Nodes() {
			eventually(t, "the term is known", func() bool { return term(other) == term(n) })
		}
	}
	unspent()
	timeouts(600_000)
	l := listen(t, c.Client(t), Options{})
	fenced(t, l)
	l.Close()

	timeouts(1000)
	c.Failover(t, c.Replica(t, c.Nodes()[0]), "FORCE")
	unspent()
	began := time.Now()
	first := make(chan time.Time, 1)
	pong := func(_, received time.Time) {
		select {
		case first <- received:
		default:
		}
	}
	listen(t, c.Client(t), Options{Heartbeat: 20 * time.Millisecond, PongTimeout: 10 * time.Second, Hooks: Hooks{Pong: pong}})
	if held, spent := (<-first).Sub(began), 3*time.Second; held < spent {
		t.Errorf("proven %v after the start; an election and its outcome may take %v", held, spent)
	}
}

// The terms of a node that is of another Cluster by now are no terms of this one.
// Seen to fail where the highest term of all who answer is the view's.
func TestStrangerAmongSeeds(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 0)
	stranger := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", "0")
	do(t, stranger.Client(t), "CLUSTER", "SET-CONFIG-EPOCH", 1000)
	rdb := c.Client(t, func(o *redis.ClusterOptions) { o.Addrs = append(o.Addrs, stranger.Addr()) })
	l, r := recorded(t, rdb, Options{Heartbeat: 20 * time.Millisecond, PongTimeout: 10 * time.Second, AuditEvery: never})
	fenced(t, l)
	do(t, c.Nodes()[0].Client(t), "CLUSTER", "BUMPEPOCH")
	r.awaitEvent(t, "gap topology", 1)
	fenced(t, l)
}
