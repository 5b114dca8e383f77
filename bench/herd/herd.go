// Package herd lets many callers in several processes ask for the same cold keys
// at once, and counts what reaches the origin.
package herd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

const usage = `herd releases goroutines in several real processes on the same cold keys, one key after another, and counts
at the origin, an HTTP server in this process, how often each key was loaded. Then some callers give up in
mid-load, those that began the loads among them. What Freshet promises is one load for each process and key.
It needs no server: Freshet's events come from an embedded Redis.`

// Command is the bench's herd.
func Command() report.Command {
	return report.Command{Name: "herd", Short: "what reaches the origin when many ask for cold keys at once, and when callers give up", Run: run}
}

// workerArg, alone, makes this command a worker of the one that started it.
const workerArg = "worker"

// options are the flags, parsed.
type options struct {
	processes, callers []int
	keys, rounds       int
	takes              time.Duration
	sides              []side
}

// scenario says who gives up in mid-load.
type scenario int

const (
	calm scenario = iota // nobody
	half                 // every second caller, the one that began the load among them
	all                  // everybody
)

var scenarios = []scenario{calm, half, all}

func (s scenario) String() string {
	return [...]string{"nobody gives up", "half give up, the first among them", "all give up"}[s]
}

// setting is one line of a table: a side under one herd.
type setting struct {
	scenario           scenario
	processes, callers int
	side               int
}

func run(ctx context.Context, args []string, out *report.Out) error {
	if len(args) == 1 && args[0] == workerArg {
		return work(os.Stdin, os.Stdout)
	}
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	found, err := measure(ctx, o, out)
	show(out, o, found)
	return err
}

// measure gives what was finished of the settings, in the order of settings.
func measure(ctx context.Context, o options, out *report.Out) (found results, err error) {
	found = make(results)
	server, err := openRedis(ctx)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	origin, err := openOrigin(o.takes)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, origin.close()) }()
	names := make([]string, len(o.sides))
	for i, s := range o.sides {
		names[i] = s.name
	}
	c, err := hire(ctx, slices.Max(o.processes), setup{Origin: origin.url, Redis: server.Addr, Sides: names})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, c.dismiss()) }()

	settings := o.settings()
	bar := out.Progress("herds", len(settings)*o.rounds)
	defer bar.Done()
	for i := range o.sides { // dialling is no part of a wait
		if _, err := o.burst(ctx, c, origin, setting{calm, slices.Max(o.processes), 2, i}, "warm"); err != nil {
			return found, err
		}
	}
	for round := range o.rounds { // interleaved, and each side first in its turn
		for at := range settings {
			s := settings[at]
			s.side = (s.side + round) % len(o.sides)
			f, err := o.burst(ctx, c, origin, s, strconv.Itoa(round))
			if err != nil {
				return found, err
			}
			found[s] = append(found[s], f)
			bar.Add(1)
		}
	}
	return found, nil
}

// openRedis is an embedded Redis whose notifications are on: workers that found
// them off would each switch them on, and take the others' doing so for a gap.
func openRedis(ctx context.Context) (*notifytest.Server, error) {
	server, err := notifytest.Run()
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	err = errors.Join(rdb.ConfigSet(ctx, "notify-keyspace-events", "KA").Err(), rdb.Close())
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return server, nil
}

func (o options) settings() (all []setting) {
	for _, sc := range scenarios {
		for _, p := range o.processes {
			for _, n := range o.callers {
				for i := range o.sides {
					all = append(all, setting{sc, p, n, i})
				}
			}
		}
	}
	return all
}

// burst is one side's turn at all keys, which nobody has seen before.
func (o options) burst(ctx context.Context, c *crew, origin *origin, s setting, round string) (f finding, err error) {
	step := order{Side: o.sides[s.side].name, Callers: s.callers, Scenario: s.scenario, Leave: o.takes / 2}
	burst := fmt.Sprintf("%s/%d/%d/%d/%d", round, s.scenario, s.processes, s.callers, s.side)
	for k := range o.keys {
		step.Keys = append(step.Keys, fmt.Sprintf("%s/%d", burst, k))
	}
	// A worker that does not answer is ended; a sound one is far quicker.
	limit, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(o.keys)*10*o.takes)
	defer cancel()
	answers, err := c.step(limit, s.processes, step)
	if err != nil {
		return f, err
	}
	if err := origin.settle(limit); err != nil {
		return f, err
	}
	f.tally = origin.of(burst)
	for _, a := range answers {
		f.add(a)
	}
	return f, nil
}

func parse(args []string, out *report.Out) (o options, err error) {
	f := out.Flags(usage)
	processes := f.String("processes", "", "how many `processes`, separated by commas; default 1,4, with -quick 2")
	callers := f.String("goroutines", "", "how many `goroutines` in each, separated by commas; default 16,256, with -quick 64")
	f.IntVar(&o.keys, "keys", 0, "cold keys, one burst each; default 8, with -quick 4")
	f.IntVar(&o.rounds, "rounds", 0, "rounds; default 5, with -quick 2")
	f.DurationVar(&o.takes, "takes", 20*time.Millisecond, "how long the origin takes for a load")
	names := f.String("sides", "", "who takes part, separated by commas; default all: "+strings.Join(sideNames(), ", "))
	if err := out.Parse(f, args); err != nil {
		return o, err
	}
	if out.Quick {
		defaults(processes, "2", callers, "64", &o.keys, 4, &o.rounds, 2)
	} else {
		defaults(processes, "1,4", callers, "16,256", &o.keys, 8, &o.rounds, 5)
	}
	if o.processes, err = counts("-processes", *processes, 32); err != nil {
		return o, err
	}
	if o.callers, err = counts("-goroutines", *callers, 10_000); err != nil {
		return o, err
	}
	switch {
	case o.keys < 1 || o.keys > 10_000:
		return o, fmt.Errorf("-keys: %d: want 1 to 10000", o.keys)
	case o.rounds < 1 || o.rounds > 1000:
		return o, fmt.Errorf("-rounds: %d: want 1 to 1000", o.rounds)
	case o.takes < time.Millisecond || o.takes > 10*time.Second:
		return o, fmt.Errorf("-takes: %v: want 1ms to 10s", o.takes)
	}
	o.sides, err = choose(*names)
	return o, err
}

func defaults(processes *string, p string, callers *string, c string, keys *int, k int, rounds *int, r int) {
	*processes, *callers = cmp.Or(*processes, p), cmp.Or(*callers, c)
	*keys, *rounds = cmp.Or(*keys, k), cmp.Or(*rounds, r)
}

func counts(name, list string, most int) (out []int, err error) {
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%s: %q: want numbers from 1 to %d, as 1,4", name, field, most)
		}
		out = append(out, n)
	}
	return out, nil
}

func choose(list string) (out []side, err error) {
	if list == "" {
		return sides(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		s, ok := sideNamed(strings.TrimSpace(name))
		if !ok {
			return nil, fmt.Errorf("-sides: no side %q: there are %s", name, strings.Join(sideNames(), ", "))
		}
		out = append(out, s)
	}
	return out, nil
}
