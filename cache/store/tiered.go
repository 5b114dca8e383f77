package store

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Open opens the default engine: ristretto behind a recency window.
//
// An entry that costs more than the window has or can have, at first a fifth of
// MaxCost, goes straight to ristretto: it is kept while there is room, or if it
// is asked for more often than what must go for it; if it costs more than all of
// the other part it never is. While a Set is under way Cost may exceed MaxCost by
// what it brings.
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
	s := &tiered{
		maxCost: cfg.MaxCost, evicted: cfg.Evicted, dead: cfg.Dead, window: window{limit: share}, judge: j,
	}
	s.table.buckets.Store(newBuckets(minBits))
	if cfg.Hits != nil && cfg.MaxCost > share {
		least := 1.0 / leastShareOfEntries
		if !cfg.CountEntries {
			least = 1.0 / leastShareOfBytes
		}
		s.climber = newClimber(cfg.Hits, cfg.entries(), 1.0/windowShare, least)
	}
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
	// windowShare is the window's part of the capacity, 1/5, until the climber
	// knows better. On the traces 1/20 loses 4 points on small caches of product
	// pages, and 1/2 half of what can be had of loops.
	windowShare = 5

	// The least that the climber leaves the window: with bytes it has to hold
	// whatever must be visible after its Set, which is up to a sixteenth.
	leastShareOfEntries, leastShareOfBytes = 100, 8

	// maxBatch is how many entries leave the window for one wait at ristretto,
	// which they do early by a sixteenth of the window at most.
	maxBatch, batchShare = 16, 16

	// Second chances that one Set gives: so many slots go round in the window,
	// and so many times is ristretto asked for other victims.
	maxRotations, maxRounds = 64, 8

	// sweptAtOnce buckets are looked at by a Set that needs room, about two
	// entries. With a tenth of all requests writes it gave 0.3 points of hit
	// ratio, and 16 buckets no more.
	sweptAtOnce = 4
)

// tiered is the default engine. Its table is the truth about what is held;
// window and judge say for how long.
type tiered struct {
	table   table
	cost    atomic.Int64
	maxCost int64
	evicted func(uint64, any)
	dead    func(any) bool

	// mu orders all writes. Under it every slot of the table stands in the
	// window or with the judge, whose verdicts are settled whenever it is free.
	mu      sync.Mutex
	window  window
	judge   *judge
	climber *climber // nil: the window stays as it is
	swept   int      // the bucket that was looked at last for the dead
	closed  bool
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
	return n.entry, true
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
			s.evicted(n.hash, n.entry)
		}
	}
}

func (s *tiered) set(hash uint64, entry any, cost int64) (left []*Slot) {
	if s.closed {
		return nil
	}
	cost = max(1, cost)
	if s.climber != nil && s.climber.set() {
		s.resize(s.climber.share)
	}
	old, _ := s.table.find(hash)
	if old != nil && old.entry == entry && old.cost == cost {
		return nil
	}
	if cost > s.maxCost {
		if old != nil {
			s.remove(old)
		}
		return nil
	}
	n := slotFor(hash, entry, cost)
	if old != nil {
		s.table.replace(old, n)
		s.cost.Add(cost - old.cost)
		if old.cost == cost {
			s.inherit(old, n)
			return nil
		}
		s.leave(old)
		s.judge.seen(hash, 1)
	} else {
		s.table.add(n)
		s.cost.Add(cost)
	}
	if s.cost.Load() > s.maxCost {
		left = s.sweep(left, n)
	}
	if main := s.cost.Load() - s.window.cost - cost; cost > min(s.window.limit, s.maxCost-main) {
		s.judge.offer(n)
		left = s.settle(left, true)
	} else {
		s.window.push(n)
	}
	for round := 1; s.excess() > 0 && !s.window.only(n); round++ {
		left = s.trim(left, n)
		left = s.settle(left, round < maxRounds)
	}
	return left
}

// resize gives the window its share. What is then too much in either part leaves
// as others come: until the main part has shrunk, excess holds the window back.
func (s *tiered) resize(share float64) {
	s.window.limit = max(1, int64(share*float64(s.maxCost)))
	s.judge.resize(s.maxCost - s.window.limit)
}

// excess is what the window has to give up.
func (s *tiered) excess() int64 {
	return max(s.window.cost-s.window.limit, s.cost.Load()-s.maxCost)
}

// sweep looks for dead entries in the next few buckets, so that they leave
// before the living do. fresh is not in any part yet.
func (s *tiered) sweep(left []*Slot, fresh *Slot) []*Slot {
	if s.dead == nil {
		return left
	}
	heads := s.table.buckets.Load().heads
	for range sweptAtOnce {
		s.swept = (s.swept + 1) & (len(heads) - 1)
		for n := heads[s.swept].Load(); n != nil; n = n.next.Load() {
			if n != fresh && s.dead(n.entry) {
				s.remove(n)
				left = append(left, n)
			}
		}
	}
	return left
}

// inherit gives n the standing of old, which cost as much and is no longer in the table.
func (s *tiered) inherit(old, n *Slot) {
	n.hits.Store(old.hits.Load())
	if old.where == inWindow {
		s.window.replace(old, n)
	} else {
		n.where, old.where = inMain, gone // the judge knows hashes alone
	}
}

// trim brings the window below its limit. fresh stays: a Set is visible.
func (s *tiered) trim(left []*Slot, fresh *Slot) []*Slot {
	w := &s.window
	enough := w.cost - s.excess()
	goal := enough - w.limit/batchShare
	moved, rotated := 0, 0
	for !w.only(fresh) && (w.cost > enough || (w.cost > goal && moved < maxBatch)) {
		n := w.oldest
		w.remove(n)
		if n != fresh && s.dead != nil && s.dead(n.entry) {
			s.unlink(n)
			left = append(left, n)
			continue
		}
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
	return left
}

// settle takes in the verdicts. With again, those who were read meanwhile come
// back to the window; the others are appended to left.
func (s *tiered) settle(left []*Slot, again bool) []*Slot {
	for _, hash := range s.judge.settle() {
		n, _ := s.table.find(hash)
		if n == nil || n.where != inMain {
			continue // it left already
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
	if n, _ := s.table.find(hash); n != nil && n.entry == entry {
		s.remove(n)
	}
}

func (s *tiered) remove(n *Slot) {
	s.leave(n)
	s.unlink(n)
}

// leave takes n out of wherever it stands, but for the table.
func (s *tiered) leave(n *Slot) {
	if n.where == inWindow {
		s.window.remove(n)
	} else {
		s.judge.forget(n)
	}
}

// unlink takes n out of the table. This is when the request that brought it is
// counted: told at once, ristretto would take a key that came for the first
// time for the equal of one that came back.
func (s *tiered) unlink(n *Slot) {
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
