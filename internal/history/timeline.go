package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// timeline is one key's states, sorted by the start of the writes that made them.
type timeline struct {
	states   []state
	only     map[uint64]int         // the state with this version; ambiguous when there are several
	versions map[uint64][]candidate // by version, sorted by start; set by seal
}

const ambiguous = -1

// state is what one write made of the key.
type state struct {
	write Write
	// applied is an instant by which it surely took effect, Never when it may not have.
	applied time.Duration
	// decided is an instant after which it surely no longer takes effect, Never when it still may.
	decided time.Duration
	// replaceable is the earliest instant at which another may have taken its place. Set by seal.
	replaceable time.Duration
}

// precedes tells whether s surely took effect, if it did, before a later state of the timeline.
func (s *state) precedes(later *state) bool {
	if s.write.Outcome == Applied {
		return s.write.End <= later.write.Start // the same writer's next
	}
	return s.decided < later.write.Start
}

// candidate is a state that a read of its version may have seen.
type candidate struct {
	start time.Duration // no read that ended earlier has seen it
	// superseded is an instant by which neither this state nor any candidate before it was current any longer; by is
	// the state that proves it, and state the one that may have been current longest.
	superseded time.Duration
	by, state  int
}

// expiryError bounds how far from its time Redis, which counts whole milliseconds, lets a key expire.
const expiryError = 2 * time.Millisecond

// newTimeline orders a key's writes, those to all keys among them.
func newTimeline(key string, writes []Write, settled []time.Duration) (*timeline, error) {
	writes = slices.DeleteFunc(slices.Clone(writes), func(w Write) bool { return w.Outcome == NotApplied })
	slices.SortStableFunc(writes, func(a, b Write) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	begin := time.Duration(-1 << 62)
	states := []state{{write: Write{Key: key, Outcome: Applied, Start: begin, End: begin}, applied: begin, decided: begin}}
	for i, w := range writes {
		if i > 0 && w.Start < writes[i-1].End {
			return nil, fmt.Errorf("history: writes to %q overlap: %v and %v; a key has one writer at a time", key, writes[i-1], w)
		}
		s := state{write: w, applied: w.End, decided: w.End}
		if w.All {
			s.write.Version = Absent
		}
		if w.Outcome == Unknown {
			s.applied, s.decided = Never, settledAfter(settled, w.End)
		}
		states = append(states, s)
		if w.TTL > 0 {
			if expiry, ok := expire(s, writes[i+1:]); ok {
				states = append(states, expiry)
			}
		}
	}
	slices.SortStableFunc(states, func(a, b state) int { return cmp.Compare(a.write.Start, b.write.Start) })
	only := make(map[uint64]int)
	for i := range states {
		v := states[i].write.Version
		if _, twice := only[v]; twice || v == Absent {
			i = ambiguous
		}
		only[v] = i
	}
	return &timeline{states: states, only: only}, nil
}

// expire is the state after s's time to live, unless the writes that follow surely came first.
func expire(s state, following []Write) (state, bool) {
	start := max(s.write.Start, s.write.Start+s.write.TTL-expiryError)
	w := Write{Key: s.write.Key, Version: Absent, Start: start, End: Never}
	if s.decided != Never {
		w.End = s.decided + s.write.TTL + expiryError
	}
	e := state{write: w, applied: Never, decided: w.End}
	for _, next := range following {
		if next.Outcome == Applied && next.End <= w.Start {
			return state{}, false
		}
		if next.Start < w.End {
			return e, true // it may have come first
		}
	}
	if s.applied != Never {
		e.applied, e.write.Outcome = w.End, Applied
	}
	return e, true
}

func settledAfter(settled []time.Duration, t time.Duration) time.Duration {
	first := Never
	for _, s := range settled {
		if s >= t {
			first = min(first, s)
		}
	}
	return first
}

// saw takes a read's end as proof that what it saw had been written. Absence proves nothing: there are many.
func (tl *timeline) saw(r Read) {
	i, ok := tl.only[r.Version]
	if !ok || i == ambiguous || tl.states[i].write.Start > r.End {
		return
	}
	s := &tl.states[i]
	s.decided = min(s.decided, r.End)
	s.applied = min(s.applied, s.decided)
}

// seal is called when every read has been seen.
func (tl *timeline) seal() {
	// earliest[i] is the state at or after i that surely took effect first.
	earliest := make([]int, len(tl.states)+1)
	earliest[len(tl.states)] = -1
	for i := len(tl.states) - 1; i >= 0; i-- {
		earliest[i] = earliest[i+1]
		if a := tl.states[i].applied; a != Never && (earliest[i] < 0 || a <= tl.states[earliest[i]].applied) {
			earliest[i] = i
		}
	}
	tl.versions = make(map[uint64][]candidate)
	pending := time.Duration(math.MinInt64) // until when an earlier write of unknown outcome may still take effect
	for i := range tl.states {
		s := &tl.states[i]
		s.replaceable = Never
		if i+1 < len(tl.states) {
			s.replaceable = tl.states[i+1].write.Start
		}
		if pending >= s.write.Start {
			s.replaceable = s.write.Start
		}
		if s.write.Outcome == Unknown {
			pending = max(pending, s.decided)
		}
		// The first write that surely came after this one: those between may have come before it.
		next := i + 1 + sort.Search(len(tl.states)-i-1, func(n int) bool { return s.precedes(&tl.states[i+1+n]) })
		c := candidate{start: s.write.Start, superseded: Never, by: -1, state: i}
		if j := earliest[next]; j >= 0 {
			c.superseded, c.by = tl.states[j].applied, j
		}
		before := tl.versions[s.write.Version]
		if n := len(before); n > 0 && before[n-1].superseded > c.superseded {
			last := before[n-1]
			c.superseded, c.by, c.state = last.superseded, last.by, last.state
		}
		tl.versions[s.write.Version] = append(before, c)
	}
}

// find returns the candidate that speaks best for r. It is false when r saw what had not been written by its end;
// then known tells whether it was written later.
func (tl *timeline) find(r Read, slack time.Duration) (c candidate, ok, known bool) {
	all := tl.versions[r.Version]
	n := sort.Search(len(all), func(i int) bool { return all[i].start > r.End+slack })
	if n == 0 {
		return candidate{}, false, len(all) > 0
	}
	return all[n-1], true, true
}
