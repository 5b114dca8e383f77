package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Kind is the promise that a read breaks.
type Kind int

const (
	I1      Kind = iota // older than a write completed before the fence
	I2                  // from memory, and staler than its bound
	I3                  // from memory, and from before a gap
	Corrupt             // never written, not yet written, or another key's
	Source              // loaded from the truth after it had been replaced there: the truth, or the harness, errs
	kinds
)

func (k Kind) String() string {
	return [...]string{"I1", "I2", "I3", "corrupt", "source"}[k]
}

// Options for [Check]; the zero value is exact.
type Options struct {
	// Slack is how far two readings of the clock may be apart: it is granted to the read in every comparison.
	// Default 0, right for one process.
	Slack time.Duration

	// Stories is how many violations are told in full. Default 5.
	Stories int

	// Each, if not nil, is called with every read of the history in turn, but those of values that nobody had written, and
	// with how long before its start the value had been replaced: what is proven, and what is possible.
	Each func(r Read, least, most time.Duration)

	// Require names promises that must have been put to the test: Check returns ErrUntested when no read of the
	// history could have broken one of them.
	Require []Kind
}

var (
	// ErrEmpty is returned for a history without reads or without writes: it proves nothing.
	ErrEmpty = errors.New("history: nothing was seen")
	// ErrUntested is returned, wrapped, when a required promise was never put to the test.
	ErrUntested = errors.New("history: no read could have broken a required promise")
)

// Violation is one read and the promise that it breaks.
type Violation struct {
	Kind
	Read      Read
	Staleness time.Duration // proven at the read's start
	Story     string        // what happened, in full; empty beyond Options.Stories
}

// Check judges every read of h. The report tells of broken promises; an error says that the history itself is broken,
// empty, or leaves a required promise untested. It takes memory and time for each state and read, n log n in all.
func Check(h *History, o Options) (*Report, error) {
	if o.Slack < 0 {
		return nil, fmt.Errorf("history: Options.Slack is %v; it must not be negative", o.Slack)
	}
	if o.Stories == 0 {
		o.Stories = 5
	}
	c, err := newChecker(h, o)
	if err != nil {
		return nil, err
	}
	for _, r := range h.Reads {
		c.judge(r)
	}
	c.report.finish()
	for _, k := range o.Require {
		if c.report.Tested[k] == 0 {
			return c.report, fmt.Errorf("%w: %v", ErrUntested, k)
		}
	}
	return c.report, nil
}

type checker struct {
	h         *History
	o         Options
	timelines map[string]*timeline
	fences    map[string][]Fence // by instance, sorted by end; each the latest begun of those up to it
	gaps      map[string][]Gap   // by instance, sorted by Synced; each the latest unsynced of those up to it
	last      map[reader]int     // the state that a reader saw last
	report    *Report
}

type reader struct {
	id            int
	instance, key string
}

func newChecker(h *History, o Options) (*checker, error) {
	if len(h.Reads) == 0 || len(h.Writes) == 0 {
		return nil, fmt.Errorf("%w: %d reads, %d writes", ErrEmpty, len(h.Reads), len(h.Writes))
	}
	if err := h.validate(); err != nil {
		return nil, err
	}
	c := &checker{
		h: h, o: o, timelines: make(map[string]*timeline), last: make(map[reader]int), report: newReport(h),
		fences: make(map[string][]Fence), gaps: make(map[string][]Gap),
	}
	writes := make(map[string][]Write)
	var all []Write
	for _, w := range h.Writes {
		if w.All {
			all = append(all, w)
		} else {
			writes[w.Key] = append(writes[w.Key], w)
		}
	}
	for _, r := range h.Reads {
		if _, ok := writes[r.Key]; !ok {
			writes[r.Key] = nil // read and never written
		}
	}
	for key, ws := range writes {
		tl, err := newTimeline(key, slices.Concat(ws, all), h.Settled)
		if err != nil {
			return nil, err
		}
		c.timelines[key] = tl
	}
	for _, r := range h.Reads {
		c.timelines[r.Key].saw(r)
	}
	for _, tl := range c.timelines {
		tl.seal()
	}
	for _, f := range h.Fences {
		c.fences[f.Instance] = append(c.fences[f.Instance], f)
	}
	for _, fs := range c.fences {
		runningMax(fs, func(f Fence) time.Duration { return f.End }, func(f Fence) time.Duration { return f.Start })
	}
	for _, g := range h.Gaps {
		c.gaps[g.Instance] = append(c.gaps[g.Instance], g)
	}
	for _, gs := range c.gaps {
		runningMax(gs, func(g Gap) time.Duration { return g.Synced }, func(g Gap) time.Duration { return g.Unsynced })
	}
	return c, nil
}

// runningMax sorts s by one time and replaces each element by the one up to it that is largest by another.
func runningMax[T any](s []T, by, of func(T) time.Duration) {
	slices.SortFunc(s, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
	for i := 1; i < len(s); i++ {
		if of(s[i-1]) > of(s[i]) {
			s[i] = s[i-1]
		}
	}
}

// latest returns the last element of s, sorted by end, that ended before t.
func latest[T any](s []T, end func(T) time.Duration, t time.Duration) (e T, ok bool) {
	n := sort.Search(len(s), func(i int) bool { return end(s[i]) >= t })
	if n == 0 {
		return e, false
	}
	return s[n-1], true
}

func (c *checker) judge(r Read) {
	tl := c.timelines[r.Key]
	seen, ok, known := tl.find(r, c.o.Slack)
	if !ok {
		what := "a version that nobody wrote"
		if known {
			what = "a version that was written only later"
		}
		c.violation(Violation{Kind: Corrupt, Read: r}, what, nil)
		return
	}
	staleness, upper := tl.staleness(r, seen)
	c.report.count(r, staleness, upper)
	if c.o.Each != nil {
		c.o.Each(r, staleness, upper)
	}
	c.order(r, seen)
	v := Violation{Read: r, Staleness: staleness}
	superseded := seen.superseded

	if f, ok := latest(c.fences[r.Instance], func(f Fence) time.Duration { return f.End + c.o.Slack }, r.Start); ok {
		c.report.Tested[I1]++
		if superseded != Never && superseded+c.o.Slack < f.Start {
			v.Kind = I1
			c.violation(v, fmt.Sprintf("older than a write completed before the fence %s", span(f.Start, f.End)), &seen)
		}
	}
	if r.Hit && r.Bound > 0 {
		c.report.Tested[I2]++
		if staleness-c.o.Slack > r.Bound {
			v.Kind = I2
			c.violation(v, fmt.Sprintf("%v stale from memory, its bound is %v", staleness, r.Bound), &seen)
		}
	}
	if r.Load == 0 {
		return
	}
	load := c.h.Loads[r.Load-1]
	if g, ok := latest(c.gaps[r.Instance], func(g Gap) time.Duration { return g.Synced + c.o.Slack }, r.Start); ok && r.Hit {
		c.report.Tested[I3]++
		if load.Start+c.o.Slack < g.Unsynced {
			v.Kind = I3
			c.violation(v, fmt.Sprintf("from before the gap: lost %v, unsynced %v, synced %v", g.Lost, g.Unsynced, g.Synced), &seen)
		}
	}
	switch {
	case load.Key != r.Key:
		v.Kind = Corrupt
		c.violation(v, fmt.Sprintf("the value of %q", load.Key), &seen)
	case load.Start > r.End+c.o.Slack:
		v.Kind = Corrupt
		c.violation(v, "a load that began only later", &seen)
	default:
		c.report.Tested[Source]++
		if superseded != Never && superseded+c.o.Slack < load.Start {
			v.Kind = Source
			c.violation(v, fmt.Sprintf("its load %d began at %v, when it had been replaced", r.Load, load.Start), &seen)
		}
	}
}

// order counts reads that go back behind what the same reader saw last. Absence is left out: there are many.
func (c *checker) order(r Read, seen candidate) {
	if r.Version == Absent {
		return
	}
	key := reader{r.Reader, r.Instance, r.Key}
	if last, ok := c.last[key]; ok && seen.state < last {
		c.report.Backwards++
	}
	c.last[key] = seen.state
}

// staleness is how long before r's start the state it saw was last current: at least, and at most.
func (tl *timeline) staleness(r Read, seen candidate) (least, most time.Duration) {
	if seen.superseded != Never {
		least = max(0, r.Start-seen.superseded)
	}
	return least, max(least, r.Start-tl.states[seen.state].replaceable)
}

func (h *History) validate() error {
	for _, w := range h.Writes {
		if w.End < w.Start || w.Start < 0 || w.TTL < 0 {
			return fmt.Errorf("history: %v: its end is before its start, or a time is negative", w)
		}
	}
	for _, r := range h.Reads {
		if r.End < r.Start || r.Start < 0 {
			return fmt.Errorf("history: %v: its end is before its start, or a time is negative", r)
		}
		if r.Load > uint64(len(h.Loads)) {
			return fmt.Errorf("history: %v: its load is not among the %d that began", r, len(h.Loads))
		}
	}
	for _, f := range h.Fences {
		if f.End < f.Start {
			return fmt.Errorf("history: fence of %q %s ends before it starts", f.Instance, span(f.Start, f.End))
		}
	}
	for _, g := range h.Gaps {
		if g.Unsynced > g.Synced {
			return fmt.Errorf("history: gap of %q: unsynced at %v, after it was synced at %v", g.Instance, g.Unsynced, g.Synced)
		}
	}
	return nil
}
