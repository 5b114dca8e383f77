package engine

import (
	"hash/maphash"

	"github.com/gofreshet/freshet/cache/store"
)

// Store is an engine of package store, with entries of cost 1, keyed as the
// near cache keys it.
func Store(name string, open store.Factory) Kind {
	return Kind{name, func(capacity int, _ []uint64) (Engine, func() error, error) {
		s, err := open(store.Config{MaxCost: int64(capacity), CountEntries: true})
		if err != nil {
			return nil, nil, err
		}
		return &stored{s: s, seed: maphash.MakeSeed()}, s.Close, nil
	}}
}

type stored struct {
	s    store.Store
	seed maphash.Seed
}

func (e *stored) Access(key uint64) bool {
	hash := maphash.Comparable(e.seed, key)
	if entry, ok := e.s.Get(hash); ok && *entry.(*uint64) == key {
		return true
	}
	e.s.Set(hash, &key, 1)
	return false
}
