package store

import "sync/atomic"

// Slot is an entry's standing in the default engine: it is found through the table, and stands in the window or in the
// main part. An entry that embeds one spares the engine an allocation, and every hit the way to another cache line:
// such an entry is Set once in its life, in one store.
type Slot struct {
	// What a read touches comes first, to lie in one cache line if it can.
	hash  uint64
	next  atomic.Pointer[Slot] // the chain of its bucket
	entry any                  // fixed before the slot is in the table
	hits  atomic.Uint32        // reads since it was last looked at, up to maxHits

	// The rest belongs to the holder of the store's mu.

	where        place
	cost         int64
	newer, older *Slot // neighbours in the window
}

func (s *Slot) slot() *Slot { return s }

type place uint8

const (
	gone place = iota
	inWindow
	inMain
)

// slotFor is entry's own slot if it has one to give.
func slotFor(hash uint64, entry any, cost int64) *Slot {
	var n *Slot
	if own, ok := entry.(interface{ slot() *Slot }); ok {
		n = own.slot()
	}
	if n == nil || n.entry != nil {
		n = new(Slot)
	}
	n.hash, n.entry, n.cost = hash, entry, cost
	return n
}

// maxHits is where hits stop counting: from there on a hot node is only read,
// and its cache line stays with all cores.
const maxHits = 3

// touch notes a read. Two at once may count as one: it is a hint.
func (s *Slot) touch() {
	if h := s.hits.Load(); h < maxHits {
		s.hits.Store(h + 1)
	}
}

// window lists slots from the newest to the oldest.
type window struct {
	newest, oldest *Slot
	cost, limit    int64
}

func (w *window) push(n *Slot) {
	n.where = inWindow
	n.older = w.newest
	if w.newest != nil {
		w.newest.newer = n
	} else {
		w.oldest = n
	}
	w.newest = n
	w.cost += n.cost
}

// only reports whether w has nothing but n, or nothing at all.
func (w *window) only(n *Slot) bool {
	return w.oldest == nil || w.oldest == n && w.newest == n
}

// replace puts n, of the same cost, where old stands.
func (w *window) replace(old, n *Slot) {
	n.where, n.newer, n.older = inWindow, old.newer, old.older
	if n.newer != nil {
		n.newer.older = n
	} else {
		w.newest = n
	}
	if n.older != nil {
		n.older.newer = n
	} else {
		w.oldest = n
	}
	old.newer, old.older = nil, nil
	old.where = gone
}

func (w *window) remove(n *Slot) {
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		w.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		w.oldest = n.newer
	}
	n.newer, n.older = nil, nil
	n.where = gone
	w.cost -= n.cost
}
