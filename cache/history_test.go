package cache

import (
	"context"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
)

// twoProcesses start as services differ: one hears every key and has room for all, the other hears its caches' alone and
// must evict.
func (r *rig) twoProcesses() {
	r.t.Helper()
	r.process("a", 0, nil)
	r.process("b", 0, func(o *invalidate.Options, c *Options[string, item]) {
		o.FollowCaches = true
		c.MaxEntries = 6
	})
}

// TestHistory: whatever happens to Redis and to the connections, what was written by plain clients and read through two
// processes' caches, and through values built from cached ones, keeps I1, I2 and I3. Each fault alone first, then all.
func TestHistory(t *testing.T) {
	t.Run("calm", func(t *testing.T) { runHistory(t, time.Second, nil, nil) })
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) { runHistory(t, 1500*time.Millisecond, []fault{f}, f.args) })
	}
	mixed := time.Duration(historyEnv(t, "FRESHET_HISTORY_SECONDS", 6)) * time.Second
	t.Run("all that is heard", func(t *testing.T) {
		fs, args := chosen(func(f fault) bool { return !f.late })
		runHistory(t, mixed, fs, args)
	})
	t.Run("all", func(t *testing.T) {
		fs, args := chosen(func(fault) bool { return true })
		runHistory(t, mixed, fs, args)
	})
}

func runHistory(t *testing.T, d time.Duration, fs []fault, args []string) {
	r := newRig(t, brisk, args...)
	r.twoProcesses()
	c := r.workload(historySeed(t), d)
	c.FaultPause = 150 * time.Millisecond
	require := []history.Kind{history.I1, history.I2, history.Source}
	late := false
	for _, f := range fs {
		c.Faults = append(c.Faults, f.step(r))
		late = late || f.late
		if f.gap {
			require = append(require, history.I3)
		}
	}
	if late {
		// No event tells of it and no fence waits for it: it is found by looking.
		require = require[1:]
		looked := r.pace.audit + r.pace.pongTimeout
		for i, in := range c.Instances {
			in.Fence = nil
			read := in.Read
			in.Read = func(ctx context.Context, key string) (history.Observation, error) {
				o, err := read(ctx, key)
				o.Bound += looked
				return o, err
			}
			c.Instances[i] = in
		}
	}
	h, err := history.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	report, err := history.Check(h, history.Options{Require: require})
	if err != nil {
		t.Fatal(err, report)
	}
	t.Log(report)
	if err := report.Err(); err != nil {
		t.Errorf("repeat with FRESHET_HISTORY_SEED=%d: %v", c.Seed, err)
	}
	for _, p := range r.procs {
		if s := p.items.Stats(); s.Hits == 0 || s.Misses == 0 {
			t.Errorf("%s: %d hits, %d misses: nothing was seen", p.name, s.Hits, s.Misses)
		}
	}
	r.healed()
}
