package invalidate

import (
	"context"
	"slices"
	"time"
)

// State is what a [Validity] is found to be.
type State uint8

const (
	Current  State = iota // proven no older than the bound asked for
	Unproven              // nothing is known against it, but its last proof is older than the bound
	Expired               // its deadline has passed
	Fallen                // invalidated, or from before a gap
)

func (s State) String() string {
	return [...]string{"current", "unproven", "expired", "fallen"}[s]
}

// Validity goes beside a kept value and says at every read whether it may still be served. Make it with [Record.Seal];
// the zero Validity has fallen. It is never changed after it is sealed, so any number of goroutines may check it.
type Validity struct {
	// What every hit reads comes first, to lie in as few cache lines as can be.
	tracker  *Tracker
	epoch    uint64  // the tracker's epoch before the load began
	stamp    uint64  // the ledger's counter before the load began
	deps     slotSet // what it depends on; no slot may rise above stamp
	all      bool    // depends on everything: no invalidation at all may follow
	noStore  bool    // nor may anything be stored that is built from it
	deadline instant // never when there is none
	proof    instant // the load's begin, or the oldest proof of what it read from memory
}

// slotSet is a list of slots of the ledger, the first few of them in place: a key and its group are most entries' all,
// and a hit need not follow a pointer to them.
type slotSet struct {
	first [3]uint32
	n     uint32    // of first that are used
	more  *[]uint32 // nil as a rule
}

func (s *slotSet) rest() []uint32 {
	if s.more == nil {
		return nil
	}
	return *s.more
}

func (s *slotSet) len() int { return int(s.n) + len(s.rest()) }

func (s *slotSet) add(slot uint32) {
	if int(s.n) < len(s.first) {
		s.first[s.n] = slot
		s.n++
		return
	}
	if s.more == nil {
		s.more = new([]uint32)
	}
	*s.more = append(*s.more, slot)
}

func (s *slotSet) contains(slot uint32) bool {
	return slices.Contains(s.first[:s.n], slot) || slices.Contains(s.rest(), slot)
}

func (s *slotSet) each(do func(slot uint32)) {
	for _, slot := range s.first[:s.n] {
		do(slot)
	}
	for _, slot := range s.rest() {
		do(slot)
	}
}

// Check is the one question asked at every read. staleness is the proven bound: the value was current that long ago
// or later. No lock, no allocation, one reading of the clock.
func (v *Validity) Check(bound time.Duration) (staleness time.Duration, s State) {
	// R2: watermark, then epoch, then ledger, then the clock. Writers publish in the reverse order, so a watermark never
	// vouches for an event that this check could not see.
	t := v.tracker
	if t == nil {
		return 0, Fallen
	}
	mark := t.watermark.Load()
	t.paused(afterWatermark)
	if v.fallen() {
		return max(0, now().since(v.proof)), Fallen
	}
	t.paused(afterLedger)
	return v.standing(mark, now(), bound)
}

// standing is what v, which had not fallen, is at an instant by its proofs and its deadline.
func (v *Validity) standing(mark *instant, at instant, bound time.Duration) (staleness time.Duration, s State) {
	if mark != nil {
		staleness = at.since(*mark)
	}
	if mark == nil || staleness > bound {
		// A load is proof of its own.
		if own := at.since(v.proof); mark == nil || own < staleness {
			staleness = own
		}
	}
	staleness = max(staleness, 0)
	switch {
	case at.reached(v.deadline):
		return staleness, Expired
	case staleness > bound:
		return staleness, Unproven
	}
	return staleness, Current
}

// The places in Check and CheckAll where a test may let something happen.
const (
	afterWatermark = iota
	afterLedger
)

func (t *Tracker) paused(where int) {
	if t.pause != nil {
		t.pause(where)
	}
}

// Valid is Check for those who want a yes or a no.
func (v *Validity) Valid(bound time.Duration) bool {
	_, s := v.Check(bound)
	return s == Current
}

// ProvenFor answers a waiter that asked at began and was given this value by a load that began before that: it is
// good if nothing of it has fallen and it is proven for an instant no earlier than began minus bound.
func (v *Validity) ProvenFor(began time.Time, bound time.Duration) bool {
	t := v.tracker
	if t == nil {
		return false
	}
	mark := t.watermark.Load()
	if v.noStore || v.fallen() { // what a load that may not be stored depends on is not all known (R4)
		return false
	}
	asked := instantOf(began)
	return asked.since(v.proof) <= bound || mark != nil && asked.since(*mark) <= bound
}

// LoadedFor is ProvenFor for a load that began after the call, whatever has fallen since: what it read from memory was
// proven for an instant no earlier than began minus bound.
func (v *Validity) LoadedFor(began time.Time, bound time.Duration) bool {
	return v.tracker != nil && instantOf(began).since(v.proof) <= bound
}

func (v *Validity) fallen() bool {
	t := v.tracker
	if t.epoch.Load() != v.epoch {
		return true
	}
	l := t.ledger
	for _, slot := range v.deps.first[:v.deps.n] {
		if l.slots[slot].Load() > v.stamp {
			return true
		}
	}
	for _, slot := range v.deps.rest() {
		if l.slots[slot].Load() > v.stamp {
			return true
		}
	}
	return v.all && l.counter.Load() > v.stamp
}

// Inherit hands what v rests on to the record in ctx, if there is one: dependencies, the least deadline, the oldest
// proof, and NoStore. Call it when a read gave v's value, right after the check.
func (v *Validity) Inherit(ctx context.Context) {
	if r := RecordIn(ctx); r != nil {
		r.Inherit(v)
	}
}

// Depends reports whether there is anything that v falls with, gaps aside.
func (v *Validity) Depends() bool { return v.all || v.deps.len() > 0 }

// Tracker is whose ledger v is checked against; nil for the zero Validity.
func (v *Validity) Tracker() *Tracker { return v.tracker }
