package storetest

import (
	"math"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
)

func badConfig(t *testing.T, open store.Factory) {
	for field, cfg := range map[string]store.Config{
		"MaxCost":         {MaxCost: 0, CountEntries: true},
		"Config.MaxCost":  {MaxCost: -1},
		"ExpectedEntries": {MaxCost: 1000, ExpectedEntries: -1},
	} {
		s, err := open(cfg)
		if err == nil {
			s.Close()
			t.Errorf("open %+v: no error", cfg)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("open %+v: %q does not name %s", cfg, err, field)
		}
	}
}

// visible: through a store that is long full, so that every Set must evict.
func visible(t *testing.T, open store.Factory) {
	for _, capacity := range []int64{1, 2, 3, 10, 100, 1000} {
		s := mustOpen(t, open, entries(capacity))
		for h := range uint64(5 * capacity) {
			put(t, s, &item{hash: h, cost: 1})
			s.Get(h / 2) // some are read more than others
		}
	}
}

// replaces: wherever in the store an entry stands after so many others came, a
// Set of its hash replaces it for good.
func replaces(t *testing.T, open store.Factory) {
	const capacity = 200
	s := mustOpen(t, open, entries(capacity))
	for version := range int64(5) {
		for h := range uint64(capacity) {
			put(t, s, &item{hash: h, version: version, cost: 1})
			put(t, s, &item{hash: 1<<32 + h, version: version, cost: 1}) // pushes the others on
		}
		for h := range uint64(capacity) {
			if got := get(t, s, h); got != nil && got.version != version {
				t.Fatalf("Get(%d) = version %d after Set of %d", h, got.version, version)
			}
		}
	}
}

func replacesCost(t *testing.T, open store.Factory) {
	const maxCost = 10_000
	s := mustOpen(t, open, store.Config{MaxCost: maxCost, ExpectedEntries: 100})
	for version := range int64(20) {
		for h := range uint64(200) {
			put(t, s, &item{hash: h, version: version, cost: 1 + (int64(h)*7+version*31)%300})
			if c := s.Cost(); c > maxCost {
				t.Fatalf("Cost = %d, MaxCost is %d", c, maxCost)
			}
		}
		for h := range uint64(200) {
			if got := get(t, s, h); got != nil && got.version != version {
				t.Fatalf("Get(%d) = version %d after Set of %d", h, got.version, version)
			}
		}
	}
}

func delOwn(t *testing.T, open store.Factory) {
	const capacity = 100
	s := mustOpen(t, open, entries(capacity))
	s.Del(1, &item{hash: 1}) // nothing there
	for h := range uint64(3 * capacity) {
		old, now := &item{hash: h, cost: 1}, &item{hash: h, version: 1, cost: 1}
		put(t, s, old)
		put(t, s, now)
		s.Del(h, old)
		if get(t, s, h) != now {
			t.Fatalf("Del(%d) of the entry before removed this one", h)
		}
	}
	// Those that have been held for a while go as well, and stay away while
	// others come.
	dead := map[uint64]bool{}
	for h := range uint64(3 * capacity) {
		if i := get(t, s, h); i != nil && h%2 == 0 {
			s.Del(h, i)
			dead[h] = true
		}
	}
	if len(dead) == 0 {
		t.Fatal("nothing was held to delete")
	}
	for h := range uint64(3 * capacity) {
		put(t, s, &item{hash: 1<<32 + h, cost: 1})
		if h < 3*capacity && dead[h] && get(t, s, h) != nil {
			t.Fatalf("%d came back after its Del", h)
		}
	}
	held := 0
	for h := range uint64(3 * capacity) {
		if dead[h] && get(t, s, h) != nil {
			t.Fatalf("%d came back after its Del", h)
		}
		if i := get(t, s, 1<<32+h); i != nil {
			held++
			s.Del(i.hash, i)
		}
		if i := get(t, s, h); i != nil {
			s.Del(h, i)
		}
	}
	if s.Len() != 0 || s.Cost() != 0 {
		t.Fatalf("all deleted, %d of them lately: Len = %d, Cost = %d", held, s.Len(), s.Cost())
	}
}

// apart: hashes that differ in one bit, and the extreme ones, are different.
func apart(t *testing.T, open store.Factory) {
	s := mustOpen(t, open, entries(10_000))
	hashes := []uint64{0, math.MaxUint64}
	for bit := range 64 {
		hashes = append(hashes, 1<<bit, ^(uint64(1) << bit))
	}
	for _, h := range hashes {
		put(t, s, &item{hash: h, cost: 1})
	}
	for n, h := range hashes {
		i := get(t, s, h)
		if i == nil {
			t.Fatalf("Get(%#x) misses in a store with room", h)
		}
		s.Del(h, i)
		if get(t, s, h) != nil {
			t.Fatalf("Get(%#x) hits after Del", h)
		}
		if want := len(hashes) - n - 1; s.Len() != want {
			t.Fatalf("Len = %d after Del(%#x), want %d", s.Len(), h, want)
		}
	}
}

func one(t *testing.T, open store.Factory) {
	s := mustOpen(t, open, entries(1))
	for h := range uint64(20) {
		put(t, s, &item{hash: h, cost: 1})
		get(t, s, h)
		if h > 0 && get(t, s, h-1) != nil {
			t.Fatalf("holds %d and %d", h-1, h)
		}
	}
}

// capacityEntries counts what can be read, not what Len says.
func capacityEntries(t *testing.T, open store.Factory) {
	for _, capacity := range []int64{2, 7, 64, 1000} {
		s := mustOpen(t, open, entries(capacity))
		for h := range uint64(10 * capacity) {
			s.Set(h, &item{hash: h, cost: 1}, 1)
			s.Get(h % 13)
			if c, n := s.Cost(), int64(s.Len()); c > capacity || n > capacity {
				t.Fatalf("Cost = %d, Len = %d, MaxCost is %d", c, n, capacity)
			}
		}
		held := 0
		for h := range uint64(10 * capacity) {
			if get(t, s, h) != nil {
				held++
			}
		}
		if int64(held) > capacity || held != s.Len() {
			t.Fatalf("%d can be read, Len = %d, MaxCost is %d", held, s.Len(), capacity)
		}
	}
}

func capacityCost(t *testing.T, open store.Factory) {
	const maxCost = 100_000
	s := mustOpen(t, open, store.Config{MaxCost: maxCost, ExpectedEntries: 500})
	for h := range uint64(5000) {
		cost := 1 + int64(h*h%1000)
		if h%100 == 0 {
			cost = maxCost / 3
		}
		s.Set(h, &item{hash: h, cost: cost}, cost)
		if c := s.Cost(); c > maxCost {
			t.Fatalf("Cost = %d, MaxCost is %d", c, maxCost)
		}
	}
	var held int64
	for h := range uint64(5000) {
		if i := get(t, s, h); i != nil {
			held += i.cost
		}
	}
	if held > maxCost || held != s.Cost() {
		t.Fatalf("entries of %d in all can be read, Cost = %d, MaxCost is %d", held, s.Cost(), maxCost)
	}
}

// keeps: a load that fits stays, also in the room of what was deleted, however
// much in demand that had been.
func keeps(t *testing.T, open store.Factory) {
	const capacity = 1000
	s := mustOpen(t, open, entries(capacity))
	for generation := range uint64(3) {
		first := generation << 32
		for h := first; h < first+capacity; h++ {
			s.Set(h, &item{hash: h, cost: 1}, 1)
		}
		held := 0
		for range 4 {
			held = 0
			for h := first; h < first+capacity; h++ {
				if get(t, s, h) != nil {
					held++
				}
			}
		}
		if held < capacity*3/4 {
			t.Fatalf("generation %d: keeps %d of %d that fit", generation, held, capacity)
		}
		for h := first; h < first+capacity; h++ {
			if i := get(t, s, h); i != nil {
				s.Del(h, i)
			}
		}
	}
}

func oversize(t *testing.T, open store.Factory) {
	var gone evictions
	s := mustOpen(t, open, store.Config{MaxCost: 1000, ExpectedEntries: 10, Evicted: gone.note})
	for _, cost := range []int64{1001, math.MaxInt64} {
		put(t, s, &item{hash: 7, cost: 10})
		s.Set(7, &item{hash: 7, version: 1}, cost)
		if i := get(t, s, 7); i != nil {
			t.Fatalf("Get after a Set of cost %d = %+v", cost, i)
		}
	}
	for _, cost := range []int64{0, -1, math.MinInt64} {
		s.Set(8, &item{hash: 8}, cost)
		if get(t, s, 8) == nil || s.Cost() != 1 {
			t.Fatalf("a cost of %d: Cost = %d, want it kept at 1", cost, s.Cost())
		}
	}
	if len(gone.times) != 0 {
		t.Fatal("Evicted was called for what was replaced or never kept")
	}
}
