package hitratio

import (
	"fmt"
	"slices"

	"github.com/gofreshet/freshet/bench/internal/report"
)

func show(out *report.Out, o options, rows []row) {
	columns := []string{"workload", "capacity %", "entries"}
	for _, k := range o.kinds {
		columns = append(columns, k.Name)
	}
	var medians, spreads [][]any
	sums := make([]float64, len(o.kinds))
	for _, r := range rows {
		m := []any{r.workload, fmt.Sprintf("%g", r.percent), r.capacity}
		s := slices.Clone(m)
		for i, f := range r.figures {
			sums[i] += f.ratio.Median
			m = append(m, f.ratio.Median)
			s = append(s, f.ratio.Max-f.ratio.Min)
		}
		medians, spreads = append(medians, m), append(spreads, s)
	}
	mean := []any{"mean", "", ""}
	for _, sum := range sums {
		mean = append(mean, sum/float64(len(rows)))
	}
	out.Table(fmt.Sprintf("Hit ratio in percent of reads, rounds: %d (the median); %s", o.rounds, o.conditions()), columns, append(medians, mean))
	if o.rounds > 1 {
		out.Table("Spread: highest round less lowest, in points", columns, spreads)
	}
	charts(out, o, rows)
	whereWeLose(out, rows)
}

func charts(out *report.Out, o options, rows []row) {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].workload == rows[0].workload {
			n++
		}
		c := report.Chart{
			Title: rows[0].workload + ", " + o.conditions(), XLabel: "entries", YLabel: "hit ratio, %", LogX: true,
		}
		for i, k := range o.kinds {
			s := report.Series{Name: k.Name}
			for _, r := range rows[:n] {
				s.X, s.Y = append(s.X, float64(r.capacity)), append(s.Y, r.figures[i].ratio.Median)
			}
			c.Series = append(c.Series, s)
		}
		out.Chart(c)
		rows = rows[n:]
	}
}

// worth is how many points of hit ratio are worth a word.
const worth = 0.5

// whereWeLose compares Freshet with its peers, one by one; the optimum is no peer.
func whereWeLose(out *report.Out, rows []row) {
	ours := slices.IndexFunc(rows[0].figures, func(f figure) bool { return f.kind.Name == "freshet" })
	if ours < 0 {
		return
	}
	for i, peer := range rows[0].figures {
		if i == ours || peer.kind.Name == "OPT" {
			continue
		}
		lost, sum, most, worst := 0, 0.0, 0.0, row{}
		for _, r := range rows {
			behind := r.figures[i].ratio.Median - r.figures[ours].ratio.Median
			sum += behind
			if behind > worth {
				lost++
			}
			if behind > most {
				most, worst = behind, r
			}
		}
		if lost == 0 {
			continue
		}
		mean := fmt.Sprintf("%.1f points below it in the mean", sum/float64(len(rows)))
		if sum < 0 {
			mean = fmt.Sprintf("%.1f points above it in the mean", -sum/float64(len(rows)))
		}
		out.Note("Where we lose: %s is ahead of Freshet by more than %.1f on %d of %d points, most on %s at %d entries (%.1f against %.1f); Freshet is %s.",
			peer.kind.Name, worth, lost, len(rows), worst.workload, worst.capacity,
			worst.figures[i].ratio.Median, worst.figures[ours].ratio.Median, mean)
	}
}
