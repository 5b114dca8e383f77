package ingest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

// over is one side's figure over the rounds.
func over[T any](rounds [][]T, side int, figure func(T) float64) report.Spread {
	var f []float64
	for _, r := range rounds {
		f = append(f, figure(r[side]))
	}
	return report.SpreadOf(f...)
}

func showRecorded(out *report.Out, r recorded) {
	if len(r.rounds) == 0 {
		return
	}
	var rows [][]any
	chart := report.Chart{Title: "CPU for each event of a recording", YLabel: "µs"}
	bars := report.Series{Name: "CPU, sending included"}
	median := make(map[string]float64)
	spreads := make([]report.Spread, len(r.kinds))
	for i, k := range r.kinds {
		cpu := over(r.rounds, i, cost.micros)
		median[k.name], spreads[i] = cpu.Median, cpu
		rows = append(rows, []any{
			k.name, over(r.rounds, i, cost.perSecond), over(r.rounds, i, cost.perCore), cpu,
			over(r.rounds, i, func(c cost) float64 { return c.allocs }), over(r.rounds, i, func(c cost) float64 { return c.bytes }),
		})
		chart.Labels, bars.Y = append(chart.Labels, k.name), append(bars.Y, cpu.Median)
	}
	chart.Series = []report.Series{bars}
	out.Table(fmt.Sprintf("From a recording, as fast as each side reads: %d events, rounds: %d", r.events, len(r.rounds)),
		[]string{"side", "events/s", "events/s and core", "CPU µs/event", "allocs/event", "bytes/event"}, rows)
	out.Chart(chart)
	if floor, all, reader := median[socket], median[tracker], median[bare]; floor > 0 && all > 0 && reader > 0 {
		out.Note("Sending and receiving alone cost %.2f µs an event, which is in every row. go-redis's reader adds %.2f, Freshet's tracker %.2f to that: %.0f %% of what hearing and applying an event costs is reading it.",
			floor, reader-floor, all-reader, 100*min(1, (reader-floor)/(all-floor)))
	}
	if all, reader, sift := median[tracker], median[bare], median[sifting]; all > 0 && reader > 0 && sift > 0 {
		out.Note("Taking events out of the stream below go-redis would cost %.2f µs where its reader costs %.2f: Freshet's tracker at %.2f could so come to about %.2f.", sift, reader, all, all-reader+sift)
	}
	at := slices.IndexFunc(r.kinds, func(k kind) bool { return k.name == tracker })
	for i, k := range r.kinds {
		if at >= 0 && !k.yardstick && !ours(k) && spreads[i].Below(spreads[at], 0.05) {
			out.Note("Where we lose, recording: %s takes %.2f µs of CPU an event and does nothing with it, Freshet's tracker %.2f.", k.name, median[k.name], median[tracker])
		}
	}
}

func showStages(out *report.Out, all []profiled) {
	if len(all) == 0 {
		return
	}
	columns := []string{"stage"}
	for _, p := range all {
		columns = append(columns, p.side+", µs/event", "%")
	}
	var rows [][]any
	for _, stage := range stages {
		row, any := []any{stage}, false
		for _, p := range all {
			total := 0.0
			for _, v := range p.stages {
				total += v
			}
			any = any || p.stages[stage] > 0
			row = append(row, p.stages[stage], 100*p.stages[stage]/total)
		}
		if any {
			rows = append(rows, row)
		}
	}
	out.Table("Where the time goes, by a CPU profile of one run at the recording", columns, rows)
}

func showLive(out *report.Out, l live) {
	if len(l.rounds) == 0 {
		return
	}
	var rows [][]any
	for i, k := range l.kinds {
		lag := func(p float64) any {
			switch {
			case k.open == nil:
				return "-"
			case l.deaf(i):
				return "none heard"
			}
			return over(l.rounds, i, func(f following) float64 { return ms(f.lags, p) })
		}
		row := []any{
			k.name,
			over(l.rounds, i, func(f following) float64 { return float64(f.sets) / f.took.Seconds() }),
			over(l.rounds, i, func(f following) float64 { return float64(f.heard) / f.took.Seconds() }),
			over(l.rounds, i, func(f following) float64 { return float64(f.lost) }),
			"not told",
			over(l.rounds, i, func(f following) float64 { return f.client.Seconds() * 1e6 / float64(f.sets) }),
			over(l.rounds, i, following.serverMicros),
			lag(0.5), lag(0.99), lag(1), "none", "none",
		}
		switch {
		case k.open == nil:
			for _, c := range []int{2, 3, 4, 10, 11} {
				row[c] = "-"
			}
		case ours(k):
			row[4] = over(l.rounds, i, func(f following) float64 { return float64(f.gaps) })
		}
		if len(l.rounds[0][i].stale) > 0 {
			row[10] = over(l.rounds, i, func(f following) float64 { return ms(f.stale, 0.5) })
			row[11] = over(l.rounds, i, func(f following) float64 { return ms(f.stale, 1) })
		}
		rows = append(rows, row)
	}
	out.Table(fmt.Sprintf("From a real server, %s, rounds: %d. Lag: from a write's return until it was heard of, ms", l.title(), len(l.rounds)),
		[]string{"side", "SETs/s", "heard/s", "never heard", "gaps told", "client and writers µs/SET", "server µs/SET",
			"lag p50", "p99", "max", "staleness p50", "max"}, rows)
	out.Chart(lagCurve(l))
	explain(out, l)
}

func lagCurve(l live) report.Chart {
	c := report.Chart{Title: "Lag behind the writers, " + l.title(), XLabel: "heard later than, ms", YLabel: "% of writes", LogX: true, LogY: true}
	for i, k := range l.kinds {
		var all []time.Duration
		for _, r := range l.rounds {
			all = append(all, r[i].lags...)
		}
		slices.Sort(all)
		line := report.Series{Name: k.name}
		for e := -2.0; e <= 4; e += 0.25 { // 10 µs to 10 s
			x := math.Pow(10, e)
			n, _ := slices.BinarySearch(all, time.Duration(x*float64(time.Millisecond))+1)
			if n == len(all) {
				break
			}
			line.X, line.Y = append(line.X, x), append(line.Y, 100*float64(len(all)-n)/float64(len(all)))
		}
		if len(line.X) > 0 {
			c.Series = append(c.Series, line)
		}
	}
	return c
}

// explain says what is the server's, who lost events, and where we lose.
func explain(out *report.Out, l live) {
	lag := func(i int) report.Spread {
		return over(l.rounds, i, func(f following) float64 { return ms(f.lags, 0.99) })
	}
	at := slices.IndexFunc(l.kinds, func(k kind) bool { return k.name == tracker })
	for i, k := range l.kinds {
		lost := over(l.rounds, i, func(f following) float64 { return float64(f.lost) }).Max
		if lost > 0 {
			out.Note("At %s, %s never heard of up to %.0f events of a round: who cannot keep up is cut off by the server (client-output-buffer-limit pubsub). Freshet tells that as a gap and drops what it has.", l.title(), k.name, lost)
		}
		if at > 0 && i > 0 && !l.deaf(i) && !ours(k) && !k.yardstick {
			if a, b := lag(i), lag(at); a.Below(b, 0.1) {
				out.Note("Where we lose, %s: %s's p99 lag was %.2f ms, Freshet's tracker's %.2f.", l.title(), k.name, a.Median, b.Median)
			}
		}
	}
	if at > 0 {
		out.Note("At %s, the server's side: a SET costs it %.2f µs when nobody listens and %.2f with Freshet's tracker, as with any other listener to every key. The client's side is what a row has more than \"%s\", whose writers are in every row. Server, writers and client share %d processors here: lag at full load is mostly waiting for one.",
			l.title(), over(l.rounds, 0, following.serverMicros).Median, over(l.rounds, at, following.serverMicros).Median, nobody, out.Result().Machine.Cores)
	}
}

// deaf is a side that heard of no probe in one of the rounds.
func (l live) deaf(side int) bool {
	return slices.ContainsFunc(l.rounds, func(r []following) bool { return len(r[side].lags) == 0 })
}

// ms is the p-th quantile of what is sorted, in milliseconds.
func ms(all []time.Duration, p float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return all[int(p*float64(len(all)-1))].Seconds() * 1e3
}

func (f following) serverMicros() float64 { return f.server.Seconds() * 1e6 / float64(f.sets) }

func ours(k kind) bool { return strings.HasPrefix(k.name, "freshet") }
