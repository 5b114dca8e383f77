package store

import (
	"sync"
	"sync/atomic"
)

type tiered struct {
	table   *table
	maxCost int64
	evicted func(uint64, any)

	mu     sync.Mutex
	closed bool
	window window
	judge  *judge
	batch  int64
	cost   atomic.Int64
}

func (s *tiered) find(hash uint64) *node {
	turn := s.table.turn.Load()
	n := s.table.get(hash)
	if n == nil && (turn&1 != 0 || s.table.turn.Load() != turn) {
		s.mu.Lock()
		n = s.table.get(hash)
		s.mu.Unlock()
	}
	return n
}

func (s *tiered) Get(hash uint64) (any, bool) {
	n := s.find(hash)
	if n == nil {
		return nil, false
	}
	n.touch()
	return n.cell.Load().entry, true
}

func (s *tiered) Set(hash uint64, entry any, cost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	n := s.table.get(hash)
	if n != nil {
		if n.cost == cost {
			n.cell.Store(&cell{entry})
			return
		}
		s.drop(n)
	}
	if cost > s.maxCost || cost < 0 {
		return
	}
	n = &node{hash: hash, cost: cost, first: cell{entry}}
	n.cell.Store(&n.first)
	s.table.add(n)
	s.cost.Add(cost)
	if knobs.missFeed {
		s.judge.seen(hash)
	}
	s.window.push(n)
	s.makeRoom()
}

func (s *tiered) drop(n *node) {
	switch n.where {
	case inWindow:
		s.window.remove(n)
	case inMain:
		s.judge.forget(n)
		n.where = gone
	}
	s.table.remove(n)
	s.cost.Add(-n.cost)
}

func (s *tiered) makeRoom() {
	for round := 0; s.window.cost > s.window.limit; round++ {
		for s.window.cost > s.window.limit-s.batch+1 {
			n := s.window.oldest
			h := n.hits.Load()
			s.window.remove(n)
			if h > 0 && knobs.rotate {
				n.hits.Store(0)
				if knobs.feed {
					s.judge.seen(n.hash)
				}
				s.window.push(n)
				continue
			}
			if knobs.feed {
				for range min(h,knobs.feedmax) {
					s.judge.seen(n.hash)
				}
			}
			n.hits.Store(0)
			n.where = inMain
			s.judge.offer(n)
		}
		for _, n := range s.judge.settle() {
			if n.where != inMain {
				continue
			}
			if h := n.hits.Load(); h > 0 && knobs.again && round < 50 {
				n.hits.Store((h-1)*knobs.dec)
				if knobs.feed {
					for range min(h,knobs.feedmax) {
						s.judge.seen(n.hash)
					}
				}
				s.window.push(n)
				continue
			}
			n.where = gone
			s.table.remove(n)
			s.cost.Add(-n.cost)
			if s.evicted != nil {
				s.evicted(n.hash, n.cell.Load().entry)
			}
		}
	}
}

func (s *tiered) Del(hash uint64, entry any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.table.get(hash); n != nil && n.cell.Load().entry == entry {
		s.drop(n)
	}
}

func (s *tiered) Len() int    { return int(s.table.len.Load()) }
func (s *tiered) Cost() int64 { return s.cost.Load() }

func (s *tiered) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.judge.close()
		s.table.clear()
		s.cost.Store(0)
	}
	return nil
}
