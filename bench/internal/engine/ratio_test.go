//go:build !race

package engine

import (
	"context"
	"testing"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// Not under the race detector: there a sync.Pool throws a quarter of what it is
// given away, and ristretto's counts with it.

// Freshet keeps its promises of the others where keys are hot, read once in
// scans, and fall.
func TestRatios(t *testing.T) {
	w := workload.Mix(workload.Scan(50_000, 5000, 3), workload.Falls{Writes: 0.05}, 3)
	for _, percent := range []float64{1, 20} {
		capacity := w.Capacity(percent)
		ratio := func(k Kind) float64 {
			r, err := HitRatio(context.Background(), k, w, capacity, nil)
			if err != nil {
				t.Fatal(err)
			}
			return 100 * r
		}
		fresh, lru, tight := ratio(Freshet()), ratio(LRU()), ratio(RistrettoTight())
		t.Logf("%d entries: freshet %.2f, LRU %.2f, ristretto tight %.2f", capacity, fresh, lru, tight)
		if fresh < lru-3 || fresh < tight {
			t.Errorf("%d entries: freshet %.2f, LRU %.2f, ristretto tight %.2f", capacity, fresh, lru, tight)
		}
	}
}
