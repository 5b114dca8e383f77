package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what [Check] found.
type Report struct {
	Seed                                   uint64
	Reads, Hits, Writes, Fences, Gaps      int
	UnknownWrites, ReadErrors, FenceErrors int

	// Tested counts by kind the reads that could have broken the promise: I1 those after a fence, I2 the hits with a
	// bound, I3 the hits after a gap whose load is known.
	Tested [kinds]int
	// Broken counts the violations by kind.
	Broken     [kinds]int
	Violations []Violation // in the order of the history's reads

	Stale     int // reads that were provably stale
	Backwards int // reads older than what the same reader had seen; no promise forbids them

	least, most []time.Duration // staleness of each hit, sorted by finish
}

// ErrViolated is what Report.Err wraps.
var ErrViolated = errors.New("history: promises were broken")

func newReport(h *History) *Report {
	r := &Report{
		Seed: h.Seed, Reads: len(h.Reads), Writes: len(h.Writes), Fences: len(h.Fences), Gaps: len(h.Gaps),
		ReadErrors: h.ReadErrors, FenceErrors: h.FenceErrors,
	}
	for _, w := range h.Writes {
		if w.Outcome == Unknown {
			r.UnknownWrites++
		}
	}
	return r
}

func (r *Report) count(read Read, least, most time.Duration) {
	if least > 0 {
		r.Stale++
	}
	if read.Hit {
		r.Hits++
		r.least, r.most = append(r.least, least), append(r.most, most)
	}
}

func (r *Report) finish() {
	slices.Sort(r.least)
	slices.Sort(r.most)
}

// Staleness returns the p-th quantile (0 to 1) of the hits' staleness: what is proven, and what is possible.
func (r *Report) Staleness(p float64) (least, most time.Duration) {
	if len(r.least) == 0 {
		return 0, 0
	}
	i := int(p * float64(len(r.least)-1))
	return r.least[i], r.most[i]
}

// Err is nil when no promise was broken; else it wraps ErrViolated and holds the whole report.
func (r *Report) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return fmt.Errorf("%w\n%v", ErrViolated, r)
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d reads (%d hits, %d failed), %d writes (%d of unknown outcome), %d fences (%d failed), %d gaps\n",
		r.Seed, r.Reads, r.Hits, r.ReadErrors, r.Writes, r.UnknownWrites, r.Fences, r.FenceErrors, r.Gaps)
	fmt.Fprintf(&b, "staleness of hits, proven and possible:")
	for _, q := range []struct {
		name string
		p    float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}} {
		least, most := r.Staleness(q.p)
		fmt.Fprintf(&b, " %s %v..%v", q.name, least, most)
	}
	fmt.Fprintf(&b, "; %d provably stale reads, %d backwards\n", r.Stale, r.Backwards)
	for k := range kinds {
		fmt.Fprintf(&b, "%s: %d broken of %d tested\n", k, r.Broken[k], r.Tested[k])
	}
	for _, v := range r.Violations {
		if v.Story != "" {
			b.WriteString(v.Story)
		}
	}
	return b.String()
}

// violation adds v, and tells its story while there are few.
func (c *checker) violation(v Violation, why string, seen *candidate) {
	if len(c.report.Violations) < c.o.Stories {
		v.Story = c.story(v, why, seen)
	}
	c.report.Broken[v.Kind]++
	c.report.Violations = append(c.report.Violations, v)
}

func (c *checker) story(v Violation, why string, seen *candidate) string {
	var b strings.Builder
	r := v.Read
	fmt.Fprintf(&b, "%s: %s\n", v.Kind, why)
	line := func(what string, start, end time.Duration, text string) {
		fmt.Fprintf(&b, "  %-12s %-28s %s\n", what, span(start, end), text)
	}
	tl := c.timelines[r.Key]
	from := r.Start
	if seen != nil {
		s := tl.states[seen.state]
		from = max(0, s.write.Start)
		line("written", from, max(0, s.write.End), s.write.String())
		if seen.by >= 0 {
			by := tl.states[seen.by]
			line("replaced", by.write.Start, by.write.End, fmt.Sprintf("%v, proven by %v", by.write, by.applied))
		}
	} else {
		for _, w := range c.h.Writes {
			if w.Key == r.Key && w.Version == r.Version {
				line("written", w.Start, w.End, w.String())
			}
		}
	}
	if r.Load > 0 {
		l := c.h.Loads[r.Load-1]
		line("load began", l.Start, l.Start, fmt.Sprintf("load %d of %q", r.Load, l.Key))
	}
	line("read", r.Start, r.End, r.String())
	for _, f := range c.h.Faults {
		if f.End >= from && f.Start <= r.End {
			line("fault", f.Start, f.End, f.Name)
		}
	}
	return b.String()
}

// String is for reports.
func (w Write) String() string {
	key, what := fmt.Sprintf("%q", w.Key), fmt.Sprintf("version %d", w.Version)
	if w.All {
		key = "every key"
	}
	if w.All || w.Version == Absent {
		what = "absent"
	}
	if w.TTL > 0 {
		what += fmt.Sprintf(" for %v", w.TTL)
	}
	if w.Start < 0 {
		return key + " absent from the start"
	}
	return fmt.Sprintf("%s %s, %s, %s", key, what, [...]string{"unknown outcome", "applied", "not applied"}[w.Outcome], span(w.Start, w.End))
}

// String is for reports.
func (r Read) String() string {
	what := fmt.Sprintf("version %d", r.Version)
	if r.Version == Absent {
		what = "absent"
	}
	if r.Hit {
		what += " from memory"
	}
	return fmt.Sprintf("%q %s at %q by reader %d, %s", r.Key, what, r.Instance, r.Reader, span(r.Start, r.End))
}

func span(start, end time.Duration) string {
	if end == Never {
		return fmt.Sprintf("[%v, ...]", start)
	}
	return fmt.Sprintf("[%v, %v]", start, end)
}
