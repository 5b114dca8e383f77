package latency

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/report"
)

// unit is what a table's times are in.
type unit struct {
	name  string
	nanos float64
}

var nanos, micros = unit{"ns", 1}, unit{"µs", 1000}

// columns are what of a figure a table shows.
type columns []struct {
	name string
	time bool
	of   func(figure) float64
}

var (
	times = columns{
		{"mean", true, func(f figure) float64 { return f.mean }},
		{"p50", true, func(f figure) float64 { return f.p50 }},
		{"p99", true, func(f figure) float64 { return f.p99 }},
		{"p99.9", true, func(f figure) float64 { return f.p999 }},
	}
	allocations = columns{
		{"allocs", false, func(f figure) float64 { return f.allocs }},
		{"bytes", false, func(f figure) float64 { return f.bytes }},
	}
	hitColumns  = slices.Concat(times, allocations, columns{{"missed, %", false, func(f figure) float64 { return f.missed }}})
	missColumns = slices.Concat(times, allocations)
	fallColumns = slices.Concat(times, columns{{"the SET alone, p50", true, func(f figure) float64 { return f.set }}})
)

// show gives one table and one chart of what a contest found: figures are by entrant and round.
func (b *bench) show(title string, u unit, what columns, all []entrant, figures [][]figure) {
	head := []string{"side", "value"}
	for _, c := range what {
		head = append(head, c.name)
	}
	chart := report.Chart{Title: title, YLabel: u.name, LogY: true}
	for _, name := range []string{"p50", "p99", "p99.9"} {
		chart.Series = append(chart.Series, report.Series{Name: name})
	}
	var rows [][]any
	for i, e := range all {
		row := []any{e.name, e.value}
		for _, c := range what {
			if e.opened == nil {
				row = append(row, "-")
				continue
			}
			of := c.of
			if c.time {
				of = func(f figure) float64 { return c.of(f) / u.nanos }
			}
			s := spread(figures[i], of)
			row = append(row, s)
			for j := range chart.Series {
				if chart.Series[j].Name == c.name {
					chart.Series[j].Y = append(chart.Series[j].Y, s.Median)
				}
			}
		}
		rows = append(rows, row)
		if e.opened != nil {
			chart.Labels = append(chart.Labels, e.label())
		}
	}
	b.out.Table(fmt.Sprintf("%s; %s; rounds: %d (the median)", title, u.name, len(figures[0])), head, rows)
	if len(chart.Labels) > 0 {
		b.out.Chart(chart)
	}
	b.compare(title, u, all, figures)
}

func spread(rounds []figure, of func(figure) float64) report.Spread {
	all := make([]float64, len(rounds))
	for i, f := range rounds {
		all[i] = of(f)
	}
	return report.SpreadOf(all...)
}

// worth is how much less, as a share, is worth a word.
const worth = 0.05

// rivalry is a side of Freshet's and one peer in one part: in how many tables, and where the peer is ahead.
type rivalry struct {
	side, peer, part string
	tables           int
	lost             []loss
}

// loss is a figure by which a peer is ahead.
type loss struct {
	figure, table string
	theirs, ours  report.Spread // times in nanoseconds
	unit          unit
}

func (l loss) ratio() float64 { return l.ours.Median / max(1e-9, l.theirs.Median) }

// compare remembers for the notes where Freshet loses: the near cache to anybody, the hook to whoever reads the same way.
// Less than one allocation in two calls is somebody else's.
func (b *bench) compare(title string, u unit, all []entrant, figures [][]figure) {
	part, table, _ := strings.Cut(title, ": ")
	for ours, own := range all {
		if own.opened == nil || own.name != nearCache && own.name != hook {
			continue
		}
		for i, e := range all {
			if e.opened == nil || strings.HasPrefix(e.name, nearCache) || own.name == hook && own.value != e.value {
				continue
			}
			r := b.rivalry(own.name, e.label(), part)
			r.tables++
			for _, c := range slices.Concat(times, allocations) {
				theirs, mine := spread(figures[i], c.of), spread(figures[ours], c.of)
				if stray := !c.time && mine.Median < 0.5; !stray && theirs.Below(mine, worth) {
					r.lost = append(r.lost, loss{c.name, table, theirs, mine, u})
				}
			}
		}
	}
}

func (b *bench) rivalry(side, peer, part string) *rivalry {
	for _, r := range b.rivalries {
		if r.side == side && r.peer == peer && r.part == part {
			return r
		}
	}
	r := &rivalry{side: side, peer: peer, part: part}
	b.rivalries = append(b.rivalries, r)
	return r
}

// String says in how many tables each figure is lost, and by how much at most.
func (r *rivalry) String() string {
	var said []string
	for _, c := range slices.Concat(times, allocations) {
		n, worst := 0, loss{}
		for _, l := range r.lost {
			if l.figure == c.name {
				if n++; n == 1 || l.ratio() > worst.ratio() {
					worst = l
				}
			}
		}
		if n == 0 {
			continue
		}
		scale, in := 1.0, ""
		if c.time {
			scale, in = worst.unit.nanos, " "+worst.unit.name
		}
		most := fmt.Sprintf("%v against %v%s", report.SpreadOf(worst.theirs.Median/scale), report.SpreadOf(worst.ours.Median/scale), in)
		if r.tables == 1 {
			said = append(said, c.name+" "+most)
		} else {
			said = append(said, fmt.Sprintf("%s in %d of %d tables (most: %s, %s)", c.name, n, r.tables, most, worst.table))
		}
	}
	with := ""
	if r.side == hook {
		with = ", with the hook"
	}
	return fmt.Sprintf("%s, %s%s: %s", r.peer, strings.ToLower(r.part), with, strings.Join(said, "; "))
}

func (b *bench) notes() {
	b.out.Note("Two readings of the clock with nothing between are %v apart here: that is taken off each single call, and a call is no better known than that. Means are of batches of %d calls and more, and contain no clock.",
		b.clock.cost, batch)
	if b.server.embedded {
		b.out.Note("The embedded Redis runs in this process: reads from it cost more than from a redis-server, and its allocations count too.")
	}
	for _, r := range b.rivalries {
		if len(r.lost) > 0 {
			b.out.Note("Where we lose: %v.", r)
		}
	}
}
