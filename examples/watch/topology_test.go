package main

import (
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

func TestCluster(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 0)
	w := start(t, "-cluster", "-redis", c.Nodes()[1].Addr(), "-count", "3")
	for _, key := range []string{"a", "b", "c"} { // of three primaries
		do(t, c.Primary(t, key).Client(t), "SET", key, "1")
		w.out.await(t, key, 1)
	}
	w.end(t)
}

func TestSentinel(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 3, 1)
	w := start(t, "-sentinel", redistest.MasterName, "-redis", g.SentinelAddrs()[2], "-count", "2")
	do(t, g.Primary(t).Client(t), "SET", "a", "1")
	w.out.await(t, "set", 1)
	promoted := g.Failover(t)
	w.out.await(t, "synced:", 2)
	do(t, promoted.Client(t), "SET", "b", "1")
	w.end(t)
	do(t, promoted.Client(t), "DEL", "a", "b")
	nothingLeft(t, promoted.Client(t))
}
