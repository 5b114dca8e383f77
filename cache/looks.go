package cache

import (
	"context"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// looksAtOnce values are checked by one reading of the clock.
const looksAtOnce = 16

// Found is what memory has of one key.
type Found[V any] struct {
	Value V
	OK    bool  // it may be served, or its absence
	Err   error // an absence's
}

// LookupMany is [Cache.Lookup] for each of ks and fills in as many of found, which must not be shorter. The clock, most
// of a hit's cost, is read once for several. It allocates nothing.
func (c *Cache[K, V]) LookupMany(ctx context.Context, ks []K, found []Found[V]) {
	rec := invalidate.RecordIn(ctx)
	c.lookMany(ks, rec, c.bound(0, rec), func(i int, e *entry[K, V]) {
		f := &found[i]
		*f = Found[V]{OK: e != nil}
		if f.OK {
			f.Value, f.Err = c.give(e)
		}
	})
}

// lookMany is look for each of ks: saw is given the entry that may be served, or nil.
func (c *Cache[K, V]) lookMany(ks []K, rec *invalidate.Record, bound time.Duration, saw func(i int, e *entry[K, V])) {
	var (
		entries [looksAtOnce]*entry[K, V]
		looks   [looksAtOnce]invalidate.Look
	)
	for first := 0; first < len(ks); first += looksAtOnce {
		part := ks[first:min(first+looksAtOnce, len(ks))]
		closed := c.closed.Load()
		for i := range part {
			entries[i], looks[i].Of = nil, nil
			if closed {
				continue
			}
			if e := c.find(c.hash(part[i]), &part[i]); e != nil {
				entries[i], looks[i].Of = e, &e.valid
			}
		}
		c.tracker.CheckAll(looks[:len(part)], bound)
		for i := range part {
			e, l := entries[i], &looks[i]
			if e != nil {
				if ok, _ := c.serves(e, l.Staleness, l.State, rec, bound); !ok {
					e = nil
				}
			}
			saw(first+i, e)
		}
	}
}
