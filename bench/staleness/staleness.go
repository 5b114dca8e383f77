// Package staleness measures how old what caches serve really is, while
// others write, and while the network and the server fail.
package staleness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9/logging"
)

const usage = `staleness has writers change keys on a real Redis while every side reads them at the same time over the same
network, and says for each read how long before its start the value had been replaced: 0 if it was current at
some instant within the read. It does so in calm, and while connections are reset, packets vanish, everything
is flushed and the server is restarted. What is still wrong long after all is well and nobody writes is counted
as stale for ever. It starts a redis-server of its own (apt-get install redis-server; another binary by the
environment variable ` + redistest.BinaryEnv + `).`

// Command is the bench's staleness.
func Command() report.Command {
	return report.Command{Name: "staleness", Short: "how old the values are that caches serve, in calm and under faults, on a real Redis", Run: run}
}

type options struct {
	faults   []fault
	kinds    []kind
	duration time.Duration
	rounds   int
	writers  int
	readers  int
	rate     float64
	keys     int
}

// result is what one side showed under one fault, a tally a round.
type result struct {
	fault fault
	sides []sideResult
}

type sideResult struct {
	kind  kind
	tally []*tally
}

func run(ctx context.Context, args []string, out *report.Out) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	// go-redis tells the standard error of every failed dial; here they fail on purpose.
	logging.Disable()
	defer logging.Enable()
	results := make([]result, len(o.faults))
	for i, f := range o.faults {
		results[i].fault = f
		for _, k := range o.kinds {
			results[i].sides = append(results[i].sides, sideResult{kind: k})
		}
	}
	bar := out.Progress("staleness", o.rounds*len(o.faults))
	defer bar.Done()
	var failed error
	for round := range o.rounds {
		for i, f := range o.faults {
			tallies, err := o.course(ctx, f, out.Seed+uint64(round))
			for n, t := range tallies {
				results[i].sides[n].tally = append(results[i].sides[n].tally, t)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				failed = fmt.Errorf("%s, round %d: %w", f.name, round+1, err)
				break
			}
			bar.Add(1)
		}
		if failed != nil {
			break
		}
	}
	bar.Done()
	show(out, o, results)
	if failed != nil {
		return failed
	}
	return broken(results)
}

// broken is an error when Freshet broke a promise: that is no figure, it is a bug.
func broken(results []result) error {
	var stories []string
	for _, r := range results {
		for _, s := range r.sides {
			for _, t := range s.tally {
				if t.broken > 0 {
					stories = append(stories, fmt.Sprintf("%s under %s: %d reads\n%s", s.kind.name, r.fault.name, t.broken, t.story))
				}
			}
		}
	}
	if len(stories) == 0 {
		return nil
	}
	return errors.New("a promise was broken: " + strings.Join(stories, "\n"))
}
