package store

import (
	"math/rand/v2"
	"testing"
)

type counted struct {
	*tiered
	hits uint64
}

func openCounted(t *testing.T, cfg Config) *counted {
	t.Helper()
	c := &counted{}
	cfg.Hits = func() uint64 { return c.hits }
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c.tiered = s.(*tiered)
	return c
}

// read is what a cache does: a hit, or a load.
func (c *counted) read(hash uint64, cost int64) {
	if _, ok := c.Get(hash); ok {
		c.hits++
		return
	}
	c.Set(hash, &hash, cost)
}

// A loop over more than fits is served by a small window, and keys that are read again soon and then never more by a
// large one: from the same start the climber has to find both.
func TestClimberFindsTheWindow(t *testing.T) {
	const capacity = 500
	loop := openCounted(t, Config{MaxCost: capacity, CountEntries: true})
	for i := range uint64(80_000) {
		loop.read(i%(capacity*5/4), 1)
	}
	if got := loop.window.limit; got > capacity/8 {
		t.Errorf("a loop: the window has %d of %d, want it much smaller than the %d it began with", got, capacity, capacity/windowShare)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	recent := openCounted(t, Config{MaxCost: capacity, CountEntries: true})
	for i := range uint64(80_000) {
		recent.read(i/2-min(i/2, rng.Uint64N(capacity)), 1)
	}
	if got := recent.window.limit; got < capacity/3 {
		t.Errorf("recency: the window has %d of %d, want it much larger than the %d it began with", got, capacity, capacity/windowShare)
	}
}

// Whatever the window's share, and however suddenly it changes, what is held never costs more than MaxCost and a Set is
// visible. Fails when excess does not look at the whole, and when set does not ask whether the main part leaves room.
func TestResizeKeepsTheCapacity(t *testing.T) {
	for _, entries := range []bool{true, false} {
		for maxCost := int64(1); maxCost <= 4096; maxCost = maxCost*3 + 1 {
			s := openCounted(t, Config{MaxCost: maxCost, CountEntries: entries, ExpectedEntries: 1 + maxCost/8})
			rng := rand.New(rand.NewPCG(uint64(maxCost), 7))
			cost := int64(1)
			for i := range 3000 {
				if i%50 == 0 && s.climber != nil {
					s.climber.look = 1 << 60
					s.resize(s.climber.least + rng.Float64()*(mostShare-s.climber.least))
				}
				hash := rng.Uint64N(uint64(2 * maxCost))
				if !entries {
					cost = 1 + rng.Int64N(max(1, maxCost/[]int64{16, 16, 2}[i%3]))
				}
				s.Set(hash, &hash, cost)
				if _, ok := s.Get(hash); !ok && cost <= max(1, maxCost/16) {
					t.Fatalf("MaxCost %d: a Set of cost %d is not visible", maxCost, cost)
				}
				if got := s.Cost(); got > maxCost {
					t.Fatalf("MaxCost %d: %d are held after a Set of %d: window %d of %d (entries %v)", maxCost, got, cost, s.window.cost, s.window.limit, entries)
				}
			}
		}
	}
}

// The dead make room for the living.
func TestDeadLeaveFirst(t *testing.T) {
	const capacity = 1000
	dead := map[uint64]bool{}
	var left []uint64
	s, err := Open(Config{
		MaxCost: capacity, CountEntries: true,
		Dead:    func(entry any) bool { return dead[*entry.(*uint64)] },
		Evicted: func(hash uint64, _ any) { left = append(left, hash) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for h := range uint64(capacity) {
		s.Set(h, &h, 1)
		dead[h] = h%2 == 0
	}
	living := 0
	for h := range uint64(capacity / 4) {
		h += capacity
		s.Set(h, &h, 1)
	}
	for _, h := range left {
		if !dead[h] {
			living++
		}
	}
	// Without dead there are 250 gone, half of them living.
	if living > capacity/4/4 || len(left) < capacity/4 {
		t.Errorf("%d made room for %d, %d of them living", len(left), capacity/4, living)
	}
}
