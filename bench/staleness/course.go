package staleness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// stage is a server, a client of those who write and do the faults, and a
// proxy through which all sides go.
type stage struct {
	server *redistest.Server
	direct *redis.Client
	proxy  *faultproxy.Proxy
	hands  *hands
}

func newStage() (*stage, error) {
	// Notifications are on for the naive subscriber's sake, also after a restart; Freshet sees to them itself.
	server, err := redistest.Run("--notify-keyspace-events", "KEA")
	if err != nil {
		return nil, err
	}
	h := new(hands)
	proxy, err := h.proxy(server.Addr())
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &stage{server: server, hands: h, proxy: proxy, direct: redis.NewClient(&redis.Options{
		Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true, // a write must not take effect twice
	})}, nil
}

func (s *stage) close() error {
	s.hands.close()
	return errors.Join(s.direct.Close(), s.server.Close(), s.hands.err())
}

// hands give the proxy, which is made for tests, what it wants of one.
type hands struct {
	testing.TB // none: nothing else of it is used
	mu         sync.Mutex
	cleanups   []func()
	errs       []error
}

func (h *hands) Helper() {}

func (h *hands) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

func (h *hands) Errorf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, fmt.Errorf(format, args...))
}

// Fatalf does not return, as nobody expects it to: see proxy.
func (h *hands) Fatalf(format string, args ...any) {
	h.Errorf(format, args...)
	panic(h)
}

// proxy turns the end of a test into an error.
func (h *hands) proxy(target string) (p *faultproxy.Proxy, err error) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case h:
			err = h.err()
		default:
			panic(r)
		}
	}()
	return faultproxy.New(h, target), nil
}

func (h *hands) close() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}

func (h *hands) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.errs...)
}

// tally is what one side showed in one course.
type tally struct {
	staleness []time.Duration // of every read that succeeded, sorted
	hits      int             // known to be
	failed    int
	forever   int // keys wrong when all was quiet
	unread    int // keys that could not be read then
	broken    int // reads that broke a promise of ours
	story     string
}

// cast is a side with what was not seen by the recorder.
type cast struct {
	kind
	*side
	failed atomic.Int64
	dead   atomic.Bool // does not answer at the end: the last look need not wait for each of its keys
}

const opTimeout = 500 * time.Millisecond

var errDead = errors.New("does not answer")

// course runs all sides at once through one fault. The tallies stand in the
// order of o.kinds; there are none when it did not come to its end.
func (o options) course(ctx context.Context, f fault, seed uint64) (tallies []*tally, err error) {
	s, err := newStage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	rec := history.NewRecorder()
	c := history.Config{
		Seed: seed, Recorder: rec, Duration: o.duration, Keys: o.keys, Writers: o.writers, Readers: o.readers, OpTimeout: opTimeout,
		WritePause: time.Duration(float64(o.writers) / o.rate * float64(time.Second)), ReadPause: time.Millisecond, FencePause: 5 * time.Millisecond,
		FaultPause: o.duration / 4,
		Write: func(ctx context.Context, key string, version uint64, ttl time.Duration) error {
			return s.direct.Set(ctx, redisPrefix+key, version, ttl).Err()
		},
		Delete: func(ctx context.Context, key string) error { return s.direct.Del(ctx, redisPrefix+key).Err() },
	}
	if f.step != nil {
		step := f.step(s)
		step.Name = f.name
		c.Faults = []history.Step{step}
	}
	var all []*cast
	// Last opened, first closed; what cannot say goodbye over a dead connection is no failure of the measurement.
	defer func() {
		for _, a := range slices.Backward(all) {
			_ = a.close()
		}
	}()
	for _, k := range o.kinds {
		opened, err := k.open(ctx, s.proxy.Addr())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		a := &cast{kind: k, side: opened}
		all = append(all, a)
		c.Instances = append(c.Instances, a.instance())
	}
	var quiet time.Duration
	c.Quiet = func(ctx context.Context) {
		s.settle(ctx, all, o.keys, f.patience)
		quiet = rec.Now()
	}
	h, err := history.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return judge(h, all, o.keys, quiet)
}

func (a *cast) instance() history.Instance {
	in := history.Instance{Name: a.name, Read: func(ctx context.Context, key string) (history.Observation, error) {
		if a.dead.Load() {
			return history.Observation{}, errDead
		}
		o, err := a.read(ctx, key)
		if err != nil {
			a.failed.Add(1)
		}
		return o, err
	}}
	if a.fenced {
		in.Fence = func(context.Context) error { return nil } // each read is fenced by itself
	}
	return in
}

// settle waits until every side agrees with the server on every key, or for as
// long as patience lasts. Sides are read meanwhile, as a service would.
func (s *stage) settle(ctx context.Context, all []*cast, keys int, patience time.Duration) {
	deadline := time.Now().Add(patience)
	for {
		var wg sync.WaitGroup
		var wrong atomic.Int64
		for _, a := range all {
			wg.Go(func() {
				agrees, answers := s.agree(ctx, a, keys)
				a.dead.Store(!answers)
				if !agrees {
					wrong.Add(1)
				}
			})
		}
		wg.Wait()
		if wrong.Load() == 0 || !time.Now().Before(deadline) || ctx.Err() != nil {
			return
		}
		rest(ctx, min(200*time.Millisecond, time.Until(deadline)))
	}
}

// agree ends with the first read that fails.
func (s *stage) agree(ctx context.Context, a *cast, keys int) (agrees, answers bool) {
	agrees = true
	for i := range keys {
		key := "k" + strconv.Itoa(i) // as history names them
		one, cancel := context.WithTimeout(ctx, opTimeout)
		o, err := a.read(one, key)
		truth, truthErr := absent(get(one, s.direct, key))
		cancel()
		if err != nil {
			return false, false
		}
		agrees = agrees && truthErr == nil && o.Version == truth
	}
	return agrees, true
}

// judge has the checker say how stale each read was.
func judge(h *history.History, all []*cast, keys int, quiet time.Duration) ([]*tally, error) {
	byName := make(map[string]*tally)
	kindOf := make(map[string]kind)
	var tallies []*tally
	for _, a := range all {
		t := &tally{failed: int(a.failed.Load()), unread: keys}
		tallies, byName[a.name], kindOf[a.name] = append(tallies, t), t, a.kind
	}
	seen := make(map[history.Read]bool)
	convict := func(r history.Read, why string) {
		if t := byName[r.Instance]; !seen[r] {
			seen[r] = true
			if t.broken++; t.broken == 1 {
				t.story = why
			}
		}
	}
	report, err := history.Check(h, history.Options{Stories: 1 << 10, Each: func(r history.Read, least, _ time.Duration) {
		t := byName[r.Instance]
		if r.Start >= quiet { // the last look
			t.unread--
			if least > 0 {
				t.forever++
			}
		} else {
			t.staleness = append(t.staleness, least)
			if r.Hit {
				t.hits++
			}
		}
		if least > 0 && kindOf[r.Instance].fenced {
			convict(r, fmt.Sprintf("%v: replaced %v before it began", r, least))
		}
	}})
	if err != nil {
		return nil, err
	}
	for _, v := range report.Violations {
		if k := kindOf[v.Read.Instance]; k.fenced || k.bound > 0 || v.Kind == history.Corrupt {
			convict(v.Read, v.Story)
		}
	}
	for _, t := range tallies {
		slices.Sort(t.staleness)
	}
	return tallies, nil
}

// quantile is the p-th, 0 to 1, of how stale the reads were.
func (t *tally) quantile(p float64) time.Duration {
	if len(t.staleness) == 0 {
		return 0
	}
	return t.staleness[int(p*float64(len(t.staleness)-1))]
}

// share is the percentage of reads that were staler than d.
func (t *tally) share(d time.Duration) float64 {
	if len(t.staleness) == 0 {
		return 0
	}
	n, _ := slices.BinarySearch(t.staleness, d+1)
	return 100 * float64(len(t.staleness)-n) / float64(len(t.staleness))
}
