package history

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The oracle knows nothing of candidates and proofs. It goes through every world that could have brought forth a
// small history: every instant at which each write may have taken effect. In each it sees how stale a read was; the
// least and the most of these are what the checker must find.

const horizon = 14 // later than every read

// worlds calls yield with the instants of all writes, horizon+1 for one that took no effect within the history.
func worlds(h *History, at []time.Duration, yield func([]time.Duration)) {
	i := len(at)
	if i == len(h.Writes) {
		yield(at)
		return
	}
	w := h.Writes[i]
	last := w.End
	switch w.Outcome {
	case NotApplied:
		worlds(h, append(at, horizon+1), yield)
		return
	case Unknown:
		worlds(h, append(at, horizon+1), yield)
		last = horizon
		for _, s := range h.Settled {
			if s >= w.End {
				last = min(last, s)
			}
		}
	}
	for t := w.Start; t <= last; t++ {
		worlds(h, append(at, t), yield)
	}
}

// sight is a read's staleness in one world; ok is false when in it the read cannot have seen what it saw.
func sight(h *History, at []time.Duration, ties int, r Read) (stale time.Duration, ok bool) {
	order := []int{-1} // the absence at first
	for i := range at {
		if at[i] <= horizon {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order[1:], func(i, j int) int {
		c := cmp.Compare(at[i], at[j])
		if c == 0 && ties > 0 { // at one instant those of unknown outcome may also come last
			c = cmp.Compare(h.Writes[j].Outcome, h.Writes[i].Outcome)
		}
		if c == 0 && ties > 1 && h.Writes[i].Outcome == Unknown { // and in any order
			c = cmp.Compare(j, i)
		}
		return c
	})
	for n, i := range order {
		version, from := uint64(Absent), time.Duration(-1)
		if i >= 0 {
			version, from = h.Writes[i].Version, at[i]
		}
		if version != r.Version || from > r.End {
			continue
		}
		s := time.Duration(0)
		if n+1 < len(order) {
			s = max(0, r.Start-at[order[n+1]])
		}
		if !ok || s < stale {
			stale, ok = s, true
		}
	}
	return stale, ok
}

// oracle returns for each read its least and most staleness over all worlds; none when there is no such world.
func oracle(h *History) (least, most []time.Duration, some bool) {
	least, most = make([]time.Duration, len(h.Reads)), make([]time.Duration, len(h.Reads))
	worlds(h, nil, func(at []time.Duration) {
		for ties := range 3 {
			stale := make([]time.Duration, len(h.Reads))
			for i, r := range h.Reads {
				var ok bool
				if stale[i], ok = sight(h, at, ties, r); !ok {
					stale = nil
					break
				}
			}
			if stale == nil {
				continue
			}
			for i, s := range stale {
				if !some {
					least[i], most[i] = s, s
				}
				least[i], most[i] = min(least[i], s), max(most[i], s)
			}
			some = true
		}
	})
	return least, most, some
}

// randomHistory has one key and at most four writes and three reads, at even instants. Bounds, gaps and fences are
// judged by plain comparisons and have tests of their own; staleness is the hard part.
func randomHistory(rng *rand.Rand) *History {
	h := &History{}
	now := time.Duration(0)
	for v := range uint64(1 + rng.IntN(4)) {
		w := Write{Key: "k", Version: v + 1, Outcome: Outcome(rng.IntN(3))}
		if rng.IntN(2) == 0 {
			w.Outcome = Applied
		}
		if rng.IntN(3) == 0 {
			w.Version = Absent
		}
		w.Start = now + time.Duration(rng.IntN(3))
		w.End = w.Start + time.Duration(rng.IntN(3))
		now = w.End
		h.Writes = append(h.Writes, w)
		if rng.IntN(8) == 0 {
			h.Settled = append(h.Settled, now)
		}
	}
	for i := range 1 + rng.IntN(3) {
		r := Read{Reader: i, Key: "k", Start: time.Duration(rng.IntN(12))}
		r.End = r.Start + time.Duration(rng.IntN(2))
		r.Version = h.Writes[rng.IntN(len(h.Writes))].Version
		h.Reads = append(h.Reads, r)
	}
	return h
}

func TestAgainstOracle(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	var impossible, stale, unsure int
	for n := range 3000 {
		h := randomHistory(rng)
		least, most, some := oracle(h)
		c, err := newChecker(h, Options{})
		if err != nil {
			t.Fatal(err)
		}
		corrupt := false
		for i, r := range h.Reads {
			tl := c.timelines["k"]
			seen, ok, _ := tl.find(r, 0)
			if !ok {
				corrupt = true
				continue
			}
			if !some {
				continue
			}
			gotLeast, gotMost := tl.staleness(r, seen)
			if gotLeast != least[i] || r.Version != Absent && gotMost != most[i] {
				t.Fatalf("seed %d, history %d, read %d: staleness %d..%d, by the oracle %d..%d\n%s",
					seed, n, i, gotLeast, gotMost, least[i], most[i], show(h))
			}
			if gotLeast > 0 {
				stale++
			}
			if gotMost > gotLeast {
				unsure++
			}
		}
		if corrupt == some {
			t.Fatalf("seed %d, history %d: corrupt %v, possible %v\n%s", seed, n, corrupt, some, show(h))
		}
		if !some {
			impossible++
		}
	}
	if impossible < 100 || stale < 100 || unsure < 100 {
		t.Errorf("too few of a kind to prove much: %d impossible, %d stale, %d unsure", impossible, stale, unsure)
	}
}

func show(h *History) (s string) {
	for _, w := range h.Writes {
		s += fmt.Sprintf("%v\n", w)
	}
	for _, r := range h.Reads {
		s += fmt.Sprintf("%v\n", r)
	}
	return s + fmt.Sprintf("settled %v", h.Settled)
}
