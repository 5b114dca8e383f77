// Package storetest is the conformance test of the near cache's engines.
//
//	func TestMyEngine(t *testing.T) { storetest.Run(t, myengine.Open) }
//
// Required: what is Set is seen by the next Get and by all that begin after Set
// returned, until it is evicted, and nothing older is seen any more; Del removes
// its own entry and no other; hashes do not touch each other; the costs held
// never exceed MaxCost while no call is under way; of a load that fits, three
// quarters at least are kept; Evicted is called once for each entry that left for want of room and for no other;
// Close leaves nothing behind and may come beside any call; Get allocates
// nothing.
//
// Not required: that anything at all is kept for long, an order of eviction,
// exact figures from Len and Cost while calls are under way, and, of entries
// that cost more than a sixteenth of MaxCost, that they are taken in.
//
// Run it with the race detector too.
package storetest

import (
	"sync"
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/leak"
)

// Run tests the engine that open opens.
func Run(t *testing.T, open store.Factory) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Factory)
	}{
		{"config", badConfig},
		{"visible at once", visible},
		{"replaces", replaces},
		{"replaces with another cost", replacesCost},
		{"del removes its own", delOwn},
		{"hashes are apart", apart},
		{"a capacity of one", one},
		{"capacity by entries", capacityEntries},
		{"capacity by cost", capacityCost},
		{"keeps what fits", keeps},
		{"oversize", oversize},
		{"evicted once", evictedOnce},
		{"get allocates nothing", noAllocation},
		{"closed", closed},
		{"close beside calls", closeBeside},
		{"never older", neverOlder},
	} {
		t.Run(test.name, func(t *testing.T) {
			leak.Check(t)
			test.run(t, open)
		})
	}
}

// item is the entry of all tests.
type item struct {
	hash    uint64
	version int64
	cost    int64
}

func mustOpen(t *testing.T, open store.Factory, cfg store.Config) store.Store {
	t.Helper()
	s, err := open(cfg)
	if err != nil {
		t.Fatalf("open %+v: %v", cfg, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func entries(n int64) store.Config { return store.Config{MaxCost: n, CountEntries: true} }

// get is Get, with what it gives checked to be an item of hash.
func get(t *testing.T, s store.Store, hash uint64) *item {
	e, ok := s.Get(hash)
	if !ok {
		return nil
	}
	i, is := e.(*item)
	if !is || i == nil {
		t.Errorf("Get(%d) = %v: not what was Set", hash, e)
		return nil
	}
	if i.hash != hash {
		t.Errorf("Get(%d) gives the entry of %d", hash, i.hash)
	}
	return i
}

func put(t *testing.T, s store.Store, i *item) {
	t.Helper()
	s.Set(i.hash, i, i.cost)
	if got := get(t, s, i.hash); got != i {
		t.Fatalf("Get(%d) after Set = %+v, want %+v", i.hash, got, i)
	}
}

// evictions collects what Evicted is told.
type evictions struct {
	mu    sync.Mutex
	times map[*item]int
	wrong int // calls with an entry not of its hash
}

func (e *evictions) note(hash uint64, entry any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times == nil {
		e.times = map[*item]int{}
	}
	i := entry.(*item)
	e.times[i]++
	if i.hash != hash {
		e.wrong++
	}
}
