package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// pace is how fast everything under test goes: so fast that a broken promise shows at once.
type pace struct{ heartbeat, pongTimeout, audit, staleness time.Duration }

var brisk = pace{
	heartbeat: 20 * time.Millisecond, pongTimeout: 150 * time.Millisecond,
	audit: 100 * time.Millisecond, staleness: 150 * time.Millisecond,
}

// rig is a real Redis with a proxy in front of it. The processes under test reach it through the proxy, writers and
// loaders do not: what happens to a subscription happens to it alone.
type rig struct {
	t       testing.TB
	pace    pace
	server  *redistest.Server
	proxy   *faultproxy.Proxy
	voice   faultproxy.Links // the subscriptions
	direct  *redis.Client    // of writers and loaders
	ops     *redis.Client    // of who does the faults
	rec     *history.Recorder
	gates   chan *gate  // nil but in scenes: gets the load that is to wait
	slow    bool        // every load lingers
	gated   atomic.Bool // the next load is
	keys    int
	swaps   int // databases that SWAPDB has used
	moments int
	turn    atomic.Uint64
	procs   []*process
}

const historyPrefix = "k:"

func newRig(t testing.TB, at pace, serverArgs ...string) *rig {
	t.Helper()
	leak.Check(t)
	s := redistest.Start(t, serverArgs...)
	p := faultproxy.New(t, s.Addr())
	return &rig{
		t: t, pace: at, server: s, proxy: p, voice: p.Having("psubscribe"), direct: s.Client(t, swift), ops: s.Client(t),
		rec: history.NewRecorder(), keys: 16,
	}
}

// swift has a client try once and heed its context. The pool is as large as that for one reason: after so many failed
// dials it fails everybody for a second, though the server is back.
func swift(o *redis.Options) {
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.PoolSize = 10_000
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
		if err != nil {
			time.Sleep(20 * time.Millisecond) // go-redis logs each
		}
		return conn, err
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = time.Second, 2*time.Second, 2*time.Second
}

// process is one instance of a service: a tracker and two caches on it, one of single items, one built from those.
type process struct {
	*rig
	name    string
	tracker *invalidate.Tracker
	items   *Cache[string, item]
	pairs   *Cache[string, [2]item]

	// gap falls with the epoch; it was made in the last gap, and nil before the first.
	gap atomic.Pointer[invalidate.Validity]
}

// item is what a load found: a version, or history.Absent.
type item struct{ version, load uint64 }

// nothing is the error of a load that found no key.
type nothing struct{ item }

func (nothing) Error() string { return "absent" }
func (nothing) Unwrap() error { return ErrNotFound }

// process starts one, without some guards.
func (r *rig) process(name string, out guard.Set, shape func(*invalidate.Options, *Options[string, item])) *process {
	r.t.Helper()
	p := &process{rig: r, name: name}
	opts := invalidate.Options{Notify: notify.Options{
		Heartbeat: r.pace.heartbeat, PongTimeout: r.pace.pongTimeout, AuditEvery: r.pace.audit,
		Backoff: func(int) time.Duration { return 10*time.Millisecond + rand.N(30*time.Millisecond) },
	}}
	items := Options[string, item]{
		Prefix: historyPrefix, MaxEntries: 1000, MaxStaleness: r.pace.staleness, Load: p.load,
		NegativeTTL: time.Hour, TTL: time.Hour, LoadTimeout: time.Second, without: out,
	}
	if shape != nil {
		shape(&opts, &items)
	}
	opts.Notify.Hooks.Gap = func(string) { p.markGap() }
	rdb := r.server.Client(r.t, swift, func(o *redis.Options) {
		o.Addr, o.ClientName = r.proxy.Addr(), "process-"+name
		o.DialTimeout, o.ReadTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	eventually(r.t, "the process connects", func() (ok bool) { // its client's patience is short
		var err error
		p.tracker, err = invalidate.Connect(guard.Without(r.t.Context(), out), rdb, opts)
		return err == nil
	})
	tr := p.tracker
	r.t.Cleanup(func() { _ = tr.Close() })
	p.items = build(r.t, tr, items)
	p.pairs = build(r.t, tr, Options[string, [2]item]{
		NoKey: true, MaxEntries: 1000, MaxStaleness: r.pace.staleness, Load: p.loadPair, TTL: time.Hour, without: out,
	})
	r.procs = append(r.procs, p)
	return p
}

// markGap runs between the loss of a session and the next one's beginning, so between the last event and the epoch that
// makes up for those that are lost.
func (p *process) markGap() {
	rec, _ := p.tracker.Record(context.Background())
	v, _ := rec.Seal()
	p.gap.Store(&v)
}

// synced is false only while what is in memory is from before a gap that is not made up for: Tracker.Synced becomes true
// a moment after that.
func (p *process) synced() bool {
	v := p.gap.Load()
	if v == nil {
		return true
	}
	_, s := v.Check(time.Hour)
	return s == invalidate.Fallen || p.tracker.Synced()
}

// asker is in the context of a read of key: a load that it starts leaves its id there.
type asker struct {
	key  string
	load atomic.Uint64
}

type askerKey struct{}

func (p *process) load(ctx context.Context, k string) (item, error) {
	it := item{load: p.rec.LoadBegin(k)}
	if a, ok := ctx.Value(askerKey{}).(*asker); ok && a.key == k {
		a.load.Store(it.load)
	}
	sent := time.Now()
	pipe := p.direct.Pipeline()
	var get interface{ Uint64() (uint64, error) }
	if hashed(k) {
		get = pipe.HGet(ctx, historyPrefix+k, "version")
	} else {
		get = pipe.Get(ctx, historyPrefix+k)
	}
	ttl := pipe.Do(ctx, "PTTL", historyPrefix+k)
	_, _ = pipe.Exec(ctx) // each has its own error
	var err error
	if it.version, err = get.Uint64(); err != nil {
		if errors.Is(err, redis.Nil) {
			return item{}, nothing{it}
		}
		return item{}, err
	}
	switch ms, err := ttl.Int64(); {
	case err != nil:
		return item{}, err
	case ms >= 0:
		invalidate.ExpireAt(ctx, sent.Add(time.Duration(ms-1)*time.Millisecond))
	case ms == -2: // gone meanwhile
		invalidate.NoStore(ctx)
	}
	return it, p.linger(ctx)
}

// linger is what happens between a load's answer and its end: often nothing, now and then a while, in which the answer
// grows old; in a scene, until the scene goes on.
func (r *rig) linger(ctx context.Context) error {
	if r.gates == nil {
		if r.slow || rand.N(4) == 0 {
			time.Sleep(rand.N(3 * time.Millisecond))
		}
		return nil
	}
	if !r.gated.CompareAndSwap(true, false) {
		return nil
	}
	g := &gate{ctx: ctx, open: make(chan error)}
	r.gates <- g
	select {
	case err := <-g.open:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// found takes an absence for an item.
func found(it item, err error) (item, error) {
	var none nothing
	if errors.As(err, &none) {
		return none.item, nil
	}
	return it, err
}

// loadPair builds a value from two others, absent or not.
func (p *process) loadPair(ctx context.Context, k string) (pair [2]item, err error) {
	i, err := strconv.Atoi(k)
	if err != nil {
		return pair, err
	}
	for n := range pair {
		if pair[n], err = found(p.items.Get(ctx, historyKey((i+n)%p.keys))); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

func historyKey(i int) string { return "k" + strconv.Itoa(i) }

// hashed keys are hashes, the others strings.
func hashed(k string) bool { return (k[len(k)-1]-'0')%2 == 1 }

// read reads k in one of all ways. What this read did not load itself was in memory, or was being loaded when it came.
func (p *process) read(ctx context.Context, k string) (history.Observation, error) {
	a := &asker{key: k}
	ctx = context.WithValue(ctx, askerKey{}, a)
	var it item
	var err error
	switch p.turn.Add(1) % 4 {
	case 0:
		var r Result[item]
		r, err = p.items.Read(ctx, k, ReadOptions{})
		it, err = found(r.Value, err)
	case 1:
		var m map[string]item
		m, err = p.items.GetMany(ctx, []string{historyKey(0), k})
		it = m[k] // the load of an absence is not told
	default:
		it, err = found(p.items.Get(ctx, k))
	}
	return p.saw(it, a.load.Load() != it.load || it.load == 0), err
}

// readFenced sees every write that completed before it.
func (p *process) readFenced(ctx context.Context, k string) (history.Observation, error) {
	a := &asker{key: k}
	r, err := p.items.Read(context.WithValue(ctx, askerKey{}, a), k, ReadOptions{Fence: true})
	it, err := found(r.Value, err)
	return p.saw(it, a.load.Load() != it.load), err
}

// readPair reads k as a part of one of the two values that are built from it. They are never older than what they are
// built from may be, so each read counts as one from memory.
func (p *process) readPair(ctx context.Context, k string) (history.Observation, error) {
	i, err := strconv.Atoi(k[1:])
	if err != nil {
		return history.Observation{}, err
	}
	n := int(p.turn.Add(1) % 2)
	pair, err := p.pairs.Get(ctx, strconv.Itoa((i-n+p.keys)%p.keys))
	return p.saw(pair[n], true), err
}

func (p *process) saw(it item, hit bool) history.Observation {
	return history.Observation{Version: it.version, Load: it.load, Hit: hit, Bound: p.pace.staleness}
}

// instances are p's caches as the workload knows them. A read that is fenced by itself needs no fence before it.
func (p *process) instances() []history.Instance {
	return []history.Instance{
		{Name: p.name + " items", Read: p.read, Fence: p.tracker.Fence, Synced: p.synced},
		{Name: p.name + " pairs", Read: p.readPair, Fence: p.tracker.Fence, Synced: p.synced},
		{Name: p.name + " fenced", Read: p.readFenced, Fence: noFence, Synced: p.synced},
	}
}

func noFence(context.Context) error { return nil }

// write is done by a plain client: the cache hears of it from Redis alone.
func (r *rig) write(ctx context.Context, k string, version uint64, ttl time.Duration) error {
	name := historyPrefix + k
	_, err := r.direct.TxPipelined(ctx, func(p redis.Pipeliner) error {
		switch {
		case hashed(k):
			p.Del(ctx, name) // and its TTL
			p.HSet(ctx, name, "version", version)
		case version%2 == 0:
			p.Set(ctx, name, version, ttl)
			return nil
		default:
			p.Set(ctx, name, version, 0)
		}
		if ttl > 0 {
			p.PExpire(ctx, name, ttl)
		}
		return nil
	})
	return applied(err)
}

func (r *rig) remove(ctx context.Context, k string) error {
	if r.turn.Add(1)%2 == 0 {
		return applied(r.direct.PExpire(ctx, historyPrefix+k, 0).Err())
	}
	return applied(r.direct.Del(ctx, historyPrefix+k).Err())
}

// applied tells the errors that prove that nothing was done from those that prove nothing.
func applied(err error) error {
	var op *net.OpError
	refused := errors.As(err, &op) && op.Op == "dial"
	for _, code := range []string{"BUSY", "LOADING", "EXECABORT"} {
		refused = refused || redis.HasErrorPrefix(err, code)
	}
	if refused {
		return fmt.Errorf("%w: %w", history.ErrNotApplied, err)
	}
	return err
}

// healed waits until every process serves from memory again.
func (r *rig) healed() {
	r.t.Helper()
	for _, p := range r.procs {
		eventually(r.t, p.name+" serves from memory again", func() bool {
			o, err := p.read(r.t.Context(), "k0")
			return err == nil && o.Hit && p.tracker.Synced()
		})
	}
}

// historySeed is the run's, to be repeated with FRESHET_HISTORY_SEED.
func historySeed(t testing.TB) uint64 {
	t.Helper()
	return historyEnv(t, "FRESHET_HISTORY_SEED", rand.Uint64())
}

func historyEnv(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: give a whole number: %v", name, s, err)
	}
	return n
}
