package cache

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Stats since the cache was made, but for Entries and Bytes, which are now.
type Stats struct {
	Hits, Misses     uint64        // reads served from memory (absences included), and the others
	NegativeHits     uint64        // of the Hits: absences
	Loads            uint64        // calls of a loader; one for each key of a LoadMany
	LoadErrors       uint64        // of the Loads: failed, absences aside
	Joined           uint64        // of the Misses: answered by a load that another call had begun
	StaleServed      uint64        // of the Hits: beyond MaxStaleness, by Options.Beyond
	RefusedStores    uint64        // of the Loads: results not stored, because they fell meanwhile or must not be kept
	Evicted          uint64        // entries that left for want of room
	Entries, Bytes   int64         // Bytes is 0 in a cache bounded by entries
	MaxStalenessSeen time.Duration // the largest proven staleness of a hit, StaleServed aside
}

// HitRatio is Hits / (Hits + Misses), 0 before the first read.
func (s Stats) HitRatio() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

// counters are the hit path's in stripes, for a counter that all cores write would be the hit path's bottleneck.
type counters struct {
	stripes []stripe

	misses, loads, loadErrors, joined, refused, evicted atomic.Uint64
}

type stripe struct {
	hits, negative, stale atomic.Uint64
	maxStaleness          atomic.Int64
	_                     [128 - 4*8]byte
}

func newCounters() counters {
	n := 4
	for n < 4*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	return counters{stripes: make([]stripe, n)}
}

// stripe picks a stripe by where the goroutine's stack lies: running goroutines rarely share one.
func (c *counters) stripe() *stripe {
	var here byte
	at := uintptr(unsafe.Pointer(&here)) >> 10
	return &c.stripes[(at^at>>5)&uintptr(len(c.stripes)-1)]
}

func (s *stripe) hit(staleness time.Duration) {
	s.hits.Add(1)
	for {
		was := s.maxStaleness.Load()
		if int64(staleness) <= was || s.maxStaleness.CompareAndSwap(was, int64(staleness)) {
			return
		}
	}
}

// hits is all hits so far.
func (c *counters) hits() (n uint64) {
	for i := range c.stripes {
		n += c.stripes[i].hits.Load()
	}
	return n
}

// Stats returns the counters. They are read one by one, not at one instant.
func (c *Cache[K, V]) Stats() Stats {
	n := &c.counters
	s := Stats{
		Misses:        n.misses.Load(),
		Loads:         n.loads.Load(),
		LoadErrors:    n.loadErrors.Load(),
		Joined:        n.joined.Load(),
		RefusedStores: n.refused.Load(),
		Evicted:       n.evicted.Load(),
		Entries:       int64(c.store.Len()),
	}
	if c.opts.MaxBytes > 0 {
		s.Bytes = c.store.Cost()
	}
	for i := range n.stripes {
		p := &n.stripes[i]
		s.Hits += p.hits.Load()
		s.NegativeHits += p.negative.Load()
		s.StaleServed += p.stale.Load()
		s.MaxStalenessSeen = max(s.MaxStalenessSeen, time.Duration(p.maxStaleness.Load()))
	}
	return s
}
