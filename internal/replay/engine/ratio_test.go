//go:build !race

package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/replay/trace"
)

// Not under the race detector: there a sync.Pool throws a quarter of what it is
// given away, and ristretto's counts with it.

// All engines on a mixture of what is hot, what is read once and what moves: no
// cheating above OPT, and the store within its promises of the others.
func TestEngines(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto")
	rng := rand.New(rand.NewPCG(3, 3))
	zipf := rand.NewZipf(rng, 1.1, 8, 20_000)
	tr := &trace.Trace{Name: "mixture"}
	seen := map[uint64]bool{}
	for i := range uint64(100_000) {
		key := zipf.Uint64()
		switch rng.IntN(4) {
		case 0:
			key = 1<<40 + i // never again
		case 1:
			key = 1<<41 + i/50 + rng.Uint64N(100) // for a while
		}
		tr.Keys = append(tr.Keys, key)
		seen[key] = true
	}
	tr.Distinct = len(seen)
	for _, percent := range []float64{0.2, 1, 5, 20} {
		capacity := Capacity(tr, percent)
		ratio := map[string]float64{}
		for _, k := range []Kind{OPT(), LRU(), S3FIFO(), RistrettoTight(), RistrettoPaced(), Store("freshet", store.Open)} {
			r, err := HitRatio(k, tr, capacity)
			if err != nil {
				t.Fatal(err)
			}
			ratio[k.Name] = 100 * r
			if 100*r > ratio["OPT"] {
				t.Errorf("%s of %d: %.2f %% is above OPT's %.2f", k.Name, capacity, 100*r, ratio["OPT"])
			}
		}
		t.Logf("%d entries: %v", capacity, ratio)
		if ratio["freshet"] < ratio["LRU"]-3 {
			t.Errorf("%d entries: freshet %.2f, LRU %.2f: more than 3 points below", capacity, ratio["freshet"], ratio["LRU"])
		}
		if ratio["freshet"] < ratio["ristretto paced"] {
			t.Errorf("%d entries: freshet %.2f, ristretto paced %.2f", capacity, ratio["freshet"], ratio["ristretto paced"])
		}
	}
}
