package notify

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

// A Cluster is one stream of all its primaries, in which a failover is a gap.
func TestCluster(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 1)
	rdb := c.Client(t)
	l, r := recorded(t, rdb, Options{})
	var want []string
	for i := range 50 {
		key := fmt.Sprintf("k%d", i)
		if err := rdb.Set(testContext(t), key, i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want = append(want, "set "+key)
	}
	fenced(t, l)
	got := r.events()
	slices.Sort(want)
	if got[0] != "synced" || !slices.Equal(slices.Sorted(slices.Values(got[1:])), want) {
		t.Errorf("told %q", got)
	}
	c.Failover(t, c.Replica(t, c.Primary(t, "k1")), "")
	fenced(t, l)
	if l.Stats().Gaps == 0 {
		t.Errorf("no gap at a failover: %+v", l.Stats())
	}
	if err := rdb.Set(testContext(t), "k1", "again", 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got := r.events(); got[len(got)-1] != "set k1" {
		t.Errorf("told %q", got)
	}
}

// A Sentinel group is the stream of whoever is primary.
func TestSentinels(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 3, 1)
	rdb := g.Client(t)
	l, r := recorded(t, rdb, Options{Sentinel: g.FailoverOptions()})
	set := func(key string) {
		t.Helper()
		if err := rdb.Set(testContext(t), key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		fenced(t, l)
	}
	set("a")
	same(t, r, "synced", "set a")
	promoted := g.Failover(t)
	fenced(t, l)
	if st := l.Status(); st.Addr != promoted.Addr() || !st.Synced {
		t.Errorf("%+v", st)
	}
	got := r.events()
	if !slices.Equal(got[:3], []string{"synced", "set a", "gap topology"}) || got[len(got)-1] != "synced" {
		t.Errorf("told %q", got)
	}
	if err := promoted.Client(t).Set(testContext(t), "b", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got := r.events(); got[len(got)-1] != "set b" {
		t.Errorf("told %q", got)
	}
}
