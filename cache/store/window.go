package store

// window is the list of the nodes that came last. It belongs to the holder of
// the store's mu.
type window struct {
	newest, oldest *node
	cost           int64
	limit          int64
}

func (w *window) push(n *node) {
	n.where = inWindow
	n.newer, n.older = nil, w.newest
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
