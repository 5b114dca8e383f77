package invalidate

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// ledger remembers for every name, by hash, the stamp of its last invalidation. Two names that share a slot fall
// together: too much, never too little. With d dependencies, λ invalidated names a second and M slots an entry falls
// for a stranger's sake d·λ/M times a second.
type ledger struct {
	mask  uint64
	slots []atomic.Uint64
	seeds seeds

	// counter is the stamp of the last invalidation. R1: it is published after the slots are written, under mu. Were
	// it published first, a load could begin with the new stamp while what it reads still passes under the old slot.
	_       [64]byte // events write counter and mu; hits read mask and slots
	counter atomic.Uint64
	mu      sync.Mutex

	prefixes prefixes // under mu

	counterFirst bool   // a guard taken out, by tests alone: breaks R1
	between      func() // tests alone: runs between the slots and the counter, under mu
}

func newLedger(slots int) *ledger {
	return &ledger{mask: uint64(slots - 1), slots: make([]atomic.Uint64, slots), seeds: newSeeds()}
}

func (l *ledger) keySlot(k string) uint32 { return uint32(maphash.String(l.seeds.key, k) & l.mask) }
func (l *ledger) prefixSlot(p string) uint32 {
	return uint32(maphash.String(l.seeds.prefix, p) & l.mask)
}
func (l *ledger) tagSlot(t string) uint32 { return uint32(maphash.String(l.seeds.tag, t) & l.mask) }

// groupSlot is the slot that a touched prefix stamps for all keys of k's first segment.
func (l *ledger) groupSlot(k string) uint32 {
	g, _ := group(k)
	return uint32(maphash.String(l.seeds.group, g) & l.mask)
}

// fallKey invalidates one key: the path of every event.
func (l *ledger) fallKey(k string) {
	slot := l.keySlot(k)
	l.mu.Lock()
	stamp := l.begin()
	l.slots[slot].Store(stamp)
	if l.prefixes.any() {
		l.prefixes.above(k, func(slot uint32) { l.slots[slot].Store(stamp) })
	}
	l.publish(stamp)
	l.mu.Unlock()
}

// fall invalidates names under one stamp. It reports false, having done nothing, when a name reaches further than the
// slots can say (a prefix without a first segment): the caller raises the epoch instead. by, if it has not fallen before,
// outlives this: its stamp is the new one.
func (l *ledger) fall(names []Name, by *Validity) bool {
	for _, n := range names {
		if _, ok := group(n.text); n.kind == KindPrefix && !ok {
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	outlives := by != nil && !by.fallen()
	stamp := l.begin()
	set := func(slot uint32) { l.slots[slot].Store(stamp) }
	for _, n := range names {
		switch n.kind {
		case KindKey:
			set(l.keySlot(n.text))
			l.prefixes.above(n.text, set)
		case KindTag:
			set(l.tagSlot(n.text))
		case KindPrefix:
			set(l.groupSlot(n.text))
			l.prefixes.around(n.text, set)
		}
	}
	l.publish(stamp)
	if outlives {
		by.stamp = stamp
	}
	return true
}

// begin returns the next stamp, not yet published. Call with mu held.
func (l *ledger) begin() uint64 {
	stamp := l.counter.Load() + 1
	if l.counterFirst {
		l.counter.Store(stamp)
		l.pause()
	}
	return stamp
}

func (l *ledger) publish(stamp uint64) {
	if !l.counterFirst {
		l.pause()
		l.counter.Store(stamp)
	}
}

func (l *ledger) pause() {
	if l.between != nil {
		l.between()
	}
}

// step takes a stamp for nobody, so that what comes after can be told from what was before.
func (l *ledger) step() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp := l.begin()
	l.publish(stamp)
	return stamp
}

// dependOnPrefix returns the slot that falls with every key below p; false when too many prefixes are in use. R7: a
// prefix is invalidated when it is first named, for the events before were not checked against it. The current stamp
// does that: it kills loads that began before the last event and spares those that began after it, which missed nothing.
func (l *ledger) dependOnPrefix(p string) (uint32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.prefixSlot(p)
	known, ok := l.prefixes.add(p, slot)
	if ok && !known {
		l.slots[slot].Store(max(l.slots[slot].Load(), l.counter.Load()))
	}
	return slot, ok
}
