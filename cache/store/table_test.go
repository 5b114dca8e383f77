package store

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func newTestTable() *table {
	t := &table{}
	t.buckets.Store(newBuckets(minBits))
	return t
}

// A table against a map, through growth and removals, with chains: the hashes
// are few and equal in their high bits after spreading often enough.
func TestTableIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	tab, want := newTestTable(), map[uint64]*Slot{}
	for range 50_000 {
		h := rng.Uint64N(3000)
		if n := want[h]; n != nil && rng.IntN(2) == 0 {
			tab.remove(n)
			delete(want, h)
		} else if n == nil {
			want[h] = slotFor(h, &h, 1)
			tab.add(want[h])
		}
		probe := rng.Uint64N(3000)
		if n, sure := tab.find(probe); n != want[probe] || !sure {
			t.Fatalf("find(%d) = %p, %v, want %p", probe, n, sure, want[probe])
		}
	}
	if tab.len.Load() != int64(len(want)) {
		t.Fatalf("len = %d, want %d", tab.len.Load(), len(want))
	}
}

// A reader beside replacements meets the one or the other at every moment, wherever in the chain it stands. Fails when
// replace takes old out before it puts n in, or puts n first in the chain and then takes old out.
func TestTableReplacesUnderReaders(t *testing.T) {
	const residents = 256 // 64 to a chain
	tab := newTestTable()
	tab.buckets.Store(newBuckets(2))
	b := tab.buckets.Load()
	for h := range uint64(residents) {
		n := slotFor(h, &h, 1)
		n.next.Store(b.head(h).Load())
		b.head(h).Store(n)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				for h := range uint64(residents) {
					if n, _ := tab.find(h); n == nil {
						t.Errorf("%d is there and was not found", h)
						return
					}
				}
			}
		})
	}
	for i := range uint64(100_000) {
		h := i * 7 % residents
		old, _ := tab.find(h)
		tab.replace(old, slotFor(h, &i, 1))
	}
	done.Store(true)
	wg.Wait()
}

// Readers beside growth and removals: whoever is there throughout is found, or
// the miss is said to be unsure. Fails when find is always sure.
func TestTableGrowsUnderReaders(t *testing.T) {
	const residents = 64
	tab := newTestTable()
	for h := range uint64(residents) {
		tab.add(slotFor(h, &h, 1))
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				for h := range uint64(residents) {
					if n, sure := tab.find(h); n == nil && sure {
						t.Errorf("%d is there and was not found", h)
						return
					}
				}
			}
		})
	}
	var others []*Slot
	for h := uint64(residents); h < 40_000; h++ {
		n := slotFor(h, &h, 1)
		tab.add(n)
		others = append(others, n)
		if len(others) > 2 && h%3 == 0 {
			tab.remove(others[len(others)-2])
			others = append(others[:len(others)-2], n)
		}
	}
	done.Store(true)
	wg.Wait()
}
