// Command replay runs recorded traces against the near cache's store and the
// caches it is measured by, and prints hit ratios in percent.
//
//	go run ./internal/replay -traces DIR [-points 1,5,20] [-trace name,name] [-engines name,name]
//
// DIR holds the published files that package trace lists; -points are capacities
// in percent of each trace's distinct keys. Every miss loads at once: nothing
// waits between accesses, but "ristretto paced" for its own buffers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/internal/replay/engine"
	"github.com/gofreshet/freshet/internal/replay/trace"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func kinds() []engine.Kind {
	return []engine.Kind{
		engine.OPT(),
		engine.LRU(),
		engine.S3FIFO(),
		engine.RistrettoTight(),
		engine.RistrettoPaced(),
		engine.Store("freshet", store.Open),
		engine.NearCache(),
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	dir := flags.String("traces", os.Getenv("FRESHET_TRACES"), "folder of the traces; default $FRESHET_TRACES")
	points := flags.String("points", "1,5,20", "capacities, in percent of the distinct keys")
	names := flags.String("trace", "", "traces to run; default all")
	engines := flags.String("engines", "", "engines to run; default all")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *dir == "" {
		return errors.New("-traces: name the folder that holds the traces")
	}
	percents, err := parsePoints(*points)
	if err != nil {
		return err
	}
	chosen, err := choose(*engines)
	if err != nil {
		return err
	}
	return table(out, *dir, traceNames(*names), percents, chosen)
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

func traceNames(list string) []string {
	if list != "" {
		return strings.Split(list, ",")
	}
	var out []string
	for _, k := range trace.Catalog() {
		out = append(out, k.Name)
	}
	return out
}

func choose(list string) ([]engine.Kind, error) {
	all := kinds()
	if list == "" {
		return all, nil
	}
	var out []engine.Kind
next:
	for name := range strings.SplitSeq(list, ",") {
		for _, k := range all {
			if k.Name == name {
				out = append(out, k)
				continue next
			}
		}
		return nil, fmt.Errorf("-engines: no engine %q", name)
	}
	return out, nil
}

func table(out io.Writer, dir string, names []string, percents []float64, kinds []engine.Kind) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprint(w, "trace\tpoint\tentries\t")
	for _, k := range kinds {
		fmt.Fprintf(w, "%s\t", k.Name)
	}
	fmt.Fprintln(w)
	sums, rows := make([]float64, len(kinds)), 0
	for _, name := range names {
		t, err := trace.Load(dir, name)
		if err != nil {
			return err
		}
		for _, percent := range percents {
			capacity := engine.Capacity(t, percent)
			fmt.Fprintf(w, "%s\t%g %%\t%d\t", t.Name, percent, capacity)
			for i, k := range kinds {
				ratio, err := engine.HitRatio(k, t, capacity)
				if err != nil {
					return err
				}
				sums[i] += ratio
				fmt.Fprintf(w, "%.2f\t", 100*ratio)
			}
			fmt.Fprintln(w)
			rows++
		}
	}
	fmt.Fprint(w, "mean\t\t\t")
	for _, sum := range sums {
		fmt.Fprintf(w, "%.2f\t", 100*sum/float64(rows))
	}
	fmt.Fprintln(w)
	return nil
}
