package engine

import (
	"strconv"

	"github.com/dgraph-io/ristretto/v2"
)

// RistrettoTight is bare ristretto as its documentation sets it up, with string
// keys as an application has them, driven as fast as it goes.
func RistrettoTight() Kind { return bare("ristretto tight", false) }

// RistrettoPaced is the same, but after every Set it waits until ristretto's
// buffer is empty: what it would be with loads that take their time.
func RistrettoPaced() Kind { return bare("ristretto paced", true) }

func bare(name string, paced bool) Kind {
	return Kind{name, func(capacity int, _ []uint64) (Engine, func() error, error) {
		c, err := ristretto.NewCache(&ristretto.Config[string, uint64]{
			NumCounters:        10 * int64(capacity),
			MaxCost:            int64(capacity),
			BufferItems:        64,
			IgnoreInternalCost: true, // else a capacity of 1000 holds 17
		})
		if err != nil {
			return nil, nil, err
		}
		return &bareRistretto{c: c, paced: paced}, func() error { c.Close(); return nil }, nil
	}}
}

type bareRistretto struct {
	c     *ristretto.Cache[string, uint64]
	paced bool
}

func (b *bareRistretto) Access(key uint64) bool {
	k := strconv.FormatUint(key, 10)
	if _, ok := b.c.Get(k); ok {
		return true
	}
	b.c.Set(k, key, 1)
	if b.paced {
		b.c.Wait()
	}
	return false
}
