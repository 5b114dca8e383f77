package cache

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
)

// TestHistory: whatever happens to Redis and to the connections, what plain clients write and two processes read through
// their caches, and through values built from cached ones, keeps I1, I2 and I3. Each fault alone first, then all mixed.
// FRESHET_HISTORY_SEED repeats the choices of a run, FRESHET_HISTORY_SECONDS lengthens the mixed ones.
func TestHistory(t *testing.T) {
	const short = 1500 * time.Millisecond
	keeps(t, "calm", short, func(t *testing.T) *aHistory { return newHistory(t, 0) })
	for _, f := range faults {
		d := short
		if f.late {
			d *= 2
		}
		keeps(t, f.name, d, func(t *testing.T) *aHistory { return newHistory(t, 0, f) })
	}
	keeps(t, "own writes", short, func(t *testing.T) *aHistory { return newHistory(t, 0, named("hold")).ownWrites() })

	mixed := time.Duration(historyEnv(t, "FRESHET_HISTORY_SECONDS", 6)) * time.Second
	keeps(t, "all that is heard", mixed, func(t *testing.T) *aHistory {
		return newHistory(t, 0, slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.late })...)
	})
	keeps(t, "all", mixed, func(t *testing.T) *aHistory { return newHistory(t, 0, faults...) })
}

// keeps wants no promise broken in a run, each put to the test, and that all is well afterwards without help. On a machine
// that is slow now a run that saw too little is made again, and longer.
func keeps(t *testing.T, name string, d time.Duration, begin func(*testing.T) *aHistory) {
	const tries = 4
	t.Run(name, func(t *testing.T) {
		for try, done := 1, false; !done; try, d = try+1, 2*d {
			again := false
			done = !t.Run(d.String(), func(t *testing.T) {
				h := begin(t)
				report, err := h.run(d)
				t.Log(report)
				if again = try < tries && errors.Is(err, history.ErrUntested); again {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := report.Err(); err != nil {
					t.Errorf("repeat with FRESHET_HISTORY_SEED=%d: %v", h.c.Seed, err)
				}
				for _, p := range h.procs {
					if s := p.items.Stats(); s.Hits == 0 || s.Misses == 0 {
						t.Errorf("%s: %d hits, %d misses: nothing was seen", p.name, s.Hits, s.Misses)
					}
				}
				h.healed()
			}) || !again
		}
	})
}

// aHistory is a run of two processes under faults.
type aHistory struct {
	*rig
	c       history.Config
	require []history.Kind
}

func newHistory(t testing.TB, out guard.Set, fs ...fault) *aHistory {
	t.Helper()
	var args []string
	given := make(map[string]bool)
	for _, f := range fs {
		for _, arg := range f.args {
			if !given[arg] {
				args = append(args, arg)
				given[arg] = true
			}
		}
	}
	h := &aHistory{rig: newRig(t, brisk, args...), require: []history.Kind{history.I1, history.I2, history.Source}}
	late := slices.ContainsFunc(fs, func(f fault) bool { return f.late })
	if late {
		h.keys = 60
	}
	// One process hears every key and has room for all, the other hears its caches' alone and must evict.
	h.process("a", out, nil)
	h.process("b", out, func(o *invalidate.Options, c *Options[string, item]) {
		o.FollowCaches = true
		c.MaxEntries = h.keys / 2
	})
	h.c = history.Config{
		Seed: historySeed(t), Recorder: h.rec, Keys: h.keys, Readers: 1,
		WritePause: 2 * time.Millisecond, ReadPause: time.Millisecond, FencePause: 5 * time.Millisecond, FaultPause: 150 * time.Millisecond,
		TTL: 30 * time.Millisecond, Write: h.write, Delete: h.remove,
	}
	for _, p := range h.procs {
		h.c.Instances = append(h.c.Instances, p.instances()...)
	}
	for _, f := range fs {
		h.c.Faults = append(h.c.Faults, f.step(h.rig))
		if f.gap {
			h.require = append(h.require, history.I3)
		}
	}
	if late {
		h.lookedFor()
	}
	return h
}

// lookedFor is for faults that no event tells of and no fence waits for. What they hide stays hidden until its key is
// written again, or until the next fault: neither is to come soon.
func (h *aHistory) lookedFor() {
	h.require = h.require[1:]
	for i, in := range h.c.Instances {
		h.c.Instances[i].Fence = nil
		h.c.Instances[i].Read = func(ctx context.Context, key string) (history.Observation, error) {
			o, err := in.Read(ctx, key)
			o.Bound += h.pace.audit + h.pace.pongTimeout
			return o, err
		}
	}
	h.c.WritePause = 10 * time.Millisecond
	if len(h.c.Faults) == 1 {
		h.c.FaultPause = 600 * time.Millisecond
	}
}

// ownWrites has process a do all writes with Cache.Write, one at a time: what has returned is seen by its reads with no
// fence. What has not promises nothing yet, even if somebody has seen it: so the time to reckon from is when none runs.
func (h *aHistory) ownWrites() *aHistory {
	a, log := h.procs[0], h.rec.Log()
	own := h.c.Instances[:len(a.instances())]
	for i := range own {
		own[i].Fence = nil
	}
	write := func(ctx context.Context, key string, write func(context.Context) error) (wrote error) {
		for _, in := range own {
			_ = log.Fence(in.Name, func() error { return nil })
		}
		// An error of the announcement alone: it is sent later, and in this process the key has fallen.
		_ = a.items.Write(ctx, key, func(ctx context.Context) error {
			wrote = write(ctx)
			return wrote
		})
		return wrote
	}
	h.c.Writers = 1
	h.c.Write = func(ctx context.Context, key string, version uint64, ttl time.Duration) error {
		return write(ctx, key, func(ctx context.Context) error { return h.write(ctx, key, version, ttl) })
	}
	h.c.Delete = func(ctx context.Context, key string) error {
		return write(ctx, key, func(ctx context.Context) error { return h.remove(ctx, key) })
	}
	return h
}

// run returns what the checker says.
func (h *aHistory) run(d time.Duration) (*history.Report, error) {
	h.t.Helper()
	h.c.Duration = d
	seen, err := history.Run(h.t.Context(), h.c)
	if err != nil {
		h.t.Fatal(err)
	}
	return history.Check(seen, history.Options{Require: h.require, Stories: 2})
}
