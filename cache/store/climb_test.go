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

// walk lets a climber take so many steps over a hill: at every share of the window, a hit ratio. It goes by the counts
// alone, since ristretto's goroutine, and so a real store's ratio, runs when it is scheduled.
func (h *hiker) walk(steps int, hill func(share float64) float64) {
	for range uint64(steps) * h.period {
		h.owed += hill(h.share) + 0.02*(h.rng.Float64()-0.5)
		if h.owed >= 1 {
			h.owed--
			h.hits++
			continue
		}
		h.set()
	}
}

type hiker struct {
	*climber
	hits uint64
	owed float64
	rng  *rand.Rand
}

func newHiker() *hiker {
	h := &hiker{rng: rand.New(rand.NewPCG(1, 1))}
	h.climber = newClimber(func() uint64 { return h.hits }, 500, 1.0/windowShare, 0.01)
	return h
}

// A loop over more than fits is served by a small window, and keys that are read again soon and then never more by a
// large one: from the same start the climber has to find both, and a top between them, though the ratio is never twice
// the same. Fails when a loss does not turn the step.
func TestClimberFindsTheWindow(t *testing.T) {
	for _, c := range []struct {
		name        string
		hill        func(share float64) float64
		least, most float64
	}{
		{"a loop", func(share float64) float64 { return 0.7 - 0.5*share }, 0, 0.08},
		{"recency", func(share float64) float64 { return 0.2 + 0.5*share }, 0.7, mostShare},
		{"a top between", func(share float64) float64 { return 0.6 - (share-0.45)*(share-0.45) }, 0.35, 0.55},
	} {
		h := newHiker()
		h.walk(60, c.hill)
		if h.share < c.least || h.share > c.most {
			t.Errorf("%s: the window has %.2f of the capacity, want %.2f to %.2f", c.name, h.share, c.least, c.most)
		}
	}
}

// A window that has found its place stays there, until other requests come. Fails when steps do not decay, and when a
// jump of the ratio does not begin anew.
func TestClimberSettlesAndBeginsAnew(t *testing.T) {
	h := newHiker()
	h.walk(300, func(share float64) float64 { return 0.6 - (share-0.45)*(share-0.45) })
	least, most := 1.0, 0.0
	for range 50 {
		h.walk(1, func(share float64) float64 { return 0.6 - (share-0.45)*(share-0.45) })
		least, most = min(least, h.share), max(most, h.share)
	}
	if most-least > 0.01 {
		t.Errorf("after 300 steps the window goes from %.3f to %.3f of the capacity", least, most)
	}
	h.walk(60, func(share float64) float64 { return 0.4 - 0.5*share })
	if h.share > 0.08 {
		t.Errorf("the requests have become a loop, and the window has %.2f of the capacity", h.share)
	}
}

// A store gives its window the share that the climber asks for. Fails when tiered does not ask it.
func TestStoreFollowsItsClimber(t *testing.T) {
	const capacity = 500
	s := openCounted(t, Config{MaxCost: capacity, CountEntries: true})
	for i := range uint64(20_000) {
		s.read(i, 1)
	}
	if got, want := s.window.limit, int64(s.climber.share*capacity); s.climber.share == 1.0/windowShare || got < want-1 || got > want+1 {
		t.Errorf("the window has %d of %d, want the climber's %d", got, capacity, want)
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
