package engine

import (
	"strconv"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/gofreshet/freshet/bench/internal/workload"
)

// RistrettoTight is bare ristretto as its documentation sets it up, with string
// keys as an application has them, driven as fast as it goes.
func RistrettoTight() Kind { return bare("ristretto tight", false) }

// RistrettoPaced is the same, but after every Set it waits until ristretto's
// buffer is empty: what it would be with loads that take their time.
func RistrettoPaced() Kind { return bare("ristretto paced", true) }

func bare(name string, paced bool) Kind {
	return Kind{Name: name, Varies: true, Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
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

func (b *bareRistretto) Read(key uint64) bool {
	k := strconv.FormatUint(key, 10)
	if _, ok := b.c.Get(k); ok {
		return true
	}
	b.c.Set(k, key, 1)
	b.pace()
	return false
}

func (b *bareRistretto) Fall(key uint64) {
	b.c.Del(strconv.FormatUint(key, 10))
	b.pace()
}

func (b *bareRistretto) pace() {
	if b.paced {
		b.c.Wait()
	}
}
