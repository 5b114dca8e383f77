package store

import "sync/atomic"

// node is the standing of one hash in the store: found through the table, and
// standing in the window or in the main part. Sets of the same hash and cost
// change what it holds, so its standing survives them.
type node struct {
	// What a read touches comes first, to lie in one cache line if it can.
	hash  uint64
	next  atomic.Pointer[node] // the chain of its bucket
	cell  atomic.Pointer[cell] // what it holds now; never nil
	first cell                 // saves an allocation: most nodes hold one entry in their life
	hits  atomic.Uint32        // reads since it was last looked at, up to maxHits

	// The rest belongs to the holder of the store's mu.

	where        place
	cost         int64
	newer, older *node // neighbours in the window
}

// cell boxes an entry, so that it is replaced in one atomic step.
type cell struct{ entry any }

type place uint8

const (
	gone place = iota
	inWindow
	inMain
)

func newNode(hash uint64, entry any, cost int64) *node {
	n := &node{hash: hash, cost: cost, first: cell{entry}}
	n.cell.Store(&n.first)
	return n
}

func (n *node) entry() any { return n.cell.Load().entry }

// maxHits is where hits stop counting: from there on a hot node is only read,
// and its cache line stays with all cores.
const maxHits = 3

// touch notes a read. Two at once may count as one: it is a hint.
func (n *node) touch() {
	if h := n.hits.Load(); h < maxHits {
		n.hits.Store(h + 1)
	}
}

// window lists nodes from the newest to the oldest.
type window struct {
	newest, oldest *node
	cost, limit    int64
}

func (w *window) push(n *node) {
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

func (w *window) remove(n *node) {
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
