package engine

import (
	"hash/maphash"

	"github.com/gofreshet/freshet/bench/internal/workload"
	"github.com/gofreshet/freshet/cache/store"
)

// Store is an engine of package store without the near cache around it, keyed
// as that keys it. What fell stays in its place until it is loaded anew, as in
// the near cache.
func Store(name string, open store.Factory) Kind {
	return Kind{Name: name, Varies: true, Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		e := &stored{seed: maphash.MakeSeed()}
		s, err := open(store.Config{MaxCost: int64(capacity), CountEntries: true, Hits: func() uint64 { return e.hits },
			Dead: func(entry any) bool { return entry.(*storedEntry).fallen }})
		if err != nil {
			return nil, nil, err
		}
		e.s = s
		return e, s.Close, nil
	}}
}

type stored struct {
	s    store.Store
	seed maphash.Seed
	hits uint64
}

type storedEntry struct {
	key    uint64
	fallen bool
}

func (e *stored) Read(key uint64) bool {
	hash := maphash.Comparable(e.seed, key)
	if entry := e.find(hash, key); entry != nil && !entry.fallen {
		e.hits++
		return true
	}
	e.s.Set(hash, &storedEntry{key: key}, 1)
	return false
}

func (e *stored) find(hash, key uint64) *storedEntry {
	if v, ok := e.s.Get(hash); ok && v.(*storedEntry).key == key {
		return v.(*storedEntry)
	}
	return nil
}

// Fall looks the entry up, which the near cache does not: the request counts
// that Get keeps are a little above the near cache's.
func (e *stored) Fall(key uint64) {
	if entry := e.find(maphash.Comparable(e.seed, key), key); entry != nil {
		entry.fallen = true
	}
}
