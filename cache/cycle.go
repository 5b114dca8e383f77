package cache

import (
	"context"
	"sync"
)

// node is a running load, seen as one that waits for others. A load that would wait, through whatever chain of loads,
// caches and goroutines, for itself gets ErrLoadCycle instead (R5).
type node struct {
	on map[*node]int // loads this one waits for, and from how many of its goroutines; under waits
}

// waits guards every node's edges. One for all caches, for a cycle may lead through several; only misses inside a load
// take it.
var waits sync.Mutex

type nodeKey struct{}

func nodeIn(ctx context.Context) *node {
	n, _ := ctx.Value(nodeKey{}).(*node)
	return n
}

func (n *node) in(ctx context.Context) context.Context { return context.WithValue(ctx, nodeKey{}, n) }

// wait notes that n waits for other; false when other waits for n.
func (n *node) wait(other *node) bool {
	waits.Lock()
	defer waits.Unlock()
	if other.reaches(n, make(map[*node]bool)) {
		return false
	}
	if n.on == nil {
		n.on = make(map[*node]int)
	}
	n.on[other]++
	return true
}

func (n *node) stopWaiting(other *node) {
	waits.Lock()
	defer waits.Unlock()
	if n.on[other]--; n.on[other] == 0 {
		delete(n.on, other)
	}
}

// reaches reports whether n waits for target, or is it. Call with waits held.
func (n *node) reaches(target *node, seen map[*node]bool) bool {
	if n == target {
		return true
	}
	if seen[n] {
		return false
	}
	seen[n] = true
	for next := range n.on {
		if next.reaches(target, seen) {
			return true
		}
	}
	return false
}
