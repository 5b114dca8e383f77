package staleness

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

func show(out *report.Out, o options, results []result) {
	for _, r := range results {
		if len(r.sides) == 0 || len(r.sides[0].tally) == 0 {
			continue
		}
		out.Table(
			fmt.Sprintf("%s: %s. How stale reads were in ms; %d keys, %g writes a second, %v, rounds: %d", r.fault.name, r.fault.about, o.keys, o.rate, o.duration, len(r.sides[0].tally)),
			[]string{"side", "reads", "hits %", "failed %", "stale %", "p50", "p99", "p99.9", "max", "stale for ever", "unreadable", "promise broken"},
			rows(r))
		out.Chart(curve(r))
	}
	whatItMeans(out, results)
}

func rows(r result) (rows [][]any) {
	for _, s := range r.sides {
		reads := s.over(func(t *tally) float64 { return float64(len(t.staleness)) })
		hits := s.over(func(t *tally) float64 { return 100 * float64(t.hits) / float64(max(1, len(t.staleness))) })
		var hit, promise any = hits, "none made"
		if hits.Max == 0 {
			hit = "not told"
		}
		if s.kind.name == withoutCache {
			hit = "none"
		}
		if s.kind.fenced || s.kind.bound > 0 {
			promise = int(sum(s, func(t *tally) int { return t.broken }))
		}
		rows = append(rows, []any{
			s.kind.name, int(reads.Median), hit,
			s.over(failed), s.over(stale), s.over(millis(0.5)), s.over(millis(0.99)), s.over(millis(0.999)), s.over(millis(1)),
			s.over(func(t *tally) float64 { return float64(t.forever) }), s.over(func(t *tally) float64 { return float64(t.unread) }), promise,
		})
	}
	return rows
}

// over is a figure over the rounds.
func (s sideResult) over(figure func(*tally) float64) report.Spread {
	var f []float64
	for _, t := range s.tally {
		f = append(f, figure(t))
	}
	return report.SpreadOf(f...)
}

func stale(t *tally) float64 { return t.share(0) }

func failed(t *tally) float64 {
	return 100 * float64(t.failed) / float64(max(1, t.failed+len(t.staleness)))
}

func millis(p float64) func(*tally) float64 {
	return func(t *tally) float64 { return t.quantile(p).Seconds() * 1e3 }
}

func sum(s sideResult, figure func(*tally) int) (n int) {
	for _, t := range s.tally {
		n += figure(t)
	}
	return n
}

// curve is the share of reads that were staler than so much. What was never
// stale has no line.
func curve(r result) report.Chart {
	c := report.Chart{Title: "Stale reads, " + r.fault.name, XLabel: "staler than, ms", YLabel: "% of reads", LogX: true, LogY: true}
	for _, s := range r.sides {
		all := &tally{}
		for _, t := range s.tally {
			all.staleness = append(all.staleness, t.staleness...)
		}
		slices.Sort(all.staleness)
		line := report.Series{Name: s.kind.name}
		for e := -2.0; e <= 4.5; e += 0.25 { // 10 µs to 30 s
			ms := math.Pow(10, e)
			share := all.share(time.Duration(ms * float64(time.Millisecond)))
			if share == 0 {
				break
			}
			line.X, line.Y = append(line.X, ms), append(line.Y, share)
		}
		if len(line.X) > 0 {
			c.Series = append(c.Series, line)
		}
	}
	return c
}

// whatItMeans says who stays wrong, whether promises held, and where we lose.
func whatItMeans(out *report.Out, results []result) {
	tested, broken := 0, 0
	for _, r := range results {
		var forever []string
		for _, s := range r.sides {
			if n := sum(s, func(t *tally) int { return t.forever }); n > 0 {
				forever = append(forever, fmt.Sprintf("%s %d", s.kind.name, n))
			}
			if s.kind.name == plain || s.kind.name == fenced {
				tested += sum(s, func(t *tally) int { return len(t.staleness) })
				broken += sum(s, func(t *tally) int { return t.broken })
			}
		}
		if len(forever) > 0 {
			out.Note("Stale for ever after %s (keys still wrong %v after the last write, all rounds): %s.", r.fault.name, r.fault.patience, strings.Join(forever, ", "))
		}
		loses(out, r)
	}
	if tested > 0 {
		out.Note("Freshet's promises (MaxStaleness %v; a fenced read sees every write completed before it): broken by %d of %d reads.", freshetBound, broken, tested)
	}
	if len(results) > 0 {
		out.Note("Staleness in calm is the network's and the scheduler's: an event has to travel. Beyond that it is the side's own: what it does when events are lost. Failed reads are those that memory could not answer while the server could not be reached within %v.", opTimeout)
	}
}

// loses names the sides that were fresher than plain Freshet, or failed less,
// in every round.
func loses(out *report.Out, r result) {
	at := slices.IndexFunc(r.sides, func(s sideResult) bool { return s.kind.name == plain })
	if at < 0 || len(r.sides[at].tally) == 0 {
		return
	}
	for i, s := range r.sides {
		if i == at || s.kind.name == fenced || s.kind.name == withoutCache {
			continue
		}
		var ahead []string
		for _, c := range []struct {
			figure func(*tally) float64
			text   string
		}{
			{millis(1), "its stalest read was %.3g ms old against %.3g"},
			{stale, "%.2f %% of its reads were stale against %.2f"},
			{failed, "%.2f %% of its reads failed against %.2f"},
		} {
			theirs, ours := s.over(c.figure), r.sides[at].over(c.figure)
			if theirs.Below(ours, 0.1) {
				ahead = append(ahead, fmt.Sprintf(c.text, theirs.Median, ours.Median))
			}
		}
		if len(ahead) > 0 {
			out.Note("Where we lose, %s: %s: %s.", r.fault.name, s.kind.name, strings.Join(ahead, ", "))
		}
	}
}
