package size

import (
	"fmt"
	"math"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/report"
)

func show(out *report.Out, s *sample, points []point, best point, share float64) {
	var rows [][]any
	chart := report.Chart{Title: s.name + ": foretold hit ratios", XLabel: "MaxEntries", YLabel: "hit ratio, %", LogX: true,
		Series: []report.Series{{Name: "freshet"}, {Name: "LRU"}}}
	for _, p := range points {
		rows = append(rows, []any{p.entries, 100 * p.freshet, 100 * (1 - p.freshet), 100 * p.lru})
		for i, y := range []float64{p.freshet, p.lru} {
			c := &chart.Series[i]
			c.X, c.Y = append(c.X, float64(p.entries)), append(c.Y, 100*y)
		}
	}
	out.Table(fmt.Sprintf("%s: foretold from %.3g of the keys (%d of %d reads, about %d keys in all)",
		s.name, s.rate, s.w.Reads, s.reads, s.keys()), []string{"MaxEntries", "hit ratio %", "miss ratio %", "LRU's hit ratio %"}, rows)
	out.Chart(chart)
	out.Note("%s: recommended MaxEntries %d, foretold hit ratio %.1f %%: the smallest here with %g of the best (%.1f %% at %d entries).",
		s.name, best.entries, 100*best.freshet, share, 100*points[len(points)-1].freshet, points[len(points)-1].entries)
}

// shownPrefixes are listed, the busiest first.
const shownPrefixes = 30

func showPrefixes(out *report.Out, s *sample, best point) error {
	busiest := s.prefixes.busiest(shownPrefixes)
	if len(busiest) == 0 || len(busiest) == 1 && busiest[0].prefix == noPrefix {
		return nil // keys are numbers, or have no parts
	}
	hits, reads, err := hitsByPrefix(s, best.entries)
	if err != nil {
		return err
	}
	var rows [][]any
	var yes []string
	for _, t := range busiest {
		ratio := float64(hits[t.prefix]) / float64(max(1, reads[t.prefix]))
		perEvent, verdict := t.worth(ratio)
		events := any(perEvent)
		if t.writes == 0 {
			events = "no events"
		}
		if reads[t.prefix] < fewReads && t.reads > 0 {
			verdict = "too few in the sample to say"
		}
		if verdict == "yes" {
			yes = append(yes, t.prefix)
		}
		rows = append(rows, []any{t.prefix, t.reads, t.writes, 100 * t.writeRatio(), 100 * ratio, events, verdict})
	}
	out.Table(fmt.Sprintf("%s: prefixes, the busiest %d of %d, at %d entries", s.name, len(rows), len(s.prefixes.each), best.entries),
		[]string{"prefix", "reads", "writes", "writes %", "hit ratio %", "hits per event", "worth caching"}, rows)
	if len(yes) > 0 {
		out.Note("%s: worth caching: %s", s.name, strings.Join(yes, " "))
	}
	return nil
}

// within is how many points a forecast may be off.
const within = 2.0

func showChecks(out *report.Out, checks [][]any) {
	if len(checks) == 0 {
		return
	}
	out.Table("Check: foretold from the sample against the full replay, hit ratios in percent",
		[]string{"trace", "entries", "sampled", "freshet foretold", "replayed", "off", "LRU foretold", "replayed", "off"}, checks)
	failed := 0
	worst := 0.0
	for _, c := range checks {
		off := math.Abs(c[5].(float64))
		worst = max(worst, off)
		if off > within {
			failed++
			out.Note("Check failed: %v at %v entries is off by %.1f points.", c[0], c[1], off)
		}
	}
	if failed == 0 {
		out.Note("Check passed: all %d forecasts of Freshet are within %g points, the worst is off by %.2f.", len(checks), within, worst)
	}
}
