package store

import (
	"math/bits"
	"sync/atomic"
)

// node is one entry's place in the store: found by its hash through the table,
// and standing either in the window or in the main part.
type node struct {
	hash uint64
	next atomic.Pointer[node] // the chain of its bucket
	cell atomic.Pointer[cell] // what it holds now; never nil
	hits atomic.Uint32        // reads since it was last looked at, up to maxHits

	// Guarded by the store's mu.
	cost         int64
	where        place
	newer, older *node // neighbours in the window

	first cell // saves an allocation: most nodes hold one entry in their life
}

// cell boxes an entry, so that it is replaced in one atomic step.
type cell struct{ entry any }

type place uint8

const (
	gone place = iota
	inWindow
	inMain
)

// maxHits is where hits stop counting, so that a hot entry's line is only read.
const maxHits = 3

// touch notes a read. Two at once may count as one: it is a hint.
func (n *node) touch() {
	if h := n.hits.Load(); h < maxHits {
		n.hits.Store(h + 1)
	}
}

// table finds nodes by hash. Reads take no lock; writes are the holder's of the
// store's mu. While it grows, readers may miss what is there, so a miss counts
// only if [table.turn] was even and has not changed: see tiered.find.
type table struct {
	turn    atomic.Uint64 // odd while growing
	buckets atomic.Pointer[[]atomic.Pointer[node]]
	len     atomic.Int64
}

const minBuckets = 64

func newTable() *table {
	t := &table{}
	b := make([]atomic.Pointer[node], minBuckets)
	t.buckets.Store(&b)
	return t
}

// bucket spreads hashes that differ in few bits: nothing is asked of them here
// but that they differ.
func bucket(b []atomic.Pointer[node], hash uint64) *atomic.Pointer[node] {
	return &b[mix(hash)>>(64-uint(bits.TrailingZeros(uint(len(b)))))]
}

func mix(hash uint64) uint64 { return hash * 0x9E3779B97F4A7C15 }

func (t *table) get(hash uint64) *node {
	n := bucket(*t.buckets.Load(), hash).Load()
	for n != nil && n.hash != hash {
		n = n.next.Load()
	}
	return n
}

// add links n, whose hash must not be in the table.
func (t *table) add(n *node) {
	b := *t.buckets.Load()
	if int(t.len.Load()) >= len(b) {
		b = t.grow(b)
	}
	at := bucket(b, n.hash)
	n.next.Store(at.Load())
	at.Store(n)
	t.len.Add(1)
}

// remove unlinks n. Readers that stand on it still find the rest of the chain.
func (t *table) remove(n *node) {
	at := bucket(*t.buckets.Load(), n.hash)
	for p := at.Load(); p != n; p = at.Load() {
		at = &p.next
	}
	at.Store(n.next.Load())
	t.len.Add(-1)
}

func (t *table) grow(old []atomic.Pointer[node]) []atomic.Pointer[node] {
	b := make([]atomic.Pointer[node], 2*len(old))
	t.turn.Add(1)
	for i := range old {
		for n := old[i].Load(); n != nil; {
			next := n.next.Load()
			at := bucket(b, n.hash)
			n.next.Store(at.Load())
			at.Store(n)
			n = next
		}
	}
	t.buckets.Store(&b)
	t.turn.Add(1)
	return b
}

func (t *table) clear() {
	b := make([]atomic.Pointer[node], minBuckets)
	t.buckets.Store(&b)
	t.len.Store(0)
}
