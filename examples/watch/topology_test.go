package main

import (
	"strings"
	"testing"
	"time"

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
	promoted := g.Failover(t).Client(t)
	for n := 2; !w.over(); n++ { // a Sentinel that hears of it late makes one more gap, in which alone b may be missing
		w.out.await(t, "synced:", n)
		do(t, promoted, "SET", "b", "1")
		for limit := time.Now().Add(patience); !w.over() && strings.Count(w.out.String(), "synced:") == n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("b is not told, and no gap either")
			}
		}
	}
	w.end(t)
	do(t, promoted, "DEL", "a", "b")
	nothingLeft(t, promoted)
}
