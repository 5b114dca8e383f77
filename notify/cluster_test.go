package notify

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/redistest"
)

// TestCluster: one stream of all primaries, in which a failover is a gap.
func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 1)
	rdb := c.Client(t)
	l, r := recorded(t, rdb, Options{})
	ctx := testContext(t)
	var want []string
	for i := range 50 {
		key := fmt.Sprintf("k%d", i)
		if err := rdb.Set(ctx, key, i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want = append(want, "set "+key)
	}
	fenced(t, l)
	got := r.events()
	if got[0] != "synced" {
		t.Fatalf("told %q first", got[0])
	}
	slices.Sort(want)
	if got = got[1:]; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("told %q", got)
	}
	old := c.Primary(t, "k1")
	began := time.Now()
	c.Failover(t, c.Replica(t, old), "")
	t.Logf("failover took %v", time.Since(began))
	fenced(t, l)
	t.Logf("fence after %v", time.Since(began))
	if n := l.Stats().Gaps; n == 0 {
		t.Error("no gap at a failover")
	}
	if err := rdb.Set(ctx, "k1", "again", 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got := r.events(); got[len(got)-1] != "set k1" {
		t.Errorf("told %q", got[len(got)-3:])
	}
	t.Logf("%+v %+v", l.Status(), l.Stats())
	_ = context.Background
}

func TestSentinels(t *testing.T) {
	g := redistest.StartSentinels(t, 3, 1)
	rdb := g.Client(t)
	l, r := recorded(t, rdb, Options{Sentinel: g.FailoverOptions()})
	ctx := testContext(t)
	if err := rdb.Set(ctx, "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	same(t, r, "synced", "set a")
	t.Logf("%+v %+v", l.Status(), l.Stats())
	began := time.Now()
	g.Failover(t)
	t.Logf("failover took %v", time.Since(began))
	fenced(t, l)
	t.Logf("fence after %v", time.Since(began))
	t.Logf("%+v %+v %s", l.Status(), l.Stats(), r.events())
}
