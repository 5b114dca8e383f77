package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/workload"
	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/leak"
)

func hits(t *testing.T, k Kind, ops []workload.Op, capacity int) int {
	t.Helper()
	w := &workload.Workload{Ops: ops}
	for _, op := range ops {
		if !op.Fall {
			w.Reads++
		}
	}
	ratio, err := HitRatio(context.Background(), k, w, capacity, nil)
	if err != nil {
		t.Fatal(err)
	}
	return int(ratio*float64(max(1, w.Reads)) + 0.5)
}

// ops are reads of keys; one below 0 is the fall of its opposite.
func ops(keys ...int) (out []workload.Op) {
	for _, k := range keys {
		out = append(out, workload.Op{Key: uint64(max(k, -k)), Fall: k < 0})
	}
	return out
}

func random(rng *rand.Rand, n int, keys uint64) (out []workload.Op) {
	for range n {
		out = append(out, workload.Op{Key: rng.Uint64N(keys), Fall: rng.IntN(4) == 0})
	}
	return out
}

// bestHits tries every choice of what to keep.
func bestHits(ops []workload.Op, held []uint64, capacity int) int {
	if len(ops) == 0 {
		return 0
	}
	key, rest := ops[0].Key, ops[1:]
	at := slices.Index(held, key)
	if ops[0].Fall {
		if at >= 0 {
			held = slices.Delete(slices.Clone(held), at, at+1)
		}
		return bestHits(rest, held, capacity)
	}
	if at >= 0 {
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
	for range 600 {
		ops := random(rng, 2+rng.IntN(10), 5)
		for capacity := 1; capacity <= 3; capacity++ {
			if got, want := hits(t, OPT(), ops, capacity), bestHits(ops, nil, capacity); got != want {
				t.Fatalf("OPT of %d on %v: %d hits, the best is %d", capacity, ops, got, want)
			}
		}
	}
}

// LRU and golang-lru against a slice in the order of use.
func TestLRU(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var all []workload.Op
	for range 5000 {
		all = append(all, workload.Op{Key: uint64(rng.ExpFloat64() * 20), Fall: rng.IntN(10) == 0})
	}
	for _, capacity := range []int{1, 2, 10, 50} {
		want := 0
		var recent []uint64 // the oldest first
		for _, op := range all {
			i := slices.Index(recent, op.Key)
			if i >= 0 {
				recent = slices.Delete(recent, i, i+1)
			}
			if op.Fall {
				continue
			}
			if i >= 0 {
				want++
			} else if len(recent) == capacity {
				recent = recent[1:]
			}
			recent = append(recent, op.Key)
		}
		for _, k := range []Kind{LRU(), GolangLRU()} {
			if got := hits(t, k, all, capacity); got != want {
				t.Errorf("%s of %d: %d hits, want %d", k.Name, capacity, got, want)
			}
		}
	}
}

// Every engine on every kind of operation: none hits more than OPT, or without having read before.
func TestNobodyBeatsOPT(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto", "theine-go", "otter")
	w := workload.Mix(workload.Scan(10_000, 1000, 3), workload.Falls{Writes: 0.05, TTL: time.Second, Rate: 1000}, 3)
	best := hits(t, OPT(), w.Ops, 50)
	for _, k := range append(All(), Store("store", store.Open)) {
		if got := hits(t, k, w.Ops, 50); got > best || got == 0 {
			t.Errorf("%s: %d hits, OPT has %d", k.Name, got, best)
		}
		if k.Name == RistrettoTight().Name {
			continue // its buffered Set may land behind the Del: what fell comes back now and then
		}
		if got := hits(t, k, ops(1, -1, 1, -1, 2, -2, 2), 50); got != 0 {
			t.Errorf("%s: %d hits of what fell between its reads", k.Name, got)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := 0
	_, err := HitRatio(ctx, Freshet(), workload.Loop(100_000, 10), 10, func(n int) { done += n; cancel() })
	if !errors.Is(err, context.Canceled) || done != stepsPerLook {
		t.Errorf("%v after %d operations", err, done)
	}
}

// Worked by hand.
func TestByHand(t *testing.T) {
	for _, c := range []struct {
		what     string
		kind     Kind
		capacity int
		ops      []workload.Op
		want     int
	}{
		{"OPT keeps what comes first", OPT(), 2, ops(1, 2, 3, 1, 2, 3), 2},
		{"OPT knows that 1 falls", OPT(), 1, ops(1, 2, -1, 2, 1), 1},
		{"LRU loses a loop", LRU(), 2, ops(1, 2, 3, 1, 2, 3), 0},
		{"LRU keeps what was read last", LRU(), 2, ops(1, 2, 1, 3, 1, 2), 2},
		{"a fall makes room", LRU(), 2, ops(1, 2, -1, 3, 2), 1},
		// 1 is marked: the hand passes it, takes 2, and stands before 3. 1's mark is gone, and the next to go is 3 all the same.
		{"SIEVE passes the marked", SIEVE(), 3, ops(1, 2, 3, 1, 4, 1, 3), 3},
		{"SIEVE's hand stays where it was", SIEVE(), 3, ops(1, 2, 3, 1, 4, 5, 1, 4, 3), 3},
		{"SIEVE's hand moves on from what falls", SIEVE(), 3, ops(1, 2, 3, 1, 4, -3, 5, 6, 1, 5, 6), 4},
		// Small holds one, main nine. Keys read twice more go to main when they leave the small queue, others to the ghosts.
		{"S3-FIFO promotes the read", S3FIFO(), 10, ops(1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1), 3},
		{"S3-FIFO drops the unread", S3FIFO(), 10, ops(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1), 0},
		// 1 comes back as a ghost and goes to main, where ten more newcomers do not reach it.
		{"S3-FIFO remembers ghosts", S3FIFO(), 10, ops(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 1), 1},
		{"S3-FIFO forgets what fell", S3FIFO(), 10, ops(1, 1, -1, 1, 2, -2, 2), 1},
	} {
		if got := hits(t, c.kind, c.ops, c.capacity); got != c.want {
			t.Errorf("%s: %d hits, want %d", c.what, got, c.want)
		}
	}
}
