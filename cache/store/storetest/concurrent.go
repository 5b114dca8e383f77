package storetest

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
)

// evictedOnce: every entry ever Set is, in the end, exactly one of held,
// evicted, replaced, deleted. Several goroutines do all of it at once, each on
// hashes of its own, so each knows what became of its entries.
func evictedOnce(t *testing.T, open store.Factory) {
	const workers, hashes, rounds = 4, 300, 4000
	var gone evictions
	s := mustOpen(t, open, store.Config{MaxCost: 20_000, ExpectedEntries: 400, Evicted: gone.note})
	type fate struct {
		set           []*item
		lost          map[*item]bool // replaced or deleted, unless evicted before
		last          map[uint64]*item
		deleted, hits int
	}
	fates := make([]fate, workers)
	var wg sync.WaitGroup
	for w := range workers {
		f := &fates[w]
		f.lost, f.last = map[*item]bool{}, map[uint64]*item{}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for range rounds {
				h := uint64(w)<<32 + uint64(rng.ExpFloat64()*hashes/4)
				if rng.IntN(20) == 0 {
					if i := get(t, s, h); i != nil {
						s.Del(h, i)
						f.lost[i] = true
						f.deleted++
					}
					continue
				}
				if get(t, s, h) != nil && rng.IntN(3) > 0 {
					f.hits++
					continue
				}
				i := &item{hash: h, cost: 1 + rng.Int64N(200)}
				s.Set(h, i, i.cost)
				f.set = append(f.set, i)
				if old := f.last[h]; old != nil {
					f.lost[old] = true
				}
				f.last[h] = i
			}
		})
	}
	wg.Wait()
	gone.mu.Lock()
	defer gone.mu.Unlock()
	if gone.wrong > 0 {
		t.Fatalf("Evicted was given another hash's entry %d times", gone.wrong)
	}
	var held int64
	total := 0
	for _, f := range fates {
		if f.deleted == 0 || f.hits == 0 {
			t.Fatal("a worker deleted or hit nothing: this tests less than it says")
		}
		for _, i := range f.set {
			isHeld := get(t, s, i.hash) == i
			times := gone.times[i]
			total += times
			switch {
			case times > 1:
				t.Fatalf("Evicted was called %d times for one entry", times)
			case isHeld && times > 0:
				t.Fatal("Evicted was called for an entry that can be read")
			case isHeld:
				held += i.cost
			case times == 0 && !f.lost[i]:
				t.Fatal("an entry left and Evicted was not called")
			}
		}
	}
	calls := 0
	for _, n := range gone.times {
		calls += n
	}
	if total == 0 || calls != total {
		t.Fatalf("Evicted was called %d times, %d of them for entries that were Set", calls, total)
	}
	if held != s.Cost() {
		t.Fatalf("entries of %d in all can be read, Cost = %d", held, s.Cost())
	}
}

func noAllocation(t *testing.T, open store.Factory) {
	const capacity = 1000
	s := mustOpen(t, open, entries(capacity))
	for h := range uint64(2 * capacity) {
		s.Set(h, &item{hash: h, cost: 1}, 1)
	}
	hits := 0
	allocs := testing.AllocsPerRun(10, func() {
		for h := range uint64(3 * capacity) {
			if _, ok := s.Get(h); ok {
				hits++
			}
		}
	})
	if allocs > 0 {
		t.Fatalf("%v allocations in %d Gets", allocs, 3*capacity)
	}
	if hits == 0 {
		t.Fatal("no Get hit")
	}
}

func closed(t *testing.T, open store.Factory) {
	var gone evictions
	s := mustOpen(t, open, store.Config{MaxCost: 100, CountEntries: true, Evicted: gone.note})
	last := &item{hash: 50, cost: 1}
	for h := range uint64(50) {
		put(t, s, &item{hash: h, cost: 1})
	}
	put(t, s, last)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		s.Set(1000, &item{hash: 1000, cost: 1}, 1)
		s.Del(50, last)
		for _, h := range []uint64{0, 50, 1000} {
			if _, ok := s.Get(h); ok {
				t.Fatalf("Get(%d) hits after Close", h)
			}
		}
		if s.Len() != 0 || s.Cost() != 0 {
			t.Fatalf("after Close: Len = %d, Cost = %d", s.Len(), s.Cost())
		}
	}
	if len(gone.times) > 0 {
		t.Fatal("Evicted was called for what Close dropped")
	}
}

// closeBeside: Close comes at any moment of any call, twice at once.
func closeBeside(t *testing.T, open store.Factory) {
	for range 20 {
		s := mustOpen(t, open, entries(100))
		var wg sync.WaitGroup
		var calls atomic.Int64
		stop := make(chan struct{})
		for w := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(2, uint64(w)))
				for {
					select {
					case <-stop:
						return
					default:
					}
					h := rng.Uint64N(400)
					if i := get(t, s, h); i == nil {
						s.Set(h, &item{hash: h, cost: 1}, 1)
					} else if h%10 == 0 {
						s.Del(h, i)
					}
					s.Len()
					s.Cost()
					calls.Add(1)
				}
			})
		}
		waitFor := func(n int64) {
			for from := calls.Load(); calls.Load() < from+n; {
				s.Get(1)
			}
		}
		waitFor(500)
		for range 2 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		waitFor(100)
		close(stop)
		wg.Wait()
		if s.Len() != 0 {
			t.Fatalf("Len = %d after Close", s.Len())
		}
	}
}

// neverOlder hammers a store that is too small for what comes. Each hash has
// one writer, which puts growing versions and now and then deletes; whoever
// reads knows from floor what had returned before, and must get nothing older.
func neverOlder(t *testing.T, open store.Factory) {
	const writers, readers, hashes, rounds = 3, 3, 96, 6000
	s := mustOpen(t, open, store.Config{MaxCost: 4000, ExpectedEntries: 64})
	var floor, last [hashes]atomic.Int64 // the least version that may be seen; the last one Set
	var wg, reading sync.WaitGroup
	var done atomic.Bool
	var hits atomic.Int64
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(w)))
			for range rounds {
				h := uint64(rng.IntN(hashes/writers)*writers + w)
				i := &item{hash: h, version: last[h].Load() + 1, cost: 50}
				if rng.IntN(4) == 0 {
					i.cost += rng.Int64N(50)
				}
				last[h].Store(i.version)
				s.Set(h, i, i.cost)
				floor[h].Store(i.version)
				if rng.IntN(3) == 0 {
					s.Del(h, i)
					floor[h].Store(i.version + 1)
				}
			}
		})
	}
	for r := range readers {
		reading.Go(func() {
			rng := rand.New(rand.NewPCG(4, uint64(r)))
			for n := 0; !done.Load(); n++ {
				if n%64 == 0 {
					runtime.Gosched() // else the writers get no turn on few cores
				}
				h := uint64(rng.IntN(hashes))
				least := floor[h].Load()
				i := get(t, s, h)
				if i == nil {
					continue
				}
				hits.Add(1)
				if i.version < least {
					t.Errorf("Get(%d) = version %d, begun after %d was in", h, i.version, least)
					return
				}
			}
		})
	}
	wg.Wait()
	for hits.Load() == 0 && !t.Failed() { // on one core the readers may not have had a turn yet
		s.Set(0, &item{hash: 0, version: last[0].Add(1), cost: 50}, 50)
		floor[0].Store(last[0].Load())
	}
	done.Store(true)
	reading.Wait()
	for h := range uint64(hashes) {
		if i := get(t, s, h); i != nil && (i.version != last[h].Load() || i.version < floor[h].Load()) {
			t.Errorf("in the end Get(%d) = version %d, the last Set was %d", h, i.version, last[h].Load())
		}
	}
	if c := s.Cost(); c > 4000 {
		t.Errorf("in the end Cost = %d, MaxCost is 4000", c)
	}
}
