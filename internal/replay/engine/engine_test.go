package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

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
