package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Config is a workload for [Run]. What has a default may be left zero.
type Config struct {
	Seed     uint64        // of every choice; what the scheduler and the network do is not theirs
	Recorder *Recorder     // default a new one; give it when loaders call LoadBegin
	Duration time.Duration // required

	Keys    int // default 16, named "k0", "k1", ...
	Writers int // default 2; a key always has the same one
	Readers int // default 2 for each instance

	WritePause time.Duration // mean pause of a writer between two writes; default 2 ms
	ReadPause  time.Duration // the same for a reader; default 200 µs
	FencePause time.Duration // the same between two fences of an instance; default 10 ms
	OpTimeout  time.Duration // bounds each operation; default 2 s

	// Write stores version under key, and for TTL > 0 lets it expire. An error leaves the outcome unknown, unless it is
	// ErrNotApplied. It must not try twice.
	Write func(ctx context.Context, key string, version uint64, ttl time.Duration) error
	// Delete removes key. Without it nothing is deleted; with it every eighth write is a delete.
	Delete func(ctx context.Context, key string) error
	// TTL is given to every eighth write. Default 0: none expires.
	TTL time.Duration

	Instances []Instance

	// Faults are done one at a time, chosen at random, FaultPause (default Duration/10) apart.
	Faults     []Step
	FaultPause time.Duration

	// Quiet, if not nil, is called when writers, readers and faults have ended, and before each key is read once more.
	Quiet func(ctx context.Context)
}

// Instance is a cache under test.
type Instance struct {
	Name   string
	Read   func(ctx context.Context, key string) (Observation, error)
	Fence  func(ctx context.Context) error // may be nil
	Synced func() bool                     // may be nil: then no gaps are seen and I3 is not tested
}

// Step is something done to the run. It ends when Do returns: Do undoes what is not to last.
type Step struct {
	Name      string
	Exclusive bool // no write is under way meanwhile
	Absent    bool // it leaves every key absent; Exclusive too
	Settles   bool // after it no earlier write of unknown outcome takes effect: their server is dead
	Do        func(ctx context.Context, rng *rand.Rand) error
}

// ErrNotApplied says that a write surely took no effect. Wrap it in what Config.Write and Delete return.
var ErrNotApplied = errors.New("history: not applied")

type run struct {
	Config
	ctx     context.Context // of operations
	done    <-chan struct{} // closed when nothing new is to begin
	writing sync.RWMutex    // held for reading by each write, for writing by exclusive steps
	version atomic.Uint64   // versions are unique over all keys: a value under the wrong key is found out
	newest  atomic.Uint64   // the key that was written last, where stale reads are most likely
}

// Run does the workload until Duration has passed or ctx ends, then fences every instance and reads every key once
// more. It returns the history, and an error when a step failed. All goroutines have ended then.
func Run(ctx context.Context, c Config) (*History, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.setDefaults()
	until, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	r := &run{Config: c, ctx: ctx, done: until.Done()}
	var stream uint64
	rng := func() *rand.Rand {
		stream++
		return rand.New(rand.NewPCG(c.Seed, stream))
	}
	var wg sync.WaitGroup
	for i := range c.Writers {
		rng := rng()
		wg.Go(func() { r.write(i, rng) })
	}
	for _, in := range c.Instances {
		for range c.Readers {
			rng := rng()
			wg.Go(func() { r.read(in, rng) })
		}
		fences := rng()
		wg.Go(func() { r.fence(in, fences) })
		wg.Go(func() { r.watch(in) })
	}
	err := r.disturb(rng())
	if err != nil {
		cancel()
	}
	wg.Wait()
	if err == nil && r.Quiet != nil {
		r.Quiet(ctx)
	}
	r.final()
	h := c.Recorder.History()
	h.Seed = c.Seed
	return h, err
}

func (c *Config) validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("history: Config.Duration is %v; give it a positive one", c.Duration)
	case c.Write == nil:
		return errors.New("history: Config.Write is nil; give it a function that writes")
	case len(c.Instances) == 0:
		return errors.New("history: Config.Instances is empty; give it a cache to test")
	case min(c.Keys, c.Writers, c.Readers) < 0:
		return errors.New("history: Config.Keys, Writers and Readers must not be negative")
	}
	names := make(map[string]bool)
	for _, in := range c.Instances {
		if in.Read == nil {
			return fmt.Errorf("history: Config.Instances: Read of %q is nil", in.Name)
		}
		if names[in.Name] {
			return fmt.Errorf("history: Config.Instances: two are named %q", in.Name)
		}
		names[in.Name] = true
	}
	for _, s := range c.Faults {
		if s.Do == nil {
			return fmt.Errorf("history: Config.Faults: Do of %q is nil", s.Name)
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	orElse(&c.Keys, 16)
	orElse(&c.Writers, 2)
	orElse(&c.Readers, 2)
	orElse(&c.WritePause, 2*time.Millisecond)
	orElse(&c.ReadPause, 200*time.Microsecond)
	orElse(&c.FencePause, 10*time.Millisecond)
	orElse(&c.OpTimeout, 2*time.Second)
	orElse(&c.FaultPause, c.Duration/10)
	if c.Recorder == nil {
		c.Recorder = NewRecorder()
	}
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

func keyName(i int) string { return "k" + strconv.Itoa(i) }

// pause waits for d on average; it is false when the run is over.
func (r *run) pause(d time.Duration, rng *rand.Rand) bool {
	timer := time.NewTimer(time.Duration(2 * rng.Float64() * float64(d)))
	defer timer.Stop()
	select {
	case <-r.done:
		return false
	case <-timer.C:
		return true
	}
}

func (r *run) op(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.OpTimeout)
	defer cancel()
	return f(ctx)
}

// write owns every Writers-th key.
func (r *run) write(first int, rng *rand.Rand) {
	log := r.Recorder.Log()
	mine := (r.Keys - first + r.Writers - 1) / r.Writers
	if mine <= 0 {
		return
	}
	for r.pause(r.WritePause, rng) {
		i := first + r.Writers*rng.IntN(mine)
		r.writeKey(log, i, rng.IntN(8))
		r.newest.Store(uint64(i))
	}
}

func (r *run) writeKey(log *Log, i, kind int) {
	r.writing.RLock()
	defer r.writing.RUnlock()
	key := keyName(i)
	if kind == 0 && r.Delete != nil {
		op := log.BeginWrite(key, Absent)
		op.Done(outcome(r.op(func(ctx context.Context) error { return r.Delete(ctx, key) })))
		return
	}
	version, ttl := r.version.Add(1), time.Duration(0)
	if kind == 1 {
		ttl = r.TTL
	}
	op := log.BeginExpiring(key, version, ttl)
	op.Done(outcome(r.op(func(ctx context.Context) error { return r.Write(ctx, key, version, ttl) })))
}

func outcome(err error) Outcome {
	switch {
	case err == nil:
		return Applied
	case errors.Is(err, ErrNotApplied):
		return NotApplied
	default:
		return Unknown
	}
}

// read looks half of the time where something has just changed.
func (r *run) read(in Instance, rng *rand.Rand) {
	log := r.Recorder.Log()
	for r.pause(r.ReadPause, rng) {
		i := rng.IntN(r.Keys)
		if rng.IntN(2) == 0 {
			i = int(r.newest.Load())
		}
		r.readKey(log, in, i)
	}
}

func (r *run) readKey(log *Log, in Instance, i int) {
	key := keyName(i)
	log.Read(in.Name, key, func() (o Observation, err error) {
		err = r.op(func(ctx context.Context) error {
			o, err = in.Read(ctx, key)
			return err
		})
		return o, err
	})
}

// fence reads what was written before the fence at once after it.
func (r *run) fence(in Instance, rng *rand.Rand) {
	if in.Fence == nil {
		return
	}
	log := r.Recorder.Log()
	for r.pause(r.FencePause, rng) {
		newest := int(r.newest.Load())
		if r.fenceOnce(log, in) == nil {
			r.readKey(log, in, newest)
			r.readKey(log, in, rng.IntN(r.Keys))
		}
	}
}

func (r *run) fenceOnce(log *Log, in Instance) error {
	return log.Fence(in.Name, func() error { return r.op(in.Fence) })
}

// watch records the gaps that an instance admits and that last until a look.
func (r *run) watch(in Instance) {
	if in.Synced == nil {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	open := false
	gap := Gap{Instance: in.Name}
	for {
		before := r.Recorder.Now()
		synced := in.Synced()
		switch after := r.Recorder.Now(); {
		case !synced && !open:
			open, gap.Lost, gap.Unsynced = true, after, before
		case !synced:
			gap.Unsynced = before
		case open:
			open, gap.Synced = false, after
			r.Recorder.Gap(gap)
		}
		select {
		case <-r.done:
			return
		case <-tick.C:
		}
	}
}

// disturb does the faults until the run is over.
func (r *run) disturb(rng *rand.Rand) error {
	if len(r.Faults) == 0 {
		<-r.done
		return nil
	}
	log := r.Recorder.Log()
	for r.pause(r.FaultPause, rng) {
		s := r.Faults[rng.IntN(len(r.Faults))]
		if err := r.step(log, s, rng); err != nil {
			return fmt.Errorf("history: seed %d: fault %q: %w", r.Seed, s.Name, err)
		}
	}
	return nil
}

func (r *run) step(log *Log, s Step, rng *rand.Rand) error {
	if s.Exclusive || s.Absent {
		r.writing.Lock()
		defer r.writing.Unlock()
	}
	start := r.Recorder.Now()
	var all *Op
	if s.Absent {
		all = log.BeginAll()
	}
	err := s.Do(r.ctx, rng)
	if all != nil {
		all.Done(outcome(err))
	}
	if s.Settles && err == nil {
		r.Recorder.Settle()
	}
	r.Recorder.Fault(s.Name, start)
	return err
}

// final shows what the caches hold when all is quiet.
func (r *run) final() {
	log := r.Recorder.Log()
	for _, in := range r.Instances {
		if in.Fence != nil {
			r.fenceOnce(log, in)
		}
		for i := range r.Keys {
			r.readKey(log, in, i)
		}
	}
}
