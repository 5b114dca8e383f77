package ingest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/google/pprof/profile"
)

// Stages of an event's way, in the order in which they are shown.
const (
	inPlayer    = "the sender of the recording"
	inKernel    = "kernel: reading the socket"
	inReader    = "go-redis: parsing"
	inAlloc     = "go-redis: allocating"
	inClient    = "go-redis: the rest"
	inGC        = "collecting garbage"
	inNotify    = "freshet notify: channel, event, hooks"
	inApply     = "freshet invalidate: ledger"
	inBench     = "counting here"
	inScheduler = "scheduler, rest"
)

var stages = []string{inPlayer, inKernel, inReader, inAlloc, inClient, inGC, inNotify, inApply, inBench, inScheduler}

// profiled is where one side's time went, in µs of CPU for each event.
type profiled struct {
	side   string
	stages map[string]float64
}

// whereTimeGoes profiles the bare reader and Freshet's tracker, one after the
// other: what the second has more is Freshet's.
func (o options) whereTimeGoes(ctx context.Context, rec *recording, out *report.Out) (all []profiled, err error) {
	bar := out.Progress("profile", 2)
	defer bar.Done()
	for _, k := range o.kinds {
		if k.name != bare && k.name != tracker {
			continue
		}
		var raw bytes.Buffer
		if err := pprof.StartCPUProfile(&raw); err != nil {
			return all, fmt.Errorf("profile: %w", err)
		}
		n := 3 * o.events // a sample each 10 ms of CPU: some two hundred, or sixty when quick
		c, err := follow(ctx, k, rec, n)
		pprof.StopCPUProfile()
		if err != nil {
			return all, fmt.Errorf("profile: %s: %w", k.name, err)
		}
		if k.name == tracker && o.profile != "" {
			if err := os.WriteFile(o.profile, raw.Bytes(), 0o644); err != nil {
				return all, fmt.Errorf("-cpuprofile: %w", err)
			}
		}
		p, err := profile.Parse(&raw)
		if err != nil {
			return all, fmt.Errorf("profile: %s: %w", k.name, err)
		}
		shares := divide(p)
		for stage := range shares {
			shares[stage] *= c.micros()
		}
		all = append(all, profiled{k.name, shares})
		bar.Add(1)
	}
	return all, nil
}

// divide gives each stage its share of all samples, which add up to 1.
func divide(p *profile.Profile) map[string]float64 {
	shares := make(map[string]float64)
	var total float64
	for _, s := range p.Sample {
		var stack []string // the leaf first
		for _, l := range s.Location {
			for _, line := range l.Line {
				stack = append(stack, line.Function.Name)
			}
		}
		value := float64(s.Value[len(s.Value)-1])
		shares[stageOf(stack)] += value
		total += value
	}
	for stage := range shares {
		shares[stage] /= total
	}
	return shares
}

// stageOf says whose a sample is: the innermost package that has a stage, but
// that allocations, the kernel and the collector stand for themselves.
func stageOf(stack []string) string {
	has := func(part string) bool {
		return slices.ContainsFunc(stack, func(f string) bool { return strings.Contains(f, part) })
	}
	switch {
	case has("ingest.(*player)"):
		return inPlayer
	case has("runtime.gcBgMarkWorker"), has("runtime.bgsweep"), has("runtime.bgscavenge"), has("runtime.gcAssistAlloc"):
		return inGC
	case has("syscall.read"), has("internal/poll.(*FD).Read"):
		return inKernel
	}
	allocates := has("runtime.mallocgc") || has("runtime.newobject") || has("runtime.growslice")
	for _, f := range stack {
		for _, in := range []struct{ prefix, stage string }{
			{"github.com/redis/go-redis/v9/internal/proto.", inReader},
			{"github.com/redis/go-redis/", inClient},
			{"github.com/gofreshet/freshet/notify.", inNotify},
			{"github.com/gofreshet/freshet/invalidate.", inApply},
			{"github.com/gofreshet/freshet/bench/", inBench},
		} {
			if !strings.HasPrefix(f, in.prefix) {
				continue
			}
			if allocates && (in.stage == inReader || in.stage == inClient) {
				return inAlloc
			}
			return in.stage
		}
	}
	return inScheduler
}
