package engine

import (
	"container/heap"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// OPT is Belady's bound: it knows the future and keeps what is read soonest. A
// read after a fall is a miss whatever was kept, so what falls first is worth
// nothing, and what is worth nothing is not kept at all: no cache that may
// refuse an entry does better.
func OPT() Kind {
	return Kind{Name: "OPT", Open: func(capacity int, ops []workload.Op) (Engine, func() error, error) {
		return &opt{capacity: capacity, next: nextReads(ops), held: map[uint64]*held{}}, none, nil
	}}
}

// nextReads gives for each operation the index of the key's next one, if that
// is a read; len(ops) when it is a fall, or there is none.
func nextReads(ops []workload.Op) []int {
	next := make([]int, len(ops))
	last := map[uint64]int{}
	for i := len(ops) - 1; i >= 0; i-- {
		next[i] = len(ops)
		if j, ok := last[ops[i].Key]; ok && !ops[j].Fall {
			next[i] = j
		}
		last[ops[i].Key] = i
	}
	return next
}

type opt struct {
	capacity int
	now      int
	next     []int
	held     map[uint64]*held
	far      farthest
}

type held struct {
	key  uint64
	next int
	at   int // in the heap
}

func (c *opt) Read(key uint64) bool {
	next := c.next[c.now]
	c.now++
	if h, ok := c.held[key]; ok {
		if h.next = next; next == len(c.next) {
			c.drop(h)
		} else {
			heap.Fix(&c.far, h.at)
		}
		return true
	}
	if next == len(c.next) {
		return false
	}
	if len(c.far) == c.capacity {
		if c.far[0].next < next {
			return false
		}
		c.drop(c.far[0])
	}
	h := &held{key: key, next: next}
	c.held[key] = h
	heap.Push(&c.far, h)
	return false
}

// Fall finds nothing to do: an entry whose key falls next was dropped at its last read.
func (c *opt) Fall(uint64) { c.now++ }

func (c *opt) drop(h *held) {
	heap.Remove(&c.far, h.at)
	delete(c.held, h.key)
}

// farthest is a heap whose top is used last.
type farthest []*held

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].next > f[j].next }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i]; f[i].at, f[j].at = i, j }
func (f *farthest) Push(x any)        { h := x.(*held); h.at = len(*f); *f = append(*f, h) }
func (f *farthest) Pop() any {
	old := *f
	h := old[len(old)-1]
	*f = old[:len(old)-1]
	return h
}
