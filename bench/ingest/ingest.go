// Package ingest measures how fast events are taken in, what that costs, how
// far behind the writers a reader is, and where the time goes.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9/logging"
)

const usage = `ingest measures what it costs to hear that keys changed: Freshet beside the bare readers that do nothing with what
they hear. First from a recorded stream that is sent over loopback as fast as each side reads, which is the
client's cost alone; then from a real server while writers load it, where server, writers and client share the
machine: there it says how far behind the writers each side is. It starts a redis-server of its own (apt-get
install redis-server; another binary by the environment variable ` + redistest.BinaryEnv + `).`

// Command is the bench's ingest.
func Command() report.Command {
	return report.Command{Name: "ingest", Short: "events taken in per second and core, their cost, and the lag while writers run", Run: run}
}

type options struct {
	kinds    []kind
	rounds   int
	events   int           // of the recording, for each side and round
	duration time.Duration // of each side and round at the real server
	writers  int
	rates    []int // SETs a second; 0: as many as the server takes
	profile  string
}

func run(ctx context.Context, args []string, out *report.Out) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	logging.Disable() // what a server cuts off for being slow, go-redis tells the standard error
	defer logging.Enable()
	server, err := redistest.Run("--notify-keyspace-events", "KEA")
	if err != nil {
		return err
	}
	err = o.measure(ctx, server, out)
	return errors.Join(err, server.Close())
}

func (o options) measure(ctx context.Context, server *redistest.Server, out *report.Out) error {
	rec, err := record(ctx, server.Addr(), out.Seed)
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	recorded := o.fromRecording(ctx, rec, out)
	showRecorded(out, recorded)
	if recorded.err != nil {
		return recorded.err
	}
	profiled, err := o.whereTimeGoes(ctx, rec, out)
	showStages(out, profiled)
	if err != nil {
		return err
	}
	for _, rate := range o.rates {
		l := o.fromServer(ctx, server, rate, out)
		showLive(out, l)
		if l.err != nil {
			return l.err
		}
	}
	return nil
}

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	f.IntVar(&o.events, "events", 0, "events of the recording for each side and round; default 300000, with -quick 100000")
	f.DurationVar(&o.duration, "duration", 0, "how long each side follows the real server in a round; default 2s, with -quick 700ms")
	f.IntVar(&o.rounds, "rounds", 0, "rounds of all sides; default 3, with -quick 1")
	f.IntVar(&o.writers, "writers", 2, "connections that write to the real server")
	rates := f.String("rates", "20000,0", "SETs a second for the real server, separated by commas; 0: as many as it takes")
	f.StringVar(&o.profile, "cpuprofile", "", "write the CPU profile of Freshet's tracker at the recording to this `file`")
	sides := f.String("sides", "", "`sides` to compare, separated by commas; default all: "+strings.Join(names(kinds()), ", "))
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	orElse(&o.events, out.Quick, 300_000, 100_000)
	orElse(&o.duration, out.Quick, 2*time.Second, 700*time.Millisecond)
	orElse(&o.rounds, out.Quick, 3, 1)
	switch {
	case o.events < 1000 || o.events > 1e9:
		return o, fmt.Errorf("-events: %d: want 1000 to 1e9", o.events)
	case o.duration < 100*time.Millisecond || o.duration > time.Hour:
		return o, fmt.Errorf("-duration: %v: want 100ms to 1h", o.duration)
	case o.rounds < 1 || o.rounds > 1000:
		return o, fmt.Errorf("-rounds: %d: want 1 to 1000", o.rounds)
	case o.writers < 1 || o.writers > 64:
		return o, fmt.Errorf("-writers: %d: want 1 to 64", o.writers)
	}
	for r := range strings.SplitSeq(*rates, ",") {
		rate, err := strconv.Atoi(strings.TrimSpace(r))
		if err != nil || rate < 0 || rate > 10_000_000 {
			return o, fmt.Errorf("-rates: %q: want SETs a second up to 10000000, or 0, as 20000,0", r)
		}
		o.rates = append(o.rates, rate)
	}
	if o.kinds, err = choose(*sides); err != nil {
		return o, err
	}
	if o.profile != "" {
		// Before anything is measured: a file that cannot be written is found at once.
		file, err := os.Create(o.profile)
		if err != nil {
			return o, fmt.Errorf("-cpuprofile: %w", err)
		}
		return o, file.Close()
	}
	return o, nil
}

func orElse[T comparable](v *T, isQuick bool, full, quick T) {
	var zero T
	if *v != zero {
		return
	}
	*v = full
	if isQuick {
		*v = quick
	}
}

func names(all []kind) (out []string) {
	for _, k := range all {
		out = append(out, k.name)
	}
	return out
}

func choose(list string) (out []kind, err error) {
	all := kinds()
	if list == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(names(all), strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("-sides: no side %q: there are %s", name, strings.Join(names(all), ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}
