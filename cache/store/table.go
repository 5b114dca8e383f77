package store

import "sync/atomic"

// table finds slots by their hash. Reads take no lock. Writes belong to the
// holder of the store's mu.
type table struct {
	buckets atomic.Pointer[buckets]
	len     atomic.Int64

	// turn is odd while the table grows. Growth links the chains anew under the
	// readers' feet, so a miss is one only if turn was even before it and is
	// unchanged after it; a hit is always one.
	turn atomic.Uint64
}

type buckets struct {
	shift uint8 // 64 - log2(len(heads))
	heads []atomic.Pointer[Slot]
}

const minBits = 6

func newBuckets(bits uint8) *buckets {
	return &buckets{shift: 64 - bits, heads: make([]atomic.Pointer[Slot], 1<<bits)}
}

// head takes the highest bits, which all bits of the hash have a part in.
func (b *buckets) head(hash uint64) *atomic.Pointer[Slot] {
	return &b.heads[spread(hash)>>b.shift]
}

// spread is Fibonacci hashing: hashes need but differ.
func spread(hash uint64) uint64 { return hash * 0x9E3779B97F4A7C15 }

// find returns the slot of hash, or nil; sure is false when a nil may be wrong.
func (t *table) find(hash uint64) (n *Slot, sure bool) {
	turn := t.turn.Load()
	for n = t.buckets.Load().head(hash).Load(); n != nil; n = n.next.Load() {
		if n.hash == hash {
			return n, true
		}
	}
	return nil, turn&1 == 0 && t.turn.Load() == turn
}

// add puts n in, whose hash is not there.
func (t *table) add(n *Slot) {
	// At most half full: a read goes past another slot one time in four, and each costs it a cache line.
	if 2*t.len.Load() >= int64(len(t.buckets.Load().heads)) {
		t.grow()
	}
	head := t.buckets.Load().head(n.hash)
	n.next.Store(head.Load())
	head.Store(n)
	t.len.Add(1)
}

// remove unlinks n, which is in the table. A reader that stands on it goes on
// to the rest of the chain.
func (t *table) remove(n *Slot) {
	at := t.buckets.Load().head(n.hash)
	for p := at.Load(); p != n; p = at.Load() {
		at = &p.next
	}
	at.Store(n.next.Load())
	t.len.Add(-1)
}

// replace puts n, of the same hash, where old is: a reader meets one or the other.
func (t *table) replace(old, n *Slot) {
	at := t.buckets.Load().head(n.hash)
	for p := at.Load(); p != old; p = at.Load() {
		at = &p.next
	}
	n.next.Store(old.next.Load())
	at.Store(n)
}

func (t *table) grow() {
	old := t.buckets.Load()
	b := newBuckets(64 - old.shift + 1)
	t.turn.Add(1)
	for i := range old.heads {
		for n := old.heads[i].Load(); n != nil; {
			next := n.next.Load()
			head := b.head(n.hash)
			n.next.Store(head.Load())
			head.Store(n)
			n = next
		}
	}
	t.buckets.Store(b)
	t.turn.Add(1)
}

func (t *table) clear() {
	t.buckets.Store(newBuckets(minBits))
	t.len.Store(0)
}
