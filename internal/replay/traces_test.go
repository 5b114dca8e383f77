//go:build traces

package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/replay/engine"
	"github.com/gofreshet/freshet/internal/replay/trace"
)

// These tests read the published traces, which the module does not carry: the
// build tag asks for them, and then they must be there.
func tracesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FRESHET_TRACES")
	if dir == "" {
		t.Fatal("FRESHET_TRACES: name the folder that holds the traces of package trace")
	}
	return dir
}

func TestCatalog(t *testing.T) {
	dir := tracesDir(t)
	for _, k := range trace.Catalog() {
		if _, err := trace.Load(dir, k.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestHitRatio(t *testing.T) {
	dir := tracesDir(t)
	var ours, paced float64
	points := 0
	for _, name := range []string{"arc-OLTP", "cache2k-orm-night", "cache2k-web12"} {
		tr, err := trace.Load(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, percent := range []float64{1, 5, 20} {
			capacity := engine.Capacity(tr, percent)
			ratio := func(k engine.Kind) float64 {
				r, err := engine.HitRatio(k, tr, capacity)
				if err != nil {
					t.Fatal(err)
				}
				return 100 * r
			}
			lru, bare, fresh := ratio(engine.LRU()), ratio(engine.RistrettoPaced()), ratio(engine.Store("freshet", store.Open))
			t.Logf("%s at %g %%, %d entries: LRU %.2f, ristretto paced %.2f, freshet %.2f", name, percent, capacity, lru, bare, fresh)
			if fresh < lru-3 {
				t.Errorf("%s at %g %%: more than 3 points below LRU", name, percent)
			}
			ours, paced, points = ours+fresh, paced+bare, points+1
		}
	}
	if ours/float64(points) < paced/float64(points)+8 {
		t.Errorf("mean %.2f, ristretto paced %.2f: less than 8 points above", ours/float64(points), paced/float64(points))
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-traces", tracesDir(t), "-trace", "lirs-glimpse"}, &out); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &out)
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 5 {
		t.Errorf("%d lines, want a head, three points and the mean", lines)
	}
}
