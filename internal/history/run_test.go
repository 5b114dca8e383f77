package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
)

// toy is a store with a cache that hears its changes, all in one mutex. The switches break it.
type toy struct {
	rec *Recorder

	mu      sync.Mutex
	store   map[string]uint64
	cache   map[string]entry
	lost    bool // events do not arrive
	pending []string

	deaf          bool // never hears anything
	keepsOverGap  bool // does not flush after a gap
	fenceDoesNone bool // returns without waiting for what is pending
	lags          bool // hears only at fences
}

type entry struct{ version, load uint64 }

func newToy() *toy {
	return &toy{rec: NewRecorder(), store: make(map[string]uint64), cache: make(map[string]entry)}
}

func (s *toy) write(_ context.Context, key string, version uint64, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version%50 == 0 {
		return ErrNotApplied
	}
	s.store[key] = version
	s.changed(key)
	if version%50 == 1 {
		return errors.New("no answer")
	}
	return nil
}

func (s *toy) delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.store, key)
	s.changed(key)
	return nil
}

func (s *toy) changed(key string) {
	switch {
	case s.deaf || s.lost:
	case s.lags:
		s.pending = append(s.pending, key)
	default:
		delete(s.cache, key)
	}
}

func (s *toy) read(_ context.Context, key string) (Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, hit := s.cache[key]
	hit = hit && !s.lost
	if !hit {
		e.load = s.rec.LoadBegin(key)
		e.version = s.store[key]
		s.cache[key] = e
	}
	return Observation{Version: e.version, Load: e.load, Hit: hit, Bound: 20 * time.Millisecond}, nil
}

func (s *toy) fence(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return errors.New("in a gap")
	}
	if !s.fenceDoesNone {
		for _, key := range s.pending {
			delete(s.cache, key)
		}
		s.pending = nil
	}
	return nil
}

func (s *toy) synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.lost
}

func (s *toy) gap(context.Context, *rand.Rand) error {
	s.mu.Lock()
	s.lost = true
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	s.lost = false
	if !s.keepsOverGap {
		clear(s.cache)
	}
	s.mu.Unlock()
	return nil
}

func (s *toy) flush(context.Context, *rand.Rand) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.store {
		s.changed(key)
	}
	clear(s.store)
	return nil
}

func (s *toy) config() Config {
	return Config{
		Seed: 1, Recorder: s.rec, Duration: 300 * time.Millisecond,
		WritePause: time.Millisecond, FencePause: 2 * time.Millisecond, FaultPause: 10 * time.Millisecond,
		Write: s.write, Delete: s.delete,
		Instances: []Instance{{Name: "toy", Read: s.read, Fence: s.fence, Synced: s.synced}},
		Faults: []Step{
			{Name: "gap", Do: s.gap},
			{Name: "flush", Absent: true, Settles: true, Do: s.flush},
		},
	}
}

// A checker that catches nobody proves nothing: each broken toy breaks the promise that its switch is about.
func TestRunCatches(t *testing.T) {
	leak.Check(t)
	for _, c := range []struct {
		name  string
		spoil func(*toy)
		want  []Kind // nil for none at all
	}{
		{"sound", func(*toy) {}, nil},
		{"deaf", func(s *toy) { s.deaf = true }, []Kind{I1, I2}},
		{"keeps over gaps", func(s *toy) { s.keepsOverGap = true }, []Kind{I3}},
		{"fences nothing", func(s *toy) { s.fenceDoesNone, s.lags = true, true }, []Kind{I1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newToy()
			c.spoil(s)
			h, err := Run(t.Context(), s.config())
			if err != nil {
				t.Fatal(err)
			}
			r, err := Check(h, Options{Require: []Kind{I1, I2, I3, Source}})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil && r.Err() != nil {
				t.Error(r.Err())
			}
			for _, k := range c.want {
				if r.Broken[k] == 0 {
					t.Errorf("%v was not caught\n%v", k, r)
				}
			}
			if r.Broken[Corrupt]+r.Broken[Source] > 0 || r.Seed != 1 || r.UnknownWrites == 0 || len(h.Faults) == 0 {
				t.Error(r)
			}
		})
	}
}

// What happens while all is quiet comes after every write, and before the last look at every key.
func TestRunQuiet(t *testing.T) {
	leak.Check(t)
	s := newToy()
	s.deaf = true
	c := s.config()
	c.Recorder, c.Keys = s.rec, 4
	var quiet time.Duration
	c.Quiet = func(context.Context) { quiet = s.rec.Now() }
	h, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range h.Writes {
		if quiet == 0 || w.Start > quiet {
			t.Fatalf("%v was not over when all was quiet, at %v", w, quiet)
		}
	}
	last := 0
	for _, r := range h.Reads {
		if r.Start >= quiet {
			last++
		}
	}
	if last != c.Keys {
		t.Errorf("%d reads after all was quiet, want one for each of %d keys", last, c.Keys)
	}
}

func TestRunEndsWithFailedStep(t *testing.T) {
	leak.Check(t)
	s := newToy()
	c := s.config()
	c.Duration = time.Hour
	c.FaultPause = time.Millisecond
	broken := errors.New("broken")
	c.Faults = []Step{{Name: "bad", Do: func(context.Context, *rand.Rand) error { return broken }}}
	h, err := Run(t.Context(), c)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), `fault "bad"`) || len(h.Faults) != 1 {
		t.Errorf("Run: %v", err)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	leak.Check(t)
	s := newToy()
	c := s.config()
	c.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, c); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunBadConfig(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"Duration":        func(c *Config) { c.Duration = 0 },
		"Write":           func(c *Config) { c.Write = nil },
		"Instances":       func(c *Config) { c.Instances = nil },
		`Read of "toy"`:   func(c *Config) { c.Instances[0].Read = nil },
		`two are named`:   func(c *Config) { c.Instances = append(c.Instances, c.Instances[0]) },
		"not be negative": func(c *Config) { c.Keys = -1 },
		`Do of "gap"`:     func(c *Config) { c.Faults[0].Do = nil },
	} {
		c := newToy().config()
		spoil(&c)
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want %q in it", err, want)
		}
	}
}

func TestRecorder(t *testing.T) {
	rec := NewRecorder()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			log := rec.Log()
			for range 100 {
				log.Read("a", "k", func() (Observation, error) {
					return Observation{Version: 1, Load: rec.LoadBegin("k")}, nil
				})
			}
			log.Read("a", "k", func() (Observation, error) { return Observation{}, errors.New("down") })
			log.Fence("a", func() error { return nil })
			log.Fence("a", func() error { return errors.New("down") })
		})
	}
	wg.Wait()
	log := rec.Log()
	log.BeginWrite("k", 1).Done(Applied)
	log.BeginAll().Done(Applied)
	log.BeginExpiring("k", 2, time.Second) // never done
	rec.Gap(Gap{Instance: "a"})
	rec.Settle()
	rec.Fault("f", rec.Now())
	h := rec.History()
	if len(h.Reads) != 400 || h.ReadErrors != 4 || len(h.Loads) != 400 || len(h.Fences) != 4 || h.FenceErrors != 4 ||
		len(h.Gaps) != 1 || len(h.Settled) != 1 || len(h.Faults) != 1 {
		t.Errorf("%d reads, %d failed, %d loads, %d fences, %d failed", len(h.Reads), h.ReadErrors, len(h.Loads),
			len(h.Fences), h.FenceErrors)
	}
	seen := make(map[uint64]bool)
	for _, r := range h.Reads {
		seen[r.Load] = true
		if r.Start > r.End || h.Loads[r.Load-1].Start < r.Start || h.Loads[r.Load-1].Start > r.End {
			t.Fatalf("%v, load %v", r, h.Loads[r.Load-1])
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d load ids", len(seen))
	}
	if len(h.Writes) != 3 || h.Writes[0].Outcome != Applied || !h.Writes[1].All || h.Writes[2].Outcome != Unknown ||
		h.Writes[2].End != h.Writes[2].Start || h.Writes[2].TTL != time.Second {
		t.Errorf("writes %v", h.Writes)
	}
}
