//go:build traces

package hitratio

import (
	"context"
	"os"
	"testing"

	"github.com/gofreshet/freshet/bench/internal/engine"
	"github.com/gofreshet/freshet/bench/internal/trace"
	"github.com/gofreshet/freshet/bench/internal/workload"
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
		if _, err := k.Load(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestHitRatio(t *testing.T) {
	dir := tracesDir(t)
	var ours, paced float64
	points := 0
	for _, name := range []string{"arc-OLTP", "cache2k-web12"} {
		k, err := trace.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := fromTrace(k.Load(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []workload.Falls{{}, {Writes: 0.05}} {
			w := workload.Mix(w, f, 1)
			for _, percent := range []float64{1, 5, 20} {
				ratio := func(k engine.Kind) float64 {
					r, err := engine.HitRatio(context.Background(), k, w, w.Capacity(percent), nil)
					if err != nil {
						t.Fatal(err)
					}
					return 100 * r
				}
				lru, bare, fresh := ratio(engine.LRU()), ratio(engine.RistrettoPaced()), ratio(engine.Freshet())
				t.Logf("%v at %g %%: LRU %.2f, ristretto paced %.2f, freshet %.2f", w, percent, lru, bare, fresh)
				if fresh < lru-3 {
					t.Errorf("%v at %g %%: more than 3 points below LRU", w, percent)
				}
				ours, paced, points = ours+fresh, paced+bare, points+1
			}
		}
	}
	if ours/float64(points) < paced/float64(points)+8 {
		t.Errorf("mean %.2f, ristretto paced %.2f: less than 8 points above", ours/float64(points), paced/float64(points))
	}
}
