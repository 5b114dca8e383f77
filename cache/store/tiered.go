package store

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Open opens the default engine: ristretto behind a recency window.
//
// An entry that costs more than the window, a fifth of MaxCost, goes straight
// to ristretto: it is kept while there is room, or if it is asked for more
// often than what must go for it; above four fifths of MaxCost it never is.
// While a Set is under way Cost may exceed MaxCost by what it brings.
//
// The memory of its own that it takes at once, for counters, is 60 bytes or so
// for each entry of the capacity, and at most 260 MB.
func Open(cfg Config) (Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	share := max(1, cfg.MaxCost/windowShare)
	j, err := newJudge(cfg.entries(), cfg.MaxCost-share)
	if err != nil {
		return nil, err
	}
	s := &tiered{maxCost: cfg.MaxCost, evicted: cfg.Evicted, window: window{limit: share}, judge: j}
	s.table.buckets.Store(newBuckets(minBits))
	return s, nil
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	if c.MaxCost < 1 {
		return fmt.Errorf("store: Config.MaxCost is %d: want at least 1", c.MaxCost)
	}
	if c.ExpectedEntries < 0 {
		return fmt.Errorf("store: Config.ExpectedEntries is %d: want 0 or more", c.ExpectedEntries)
	}
	return nil
}

// entries is about how many fit.
func (c Config) entries() int64 {
	switch {
	case c.CountEntries:
		return c.MaxCost
	case c.ExpectedEntries > 0:
		return c.ExpectedEntries
	}
	return c.MaxCost / 1024
}

const (
	// windowShare is the window's part of the capacity, 1/5. On the traces 1/20
	// loses 4 points on small caches of product pages, and 1/2 half of what can
	// be had of loops.
	windowShare = 5

	// maxBatch is how many entries leave the window for one wait at ristretto,
	// which they do early by a sixteenth of the window at most.
	maxBatch, batchShare = 16, 16

	// Second chances that one Set gives: so many nodes go round in the window,
	// and so many times is ristretto asked for other victims.
	maxRotations, maxRounds = 64, 8
)

// tiered is the default engine. Its table is the truth about what is held;
// window and judge say for how long.
type tiered struct {
	table   table
	cost    atomic.Int64
	maxCost int64
	evicted func(uint64, any)

	// mu orders all writes. Under it every node of the table stands in the
	// window or with the judge, whose verdicts are settled whenever it is free.
	mu     sync.Mutex
	window window
	judge  *judge
	closed bool
}

func (s *tiered) Get(hash uint64) (any, bool) {
	n, sure := s.table.find(hash)
	if !sure {
		s.mu.Lock()
		n, _ = s.table.find(hash)
		s.mu.Unlock()
	}
	if n == nil {
		return nil, false
	}
	n.touch()
	return n.entry(), true
}

func (s *tiered) Set(hash uint64, entry any, cost int64) {
	s.mu.Lock()
	left := s.set(hash, entry, cost)
	yield := !s.closed && s.judge.backlog()
	s.mu.Unlock()
	if yield {
		runtime.Gosched()
	}
	if s.evicted != nil {
		for _, n := range left {
			s.evicted(n.hash, n.entry())
		}
	}
}

func (s *tiered) set(hash uint64, entry any, cost int64) (left []*node) {
	if s.closed {
		return nil
	}
	cost = max(1, cost)
	old, _ := s.table.find(hash)
	if old != nil && old.cost == cost {
		old.cell.Store(&cell{entry})
		return nil
	}
	if cost > s.maxCost {
		if old != nil {
			s.remove(old)
		}
		return nil
	}
	n := newNode(hash, entry, cost)
	s.table.add(n) // before old goes: a Get meanwhile finds one of them
	s.cost.Add(cost)
	if old != nil {
		s.remove(old)
	}
	if cost > s.window.limit {
		s.judge.offer(n)
		left = s.settle(left, true)
	} else {
		s.window.push(n)
	}
	for round := 1; s.window.cost > s.window.limit; round++ {
		s.trim(n)
		left = s.settle(left, round < maxRounds)
	}
	return left
}

// trim brings the window below its limit. fresh stays: a Set is visible.
func (s *tiered) trim(fresh *node) {
	w := &s.window
	goal := w.limit - w.limit/batchShare
	moved, rotated := 0, 0
	for w.oldest != w.newest && (w.cost > w.limit || (w.cost > goal && moved < maxBatch)) {
		n := w.oldest
		w.remove(n)
		hits := n.hits.Swap(0)
		s.judge.seen(n.hash, hits)
		if n == fresh || (hits > 0 && rotated < maxRotations) {
			rotated++
			w.push(n)
			continue
		}
		moved++
		s.judge.offer(n)
	}
}

// settle takes in the verdicts. With again, those who were read meanwhile come
// back to the window; the others are appended to left.
func (s *tiered) settle(left []*node, again bool) []*node {
	for _, n := range s.judge.settle() {
		if n.where != inMain {
			continue // it left already: unlinking twice would break the table
		}
		hits := n.hits.Swap(0)
		if again && hits > 0 && n.cost <= s.window.limit {
			s.judge.seen(n.hash, hits)
			s.window.push(n)
			continue
		}
		n.where = gone
		s.unlink(n)
		left = append(left, n)
	}
	return left
}

func (s *tiered) Del(hash uint64, entry any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, _ := s.table.find(hash); n != nil && n.entry() == entry {
		s.remove(n)
	}
}

// remove takes n out of wherever it stands.
func (s *tiered) remove(n *node) {
	if n.where == inWindow {
		s.window.remove(n)
	} else {
		s.judge.forget(n)
	}
	s.unlink(n)
}

// unlink takes n out of the table. This is when the request that brought it is
// counted: told at once, ristretto would take a key that came for the first
// time for the equal of one that came back.
func (s *tiered) unlink(n *node) {
	s.table.remove(n)
	s.cost.Add(-n.cost)
	s.judge.seen(n.hash, 1)
}

func (s *tiered) Len() int    { return int(s.table.len.Load()) }
func (s *tiered) Cost() int64 { return s.cost.Load() }

func (s *tiered) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.judge.close()
	s.judge, s.window = nil, window{}
	s.table.clear()
	s.cost.Store(0)
	return nil
}
