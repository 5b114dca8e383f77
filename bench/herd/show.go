package herd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/report"
)

// finding is what one burst gave, over all its processes and keys.
type finding struct {
	tally
	waits, leaves []float64 // milliseconds
	failed        int
	gaps          uint64 // in all of a run so far
}

func (f *finding) add(a answer) {
	f.waits, f.leaves = append(f.waits, a.Waits...), append(f.leaves, a.Leaves...)
	f.failed += a.Failed
	f.gaps += a.Gaps
}

// results are the findings of each setting, one a round.
type results map[setting][]finding

// spread is a figure of the findings that have it.
func spread(all []finding, figure func(finding) (float64, bool)) any {
	var figures []float64
	for _, f := range all {
		if v, ok := figure(f); ok {
			figures = append(figures, v)
		}
	}
	if len(figures) == 0 {
		return "-"
	}
	return report.SpreadOf(figures...)
}

func quantile(of func(finding) []float64, q float64) func(finding) (float64, bool) {
	return func(f finding) (float64, bool) {
		ms := slices.Sorted(slices.Values(of(f)))
		if len(ms) == 0 {
			return 0, false
		}
		return report.Quantile(ms, q), true
	}
}

func waits(f finding) []float64         { return f.waits }
func leaves(f finding) []float64        { return f.leaves }
func loads(f finding) (float64, bool)   { return float64(f.begun), true }
func stopped(f finding) (float64, bool) { return float64(f.stopped), true }
func failures(f finding) (float64, bool) {
	return 100 * float64(f.failed) / float64(max(1, f.failed+len(f.waits))), f.failed+len(f.waits) > 0
}

func show(out *report.Out, o options, found results) {
	if len(found) == 0 {
		return
	}
	for _, sc := range scenarios {
		columns := []string{"side", "processes", "goroutines", "loads", "per process and key"}
		if sc != calm {
			columns = append(columns, "of them stopped")
		}
		if sc != all {
			columns = append(columns, "wait p50, ms", "wait p99, ms", "errors, % of who stayed")
		}
		if sc != calm {
			columns = append(columns, "to leave p99, ms")
		}
		var rows [][]any
		for _, s := range o.settings() {
			if got := found[s]; s.scenario == sc && len(got) > 0 {
				rows = append(rows, o.row(s, got))
			}
		}
		if len(rows) > 0 {
			out.Table(fmt.Sprintf("%d cold keys, one after another, a load takes %v; %v; the median of %d rounds", o.keys, o.takes, sc, o.rounds), columns, rows)
		}
	}
	o.charts(out, found)
	o.notes(out, found)
}

func (o options) row(s setting, got []finding) []any {
	row := []any{o.sides[s.side].name, s.processes, s.callers, spread(got, loads), spread(got, func(f finding) (float64, bool) {
		return float64(f.begun) / float64(s.processes*o.keys), true
	})}
	if s.scenario != calm {
		row = append(row, spread(got, stopped))
	}
	if s.scenario != all {
		row = append(row, spread(got, quantile(waits, 0.5)), spread(got, quantile(waits, 0.99)), spread(got, failures))
	}
	if s.scenario != calm {
		row = append(row, spread(got, quantile(leaves, 0.99)))
	}
	return row
}

// charts are of the largest herd.
func (o options) charts(out *report.Out, found results) {
	p, n := slices.Max(o.processes), slices.Max(o.callers)
	size := fmt.Sprintf("%d processes of %d goroutines, a load takes %v", p, n, o.takes)
	perKey := report.Chart{Title: "Loads for each process and key: " + size, YLabel: "loads", LogY: true}
	wait := report.Chart{Title: "Wait of those who stay, p99: " + size, YLabel: "ms", LogY: true}
	for _, s := range o.sides {
		perKey.Labels = append(perKey.Labels, s.name)
	}
	wait.Labels = perKey.Labels
	for _, sc := range scenarios {
		l, w := report.Series{Name: sc.String()}, report.Series{Name: sc.String()}
		for i := range o.sides {
			got := found[setting{sc, p, n, i}]
			l.Y = append(l.Y, median(spread(got, loads))/float64(p*o.keys))
			w.Y = append(w.Y, median(spread(got, quantile(waits, 0.99))))
		}
		perKey.Series = append(perKey.Series, l)
		if sc != all {
			wait.Series = append(wait.Series, w)
		}
	}
	out.Chart(perKey)
	out.Chart(wait)
}

// median is 0 where there is none.
func median(v any) float64 {
	s, _ := v.(report.Spread)
	return s.Median
}

// worth is how much less, as a share, is worth a word.
const worth = 0.05

func (o options) notes(out *report.Out, found results) {
	out.Note("Freshet promises one load for each process and key, not one for all processes.")
	ours := slices.IndexFunc(o.sides, func(s side) bool { return s.name == "freshet" })
	if ours < 0 {
		return
	}
	gaps := uint64(0)
	for s, got := range found {
		if s.side == ours {
			for _, f := range got {
				gaps = max(gaps, f.gaps)
			}
		}
	}
	if gaps > 0 {
		out.Note("Freshet lost its stream %d times on this machine meanwhile; what it had loaded then was loaded again.", gaps)
	}
	figures := []struct {
		name   string
		figure func(finding) (float64, bool)
	}{
		{"loads", loads}, {"wait p50 in ms", quantile(waits, 0.5)}, {"wait p99 in ms", quantile(waits, 0.99)},
		{"errors in %", failures}, {"to leave p99 in ms", quantile(leaves, 0.99)},
	}
	for i, peer := range o.sides {
		for _, fig := range figures {
			var where []string
			for _, s := range o.settings() {
				theirs, mine := found[s], found[setting{s.scenario, s.processes, s.callers, ours}]
				if s.side != i || i == ours || len(theirs) == 0 || len(mine) == 0 {
					continue
				}
				t, there := spread(theirs, fig.figure).(report.Spread)
				m, too := spread(mine, fig.figure).(report.Spread)
				if there && too && t.Below(m, worth) {
					where = append(where, fmt.Sprintf("%v against %v with %d x %d when %v", t, m, s.processes, s.callers, s.scenario))
				}
			}
			if len(where) > 0 {
				out.Note("Where we lose: %s, %s: %s.", peer.name, fig.name, strings.Join(where, "; "))
			}
		}
	}
}
