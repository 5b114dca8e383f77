package staleness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	faultList := f.String("faults", "", "`faults` to go through, separated by commas; default all:\n"+faultHelp())
	sideList := f.String("sides", "", "`sides` to compare, separated by commas; default all:\n"+strings.Join(names(kinds(), kindName), ", "))
	f.DurationVar(&o.duration, "duration", 0, "how long writers write under each fault, in each round; default 5s, with -quick 3s")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of all faults; default 3, with -quick 1")
	f.IntVar(&o.writers, "writers", 2, "goroutines that write")
	f.IntVar(&o.readers, "readers", 2, "goroutines that read from each side")
	f.Float64Var(&o.rate, "rate", 400, "writes a `second`, of all writers; every eighth is a delete")
	f.IntVar(&o.keys, "keys", 256, "keys that are written and read")
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	if o.duration == 0 {
		o.duration = 5 * time.Second
		if out.Quick {
			o.duration = 3 * time.Second
		}
	}
	if o.rounds == 0 {
		o.rounds = 3
		if out.Quick {
			o.rounds = 1
		}
	}
	switch {
	case o.duration < time.Second || o.duration > time.Hour:
		return o, fmt.Errorf("-duration: %v: want 1s to 1h", o.duration)
	case o.rounds < 1 || o.rounds > 1000:
		return o, fmt.Errorf("-rounds: %d: want 1 to 1000", o.rounds)
	case o.writers < 1 || o.writers > 64:
		return o, fmt.Errorf("-writers: %d: want 1 to 64", o.writers)
	case o.readers < 1 || o.readers > 64:
		return o, fmt.Errorf("-readers: %d: want 1 to 64", o.readers)
	case !(o.rate >= 1 && o.rate <= 100_000):
		return o, fmt.Errorf("-rate: %g: want 1 to 100000 writes a second", o.rate)
	case o.keys < o.writers || o.keys > 1_000_000:
		return o, fmt.Errorf("-keys: %d: want one for each of %d writers, and up to 1000000", o.keys, o.writers)
	}
	if o.faults, err = choose("-faults", *faultList, faults(), faultName); err != nil {
		return o, err
	}
	o.kinds, err = choose("-sides", *sideList, kinds(), kindName)
	return o, err
}

func names[T any](all []T, name func(T) string) (out []string) {
	for _, e := range all {
		out = append(out, name(e))
	}
	return out
}

// choose gives those of all that list names, in all's order; all of them for no list.
func choose[T any](flag, list string, all []T, name func(T) string) (out []T, err error) {
	if list == "" {
		return all, nil
	}
	want := make(map[string]bool)
	for w := range strings.SplitSeq(list, ",") {
		w = strings.TrimSpace(w)
		if !slices.Contains(names(all, name), w) {
			return nil, fmt.Errorf("%s: no %q: there are %s", flag, w, strings.Join(names(all, name), ", "))
		}
		want[w] = true
	}
	for _, e := range all {
		if want[name(e)] {
			out = append(out, e)
		}
	}
	return out, nil
}
