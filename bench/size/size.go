// Package size answers how big the near cache should be, and for which keys it
// pays: from a trace, or from what a running Redis is asked for.
package size

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/engine"
	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/internal/trace"
	"github.com/gofreshet/freshet/bench/internal/workload"
)

const usage = `size foretells hit ratios by capacity from a sample of the keys, recommends a MaxEntries, and says which
prefixes are worth caching. It reads a trace (-trace, -traces), or listens to a running Redis (-redis) by
MONITOR, which costs that server something: it says what, and asks. A redis-server to try it on is had by
apt-get install redis-server. The figures are for one process that makes all these reads.`

// Command is the bench's size.
func Command() report.Command {
	return report.Command{Name: "size", Short: "how many entries to cache, and of which prefixes: from a trace or a running Redis", Run: run}
}

type options struct {
	rate   float64 // of keys; 0: chosen
	share  float64 // of the best hit ratio that the recommended capacity reaches
	cut    cut
	falls  workload.Falls
	check  bool
	live   liveOptions
	traces []func() (*trace.Trace, error)
}

func run(ctx context.Context, args []string, out *report.Out) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if o.live.url != "" {
		s, err := listen(ctx, o, out, os.Stdin)
		if err != nil {
			return err
		}
		return study(ctx, s, o, out, nil)
	}
	var checks [][]any
	for _, load := range o.traces {
		if err = o.ofTrace(ctx, load, out, &checks); err != nil {
			break
		}
	}
	showChecks(out, checks)
	return err
}

func (o options) ofTrace(ctx context.Context, load func() (*trace.Trace, error), out *report.Out, checks *[][]any) error {
	t, err := load()
	if err != nil {
		return err
	}
	rate := o.rate
	if rate == 0 {
		rate = min(1, enough/float64(t.Distinct))
	}
	w := workload.Mix(workload.OfTrace(t), o.falls, out.Seed)
	s := ofWorkload(w, t.Names, rate, out.Seed, o.cut)
	return study(ctx, s, o, out, func(p point) error { return o.verify(ctx, w, s, p, out, checks) })
}

// study foretells, recommends and shows; then check, if the flag asks for it.
func study(ctx context.Context, s *sample, o options, out *report.Out, check func(point) error) error {
	if s.w.Reads == 0 {
		return fmt.Errorf("%s: no reads in the sample of %.3g of %d reads: give a larger -sample, or more to sample", s.name, s.rate, s.reads)
	}
	lru := lruCurve(s)
	capacities := grid(s)
	bar := out.Progress(s.name, len(capacities)*len(s.w.Ops))
	defer bar.Done()
	var points []point
	var failed error
	for _, c := range capacities {
		p, err := foretell(ctx, s, lru, c, bar.Add)
		if err != nil {
			failed = err
			break
		}
		points = append(points, p)
	}
	bar.Done()
	if len(points) == 0 {
		return failed
	}
	best := recommend(points, o.share)
	show(out, s, points, best, o.share)
	if failed != nil {
		return failed
	}
	if err := showPrefixes(out, s, best); err != nil {
		return err
	}
	if o.check && check != nil {
		return check(best)
	}
	return nil
}

// verify replays the whole trace, where the sample was only foretold from.
func (o options) verify(ctx context.Context, w *workload.Workload, s *sample, best point, out *report.Out, checks *[][]any) error {
	lru := lruCurve(s)
	capacities := []int{w.Capacity(1), w.Capacity(5), w.Capacity(20), best.entries}
	bar := out.Progress("check "+s.name, 2*len(capacities)*len(w.Ops))
	defer bar.Done()
	for _, c := range capacities {
		told, err := foretell(ctx, s, lru, c, nil)
		if err != nil {
			return err
		}
		whole, err := engine.HitRatio(ctx, engine.Freshet(), w, c, bar.Add)
		if err != nil {
			return err
		}
		wholeLRU, err := engine.HitRatio(ctx, engine.LRU(), w, c, bar.Add)
		if err != nil {
			return err
		}
		*checks = append(*checks, []any{
			s.name, c, s.rate, 100 * told.freshet, 100 * whole, 100 * (told.freshet - whole),
			100 * told.lru, 100 * wholeLRU, 100 * (told.lru - wholeLRU),
		})
	}
	return nil
}

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	var files []string
	f.Func("trace", "a trace `file[:format]`, may be given again; formats as hitratio -h lists them.\nmonitor is the output of redis-cli monitor, and has writes and prefixes",
		func(s string) error { files = append(files, s); return nil })
	dir := f.String("traces", "", "the published traces in this `folder`")
	only := f.String("only", "", "of the published traces, those with these `names`, separated by commas")
	f.StringVar(&o.live.url, "redis", "", "listen to the server at this `URL`, as redis://user:password@localhost:6379/0")
	f.DurationVar(&o.live.span, "for", 10*time.Second, "how long to listen")
	f.IntVar(&o.live.most, "commands", 2_000_000, "stop listening after so many commands")
	f.BoolVar(&o.live.yes, "yes", false, "listen without asking")
	f.Float64Var(&o.rate, "sample", 0, "`share` of the keys to sample, above 0 up to 1; default what leaves about 20000 keys")
	f.Float64Var(&o.share, "share", 0.95, "recommend the smallest capacity with this `share` of the best hit ratio")
	f.StringVar(&o.cut.delimiter, "delimiter", ":", "what ends a part of a key")
	f.IntVar(&o.cut.depth, "depth", 1, "how many parts make a prefix")
	f.Float64Var(&o.falls.Writes, "writes", 0, "mix writes into a trace, as hitratio does")
	f.DurationVar(&o.falls.TTL, "ttl", 0, "let a trace's keys expire, as hitratio does")
	f.Float64Var(&o.falls.Rate, "rate", 1000, "reads a second, the trace's time")
	f.BoolVar(&o.check, "check", false, "compare what a trace's sample foretells with the full replay")
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["sample"] && !(o.rate > 0 && o.rate <= 1):
		return o, fmt.Errorf("-sample: %g: want a share above 0 and up to 1", o.rate)
	case !(o.share > 0 && o.share <= 1):
		return o, fmt.Errorf("-share: %g: want a share above 0 and up to 1", o.share)
	case o.cut.delimiter == "":
		return o, errors.New("-delimiter: want at least one character")
	case o.cut.depth < 1:
		return o, fmt.Errorf("-depth: %d: want 1 or more", o.cut.depth)
	case o.live.span <= 0 || o.live.span > time.Hour:
		return o, fmt.Errorf("-for: %v: want a duration up to an hour", o.live.span)
	case o.live.most < 1:
		return o, fmt.Errorf("-commands: %d: want 1 or more", o.live.most)
	case *only != "" && *dir == "":
		return o, errors.New("-only chooses among the published traces: give -traces")
	case o.live.url != "" && (len(files) > 0 || *dir != ""):
		return o, errors.New("-redis and a trace: choose one")
	case o.live.url == "" && len(files) == 0 && *dir == "":
		return o, errors.New("size: nothing to look at: give -trace file, -traces folder, or -redis redis://localhost:6379")
	}
	if err := o.falls.Validate(); err != nil {
		return o, err
	}
	return o, o.find(files, *dir, *only)
}

func (o *options) find(files []string, dir, only string) error {
	for _, spec := range files {
		path, format, err := trace.Spec(spec)
		if err != nil {
			return fmt.Errorf("-trace: %w", err)
		}
		o.traces = append(o.traces, func() (*trace.Trace, error) { return trace.Load(path, format) })
	}
	if dir == "" {
		return nil
	}
	known := trace.Catalog()
	if only != "" {
		known = nil
		for name := range strings.SplitSeq(only, ",") {
			k, err := trace.Find(strings.TrimSpace(name))
			if err != nil {
				return fmt.Errorf("-only: %w", err)
			}
			known = append(known, k)
		}
	}
	for _, k := range known {
		o.traces = append(o.traces, func() (*trace.Trace, error) { return k.Load(dir) })
	}
	return nil
}
