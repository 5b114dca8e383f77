// Package hitratio replays workloads against Freshet and its peers over a range
// of capacities, with and without the invalidations that a near cache sees.
package hitratio

import (
	"context"
	"fmt"
	"time"

	"github.com/gofreshet/freshet/bench/internal/engine"
	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/internal/workload"
)

const usage = `hitratio replays workloads against Freshet (the near cache itself, through Get), its peers, and
Belady's optimum, and prints the share of reads that hit, in percent. Every miss loads at once; between two
reads nothing waits but what the column's name says ("paced": until ristretto's buffer is empty) and
theine's buffer. Without -trace or -traces it makes its workloads itself, and needs nothing else.`

// Command is the bench's hitratio.
func Command() report.Command {
	return report.Command{Name: "hitratio", Short: "hit ratios of Freshet, its peers and the optimum, on traces and made-up workloads", Run: run}
}

// options are the flags, parsed.
type options struct {
	sources []source
	points  []float64 // capacities in percent of the distinct keys
	falls   workload.Falls
	kinds   []engine.Kind
	rounds  int
}

// figure is what the rounds gave one engine at one point.
type figure struct {
	kind  engine.Kind
	ratio report.Spread // in percent
}

type row struct {
	workload string
	percent  float64
	capacity int
	figures  []figure
}

func run(ctx context.Context, args []string, out *report.Out) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	var rows []row
	for _, s := range o.sources {
		// A broken trace ends the run, but not without what was measured before it.
		if err = o.measure(ctx, s, out, &rows); err != nil {
			break
		}
	}
	if len(rows) > 0 {
		show(out, o, rows)
	}
	return err
}

// measure appends a row for each point that was finished.
func (o options) measure(ctx context.Context, s source, out *report.Out, rows *[]row) error {
	w, err := s.load(out.Seed)
	if err != nil {
		return err
	}
	w = workload.Mix(w, o.falls, out.Seed)
	runs := 0
	for _, k := range o.kinds {
		runs += o.times(k)
	}
	bar := out.Progress(w.Name, len(w.Ops)*runs*len(o.points))
	defer bar.Done()
	for _, percent := range o.points {
		r := row{w.Name, percent, w.Capacity(percent), nil}
		ratios := make([][]float64, len(o.kinds))
		for round := range o.rounds { // interleaved: what disturbs the machine disturbs all
			for i, k := range o.kinds {
				if round >= o.times(k) {
					continue
				}
				ratio, err := engine.HitRatio(ctx, k, w, r.capacity, bar.Add)
				if err != nil {
					return fmt.Errorf("%s: %w", w.Name, err)
				}
				ratios[i] = append(ratios[i], 100*ratio)
			}
		}
		for i, k := range o.kinds {
			r.figures = append(r.figures, figure{k, report.SpreadOf(ratios[i]...)})
		}
		*rows = append(*rows, r)
	}
	return nil
}

// times is how often k is run: what cannot vary, once.
func (o options) times(k engine.Kind) int {
	if k.Varies {
		return o.rounds
	}
	return 1
}

func (o options) conditions() string {
	s := "reads alone"
	if f := o.falls; f.Writes > 0 || f.TTL > 0 {
		s = fmt.Sprintf("%g %% writes", 100*f.Writes)
		if f.TTL > 0 {
			s += fmt.Sprintf(", keys expire after %v at %g reads a second", f.TTL.Round(time.Millisecond), f.Rate)
		}
	}
	return s
}
