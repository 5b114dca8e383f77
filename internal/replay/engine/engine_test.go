package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/replay/trace"
)

func hits(t *testing.T, k Kind, keys []uint64, capacity int) int {
	t.Helper()
	ratio, err := HitRatio(k, &trace.Trace{Keys: keys}, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return int(ratio*float64(len(keys)) + 0.5)
}

// bestHits tries every choice of what to keep.
func bestHits(keys []uint64, held []uint64, capacity int) int {
	if len(keys) == 0 {
		return 0
	}
	key, rest := keys[0], keys[1:]
	if slices.Contains(held, key) {
		return 1 + bestHits(rest, held, capacity)
	}
	best := bestHits(rest, held, capacity) // not kept
	if len(held) < capacity {
		return max(best, bestHits(rest, append(slices.Clone(held), key), capacity))
	}
	for i := range held {
		other := slices.Clone(held)
		other[i] = key
		best = max(best, bestHits(rest, other, capacity))
	}
	return best
}

func TestOPTIsTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 400 {
		keys := make([]uint64, 2+rng.IntN(10))
		for i := range keys {
			keys[i] = rng.Uint64N(5)
		}
		for capacity := 1; capacity <= 3; capacity++ {
			if got, want := hits(t, OPT(), keys, capacity), bestHits(keys, nil, capacity); got != want {
				t.Fatalf("OPT of %d on %v: %d hits, the best is %d", capacity, keys, got, want)
			}
		}
	}
}

func TestLRU(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	keys := make([]uint64, 5000)
	for i := range keys {
		keys[i] = uint64(rng.ExpFloat64() * 20)
	}
	for _, capacity := range []int{1, 2, 10, 50} {
		want := 0
		var recent []uint64 // the oldest first
		for _, k := range keys {
			if i := slices.Index(recent, k); i >= 0 {
				want++
				recent = slices.Delete(recent, i, i+1)
			} else if len(recent) == capacity {
				recent = recent[1:]
			}
			recent = append(recent, k)
		}
		if got := hits(t, LRU(), keys, capacity); got != want {
			t.Errorf("LRU of %d: %d hits, want %d", capacity, got, want)
		}
	}
}

// All engines on a mixture of what is hot, what is read once and what moves: no
// cheating above OPT, and the store within its promises of the others.
func TestEngines(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto")
	rng := rand.New(rand.NewPCG(3, 3))
	zipf := rand.NewZipf(rng, 1.1, 8, 20_000)
	tr := &trace.Trace{Name: "mixture"}
	seen := map[uint64]bool{}
	for i := range uint64(150_000) {
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
			if r > ratio["OPT"]/100 {
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
