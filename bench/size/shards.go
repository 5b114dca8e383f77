package size

import "container/heap"

// curve is LRU's hit ratio by capacity, from one pass over a sample.
type curve struct {
	s    *sample
	hits []int // at most how many hits a sampled LRU of i entries has; hits[0] is 0
}

// at is the hit ratio of an LRU of that many entries.
func (c curve) at(capacity int) float64 {
	i := min(int(float64(capacity)*c.s.rate+0.5), len(c.hits)-1)
	return c.s.corrected(float64(c.hits[i]))
}

// lruCurve takes each read's distance in the stack of an LRU without bounds: a
// cache hits it if it is no smaller.
func lruCurve(s *sample) curve {
	st := newStack(len(s.w.Ops))
	hits := make([]int, 1)
	for _, op := range s.w.Ops {
		if op.Fall {
			st.fall(op.Key)
			continue
		}
		d := st.read(op.Key)
		if d == 0 {
			continue
		}
		for len(hits) <= d {
			hits = append(hits, 0)
		}
		hits[d]++
	}
	for i := 1; i < len(hits); i++ {
		hits[i] += hits[i-1]
	}
	return curve{s, hits}
}

// stack is LRU's for all capacities at once, ordered by the time of the last
// read. What fell leaves a hole, for a cache that has room does not get back
// what it evicted before: the next read of something deeper, or of something
// new, moves only what lies above the hole, and fills it. A key that is read
// from below a hole leaves a hole of its own.
type stack struct {
	now   int
	at    map[uint64]int // by key, the time of its last read
	marks []int          // a Fenwick tree over times: 1 for a key or a hole
	holes times
}

func newStack(ops int) *stack {
	return &stack{at: make(map[uint64]int), marks: make([]int, ops+1)}
}

// read gives the least capacity that hits key, 0 for none.
func (s *stack) read(key uint64) (distance int) {
	s.now++
	was, known := s.at[key]
	if known {
		distance = s.since(was)
		s.mark(was, -1)
	}
	if len(s.holes) > 0 && s.holes[0] > was {
		s.mark(heap.Pop(&s.holes).(int), -1)
		if known {
			s.hole(was)
		}
	}
	s.mark(s.now, 1)
	s.at[key] = s.now
	return distance
}

func (s *stack) fall(key uint64) {
	if was, known := s.at[key]; known {
		delete(s.at, key)
		heap.Push(&s.holes, was) // its mark stays
	}
}

func (s *stack) hole(at int) {
	s.mark(at, 1)
	heap.Push(&s.holes, at)
}

func (s *stack) mark(at, by int) {
	for ; at < len(s.marks); at += at & -at {
		s.marks[at] += by
	}
}

// since counts the marks from time at on.
func (s *stack) since(at int) int { return s.upTo(s.now) - s.upTo(at-1) }

func (s *stack) upTo(at int) (n int) {
	for ; at > 0; at -= at & -at {
		n += s.marks[at]
	}
	return n
}

// times is a heap whose top is the latest.
type times []int

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] > t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(x any)        { *t = append(*t, x.(int)) }
func (t *times) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}
