package hitratio

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/engine"
	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/internal/trace"
	"github.com/gofreshet/freshet/bench/internal/workload"
)

// source makes or reads a workload when its turn comes: not all fit in memory.
type source struct {
	name string
	load func(seed uint64) (*workload.Workload, error)
}

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	var files []string
	f.Func("trace", "replay this `file[:format]`; may be given again. Compression by its ending: .gz .xz .zst.\n"+
		"Without a format .lis is arc, .lirs lirs, .csv csv, all else keys. Formats:\n"+trace.FormatHelp,
		func(s string) error { files = append(files, s); return nil })
	dir := f.String("traces", "", "replay the published traces in this `folder`, their counts checked")
	only := f.String("only", "", "of the published traces or made-up workloads, those with these `names`, separated by commas")
	points := f.String("points", "", "capacities in `percents` of the distinct keys; default 1,2,5,10,20, with -quick 2,20")
	f.Float64Var(&o.falls.Writes, "writes", 0, "`share` of all requests that are writes; each makes its key fall")
	f.DurationVar(&o.falls.TTL, "ttl", 0, "life of a key in the origin, in the trace's time; then it falls; 0: for ever")
	f.Float64Var(&o.falls.Rate, "rate", 1000, "reads a second, the trace's time")
	names := f.String("engines", "", "engines to run, separated by commas; default all: "+strings.Join(engineNames(), ", "))
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each engine whose runs vary; default 3, with -quick 2")
	reads := f.Int("reads", 0, "length of a made-up workload; default 300000, with -quick 50000")
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	if err := o.falls.Validate(); err != nil {
		return o, err
	}
	long := func(quick, full int) int {
		if out.Quick {
			return quick
		}
		return full
	}
	if o.rounds == 0 {
		o.rounds = long(2, 3)
	}
	if *reads == 0 {
		*reads = long(50_000, 300_000)
	}
	if *points == "" && out.Quick {
		*points = "2,20"
	} else if *points == "" {
		*points = "1,2,5,10,20"
	}
	if o.rounds < 1 || o.rounds > 1000 {
		return o, fmt.Errorf("-rounds: %d: want 1 to 1000", o.rounds)
	}
	if *reads < 1000 || *reads > 1e9 {
		return o, fmt.Errorf("-reads: %d: want 1000 to 1e9", *reads)
	}
	if o.points, err = parsePoints(*points); err != nil {
		return o, err
	}
	if o.kinds, err = choose(*names); err != nil {
		return o, err
	}
	o.sources, err = sources(files, *dir, *only, *reads)
	return o, err
}

func parsePoints(list string) ([]float64, error) {
	var out []float64
	for p := range strings.SplitSeq(list, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || !(f > 0 && f <= 100) {
			return nil, fmt.Errorf("-points: %q: want percents above 0 and up to 100, as 1,5,20", p)
		}
		out = append(out, f)
	}
	return out, nil
}

func engineNames() (names []string) {
	for _, k := range engine.All() {
		names = append(names, k.Name)
	}
	return names
}

func choose(list string) (out []engine.Kind, err error) {
	all := engine.All()
	if list == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(k engine.Kind) bool { return k.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("-engines: no engine %q: there are %s", name, strings.Join(engineNames(), ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

func sources(files []string, dir, only string, reads int) (out []source, err error) {
	for _, spec := range files {
		path, format, err := trace.Spec(spec)
		if err != nil {
			return nil, fmt.Errorf("-trace: %w", err)
		}
		out = append(out, source{path, func(uint64) (*workload.Workload, error) {
			return fromTrace(trace.Load(path, format))
		}})
	}
	var named []source
	if dir != "" {
		for _, k := range trace.Catalog() {
			named = append(named, source{k.Name, func(uint64) (*workload.Workload, error) { return fromTrace(k.Load(dir)) }})
		}
	} else if len(files) == 0 {
		for _, m := range workload.Synthetic(reads) {
			named = append(named, source{m.Name, func(seed uint64) (*workload.Workload, error) { return m.Make(seed), nil }})
		}
	}
	if only == "" {
		return append(out, named...), nil
	}
	if len(named) == 0 {
		return nil, errors.New("-only chooses among the published traces or the made-up workloads: leave -trace out, or give -traces")
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(named, func(s source) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			var all []string
			for _, s := range named {
				all = append(all, s.name)
			}
			return nil, fmt.Errorf("-only: no workload %q: there are %s", name, strings.Join(all, ", "))
		}
		out = append(out, named[i])
	}
	return out, nil
}

func fromTrace(t *trace.Trace, err error) (*workload.Workload, error) {
	if err != nil {
		return nil, err
	}
	return workload.OfTrace(t), nil
}
