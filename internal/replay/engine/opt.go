package engine

import "container/heap"

// OPT is Belady's bound: it knows the future and keeps what is used soonest.
// What is never used again is not kept at all, so no cache that may refuse an
// entry does better.
func OPT() Kind {
	return Kind{"OPT", func(capacity int, keys []uint64) (Engine, func() error, error) {
		return &opt{capacity: capacity, next: nextUses(keys), held: map[uint64]*held{}}, none, nil
	}}
}

// nextUses gives for each access the index of the key's next one; len(keys)
// when there is none.
func nextUses(keys []uint64) []int {
	next := make([]int, len(keys))
	last := map[uint64]int{}
	for i := len(keys) - 1; i >= 0; i-- {
		if j, ok := last[keys[i]]; ok {
			next[i] = j
		} else {
			next[i] = len(keys)
		}
		last[keys[i]] = i
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

func (c *opt) Access(key uint64) bool {
	next := c.next[c.now]
	c.now++
	if h, ok := c.held[key]; ok {
		h.next = next
		heap.Fix(&c.far, h.at)
		return true
	}
	if next == len(c.next) {
		return false
	}
	if len(c.far) == c.capacity {
		if c.far[0].next < next {
			return false
		}
		delete(c.held, heap.Pop(&c.far).(*held).key)
	}
	h := &held{key: key, next: next}
	c.held[key] = h
	heap.Push(&c.far, h)
	return false
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
