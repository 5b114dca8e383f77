// Package latency measures what single calls cost: a hit, a miss, and an
// invalidation, of Freshet and of the caches and clients one might use instead.
package latency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/report"
)

const usage = `latency measures a hit, a miss and an invalidation: mean, p50, p99, p99.9 and allocations. The mean is of
batches, with two readings of the clock around many calls; percentiles are of single calls, less what the clock
itself costs, which is measured and said. Figures of several rounds, interleaved: the median, lowest and highest.
It starts a redis-server of its own (apt-get install redis-server). With -quick it does with an embedded Redis,
which has no CLIENT TRACKING: what needs that is then left out, and named.`

// Command is the bench's latency.
func Command() report.Command {
	return report.Command{Name: "latency", Short: "what a hit, a miss and an invalidation cost, beside the peers", Run: run}
}

// options are the flags, parsed, and how much is done of each.
type options struct {
	sizes  []int
	rounds int
	only   []string
	sides  []side
	effort
}

// effort is how long a round takes.
type effort struct {
	batchMillis     int // of hits, for the mean
	samples         int // hits timed one by one; of slower sides fewer
	instant, loaded int // misses
	falls           int // seen from outside
}

var (
	quickEffort = effort{batchMillis: 40, samples: 10_000, instant: 2_000, loaded: 300, falls: 100}
	fullEffort  = effort{batchMillis: 100, samples: 40_000, instant: 10_000, loaded: 2_000, falls: 500}
)

// parts are what is measured, in this order.
var parts = []struct {
	name string
	run  func(context.Context, *bench) error
}{{"hit", hits}, {"miss", misses}, {"fall", falls}}

// bench is one run.
type bench struct {
	options
	out       *report.Out
	server    *server
	clock     clock
	rivalries []*rivalry
	absent    []string // what could not be opened, and was said so
}

func run(ctx context.Context, args []string, out *report.Out) (err error) {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	s, err := openServer(ctx, out.Quick)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b := &bench{options: o, out: out, server: s, clock: calibrate()}
	for _, p := range parts {
		if slices.Contains(o.only, p.name) && err == nil {
			err = p.run(ctx, b)
		}
	}
	if len(out.Result().Tables) > 0 {
		b.notes()
	}
	return err
}

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	sizes := f.String("keys", "1024,16384", "`numbers` of keys that are read in turn, powers of two, separated by commas")
	f.IntVar(&o.rounds, "rounds", 0, "rounds; default 5, with -quick 3")
	only := f.String("only", "hit,miss,fall", "of the `parts` hit, miss and fall (an invalidation), these, separated by commas")
	names := f.String("sides", "", "who takes part, separated by commas; default all: "+strings.Join(sideNames(), ", "))
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	if o.effort = fullEffort; out.Quick {
		o.effort, o.rounds = quickEffort, cmp.Or(o.rounds, 3)
	}
	o.rounds = cmp.Or(o.rounds, 5)
	for field := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 16 || n > 1<<20 || n&(n-1) != 0 {
			return o, fmt.Errorf("-keys: %q: want powers of two from 16 to %d, as 1024,16384", field, 1<<20)
		}
		o.sizes = append(o.sizes, n)
	}
	if o.rounds < 1 || o.rounds > 1000 {
		return o, fmt.Errorf("-rounds: %d: want 1 to 1000", o.rounds)
	}
	for name := range strings.SplitSeq(*only, ",") {
		name = strings.TrimSpace(name)
		if name != "hit" && name != "miss" && name != "fall" {
			return o, fmt.Errorf("-only: no part %q: there are hit, miss, fall", name)
		}
		o.only = append(o.only, name)
	}
	o.sides, err = choose(*names)
	return o, err
}

func choose(list string) (out []side, err error) {
	if list == "" {
		return sides(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, s := range sides() {
			if s.name == strings.TrimSpace(name) {
				out, found = append(out, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-sides: no side %q: there are %s", name, strings.Join(sideNames(), ", "))
		}
	}
	return out, nil
}

// callers is how many call in the parallel runs.
func callers() int { return runtime.GOMAXPROCS(0) }
