package cache

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// A checker that catches nobody proves nothing: with any one guard taken out it convicts, and with none it acquits, in
// the very schedule that the guard is for.
func TestHistoryGuards(t *testing.T) {
	long := pace{heartbeat: 20 * time.Millisecond, pongTimeout: within, audit: -1, staleness: time.Hour}
	short := long
	short.staleness = 100 * time.Millisecond
	for _, c := range []struct {
		name string
		out  guard.Set
		pace pace
		want []history.Kind
		play func(*scene)
	}{
		{"slots", guard.Slots, long, []history.Kind{history.I1}, (*scene).rewrite},
		{"order", guard.Order, long, []history.Kind{history.I1}, (*scene).parentsWhileFalling},
		{"watermark", guard.Watermark, short, []history.Kind{history.I2}, (*scene).silentLink},
		{"epoch", guard.Epoch, long, []history.Kind{history.I1, history.I3}, (*scene).writeInGap},
		{"flush", guard.Flush, long, []history.Kind{history.I1}, (*scene).flushAll},
		{"fence", guard.Fence, long, []history.Kind{history.I1}, (*scene).fenceOverHeldEvent},
		{"fenced read", guard.Fence, long, []history.Kind{history.I1}, (*scene).fencedReadOverHeldEvent},
		{"own", guard.Own, long, []history.Kind{history.I1}, (*scene).writeOverHeldEcho},
		{"seal", guard.Seal, long, []history.Kind{history.I1}, (*scene).stalePut},
		{"join", guard.Join, long, []history.Kind{history.I1}, (*scene).joinOldLoad},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, out := range []guard.Set{0, c.out} {
				s := newScene(t, c.pace, out)
				c.play(s)
				report, err := history.Check(s.rec.History(), history.Options{Require: c.want})
				if err != nil {
					t.Fatal(err, report)
				}
				if out == 0 && report.Err() != nil {
					t.Error(report.Err())
				}
				for _, k := range c.want {
					if out != 0 && report.Broken[k] == 0 {
						t.Errorf("%v was not caught with the guard out\n%v", k, report)
					}
				}
			}
		})
	}
}

// scene is one process and one hand that writes and reads its first key.
type scene struct {
	*rig
	*history.Log
	p       *process
	readKey func(context.Context, string) (history.Observation, error)
	out     guard.Set
	version uint64
}

const sceneKey = "k0"

func newScene(t *testing.T, at pace, out guard.Set, serverArgs ...string) *scene {
	r := newRig(t, at, serverArgs...)
	r.gates = make(chan *gate)
	s := &scene{rig: r, Log: r.rec.Log(), p: r.process("a", out, nil), out: out}
	s.readKey = s.p.read
	s.put()
	eventually(t, "its event comes", func() bool { return s.p.tracker.Stats().Events > 0 }) // a fence may be out
	s.fenced()
	for range 3 {
		s.get()
	}
	return s
}

// attempt fails the test for an error that is no part of the schedule.
func (s *scene) attempt(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) put() {
	s.t.Helper()
	s.version++
	op := s.BeginWrite(sceneKey, s.version)
	s.attempt(s.write(s.t.Context(), sceneKey, s.version, 0))
	op.Done(history.Applied)
}

func (s *scene) get() {
	s.t.Helper()
	s.attempt(s.look(s.Log))
}

func (s *scene) look(log *history.Log) error {
	return log.Read("a", sceneKey, func() (history.Observation, error) { return s.readKey(s.t.Context(), sceneKey) })
}

// later is get on a goroutine and log of its own.
func (s *scene) later() *call[struct{}] {
	log := s.rec.Log()
	return async(func() (struct{}, error) { return struct{}{}, s.look(log) })
}

// slowly is later with a load that has read the truth and waits.
func (s *scene) slowly() (*call[struct{}], *gate) {
	s.t.Helper()
	s.gated.Store(true)
	c := s.later()
	return c, (&origin{gates: s.gates}).next(s.t)
}

func (s *scene) fenced() {
	s.t.Helper()
	s.attempt(s.Fence("a", func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), within)
		defer cancel()
		return s.p.tracker.Fence(ctx)
	}))
}

// told says that the process knows of all that was written: it wrote it, or its events have long come.
func (s *scene) told() { _ = s.Fence("a", func() error { return nil }) }

func (s *scene) rewrite() {
	s.put()
	s.fenced()
	s.get()
}

// silentLink: the event is lost, nothing is reset, and the session does not know yet.
func (s *scene) silentLink() {
	s.voice.Drop(faultproxy.ToClient)
	s.put()
	time.Sleep(s.pace.staleness + 10*time.Millisecond)
	s.get()
}

func (s *scene) writeInGap() {
	s.proxy.Refuse()
	s.proxy.Cut(faultproxy.RST)
	eventually(s.t, "the session is lost", func() bool { return !s.p.synced() })
	s.put()
	g := history.Gap{Instance: "a", Unsynced: s.rec.Now()}
	s.proxy.Accept()
	s.attempt(s.p.tracker.WaitSynced(s.t.Context()))
	g.Synced = s.rec.Now()
	s.rec.Gap(g)
	s.fenced()
	s.get()
	s.get()
}

func (s *scene) flushAll() {
	op := s.BeginAll()
	s.attempt(s.ops.FlushAll(s.t.Context()).Err())
	op.Done(history.Applied)
	s.fenced()
	s.get()
}

func (s *scene) fenceOverHeldEvent() {
	s.voice.Hold(faultproxy.ToClient)
	s.put()
	err := s.Fence("a", func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Millisecond)
		defer cancel()
		return s.p.tracker.Fence(ctx)
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.t.Error(err)
	}
	s.get()
	s.voice.Release(faultproxy.ToClient)
	s.fenced()
	s.get()
}

func (s *scene) fencedReadOverHeldEvent() {
	s.voice.Hold(faultproxy.ToClient)
	s.put()
	_ = s.Fence("fenced", func() error { return nil }) // the read is one
	s.attempt(s.Read("fenced", sceneKey, func() (history.Observation, error) { return s.p.readFenced(s.t.Context(), sceneKey) }))
}

func (s *scene) writeOverHeldEcho() {
	s.voice.Hold(faultproxy.ToClient)
	s.version++
	op := s.BeginWrite(sceneKey, s.version)
	s.attempt(s.p.items.Write(s.t.Context(), sceneKey, func(ctx context.Context) error {
		return s.write(ctx, sceneKey, s.version, 0)
	}))
	op.Done(history.Applied)
	s.told()
	s.get()
}

// stalePut: what was read before a write is stored after its invalidation.
func (s *scene) stalePut() {
	s.put()
	s.fenced()
	first, g := s.slowly()
	s.put()
	s.fenced()
	g.open <- nil
	_, err := first.wait(s.t)
	s.attempt(err)
	s.get()
}

// joinOldLoad: who reads after a fence finds a load under way that began before the write.
func (s *scene) joinOldLoad() {
	s.put()
	s.fenced()
	first, g := s.slowly()
	s.put()
	s.fenced()
	second := s.later()
	waiting(s.t, s.p.items, sceneKey, 2)
	g.open <- nil
	for _, c := range []*call[struct{}]{first, second} {
		_, err := c.wait(s.t)
		s.attempt(err)
	}
}

// parentsWhileFalling: while many names fall under one stamp, the key as the last of them, values are built from what is
// in memory of it. With the counter published first they bear a stamp that their part's fall cannot exceed. How long the
// ledger takes leaves room for hundreds of loads; that none falls into it is possible, so it is tried again.
func (s *scene) parentsWhileFalling() {
	parents := build(s.t, s.p.tracker, Options[int, item]{NoKey: true, MaxEntries: 100_000, MaxStaleness: s.pace.staleness,
		Load: func(ctx context.Context, _ int) (item, error) { return s.p.items.Get(ctx, sceneKey) }})
	names := make([]invalidate.Name, 100_000) // fewer than a storm (R13)
	for i := range names {
		names[i] = invalidate.Key("other:" + strconv.Itoa(i))
	}
	names[len(names)-1] = s.p.items.NameOf(sceneKey)
	s.voice.Hold(faultproxy.ToClient) // the fall is this process's own doing
	tries := 1
	if s.out != 0 {
		tries = 50
	}
	for stale, built := false, 0; tries > 0 && !stale; tries-- {
		s.get() // in memory
		s.put()
		fall := async(func() (struct{}, error) { s.p.tracker.Forget(names...); return struct{}{}, nil })
		from := built
		for falling := true; falling && built < from+1000; built++ {
			select {
			case <-fall.done:
				falling = false
			default:
			}
			_, err := parents.Get(s.t.Context(), built)
			s.attempt(err)
		}
		_, _ = fall.wait(s.t)
		s.told()
		for i := from; i < built; i++ {
			s.attempt(s.Read("a", sceneKey, func() (history.Observation, error) {
				it, err := parents.Get(s.t.Context(), i)
				stale = stale || it.version < s.version
				return history.Observation{Version: it.version, Load: it.load, Hit: true}, err
			}))
		}
	}
}

// The same runs that the cache passes, with a guard out: each is found out within a few.
func TestHistoryFindsWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		out   guard.Set
		fault string
		want  history.Kind
	}{
		{"slots", guard.Slots, "", history.I1},
		{"watermark", guard.Watermark, "hold", history.I2},
		{"epoch", guard.Epoch, "cut", history.I3},
		{"flush", guard.Flush, "flush", history.I1},
		{"fence", guard.Fence, "hold", history.I1},
		{"own", guard.Own, "hold", history.I1},
		{"seal", guard.Seal, "", history.I1},
		{"join", guard.Join, "", history.I1},
	} {
		t.Run(c.name, func(t *testing.T) {
			foundOut(t, c.want, func(t *testing.T, d time.Duration) (*history.Report, error) {
				var fs []fault
				if c.fault != "" {
					fs = append(fs, named(c.fault))
				}
				h := newHistory(t, c.out, fs...)
				switch c.out {
				case guard.Own:
					h.ownWrites()
				case guard.Epoch: // what was written in a gap is not to be written again at once
					h.keys, h.c.Keys = 60, 60
				case guard.Seal, guard.Join: // what began before a write is to end after it
					h.slow = true
					h.keys, h.c.Keys, h.c.Readers = 4, 4, 3
				}
				return h.run(d)
			})
		})
	}
}

func foundOut(t *testing.T, want history.Kind, run func(*testing.T, time.Duration) (*history.Report, error)) {
	t.Helper()
	for d, found := 700*time.Millisecond, false; !found; d += d / 2 {
		if d > 15*time.Second {
			t.Fatalf("%v was not caught", want)
		}
		ok := t.Run(d.String(), func(t *testing.T) {
			report, err := run(t, d)
			if err != nil && !errors.Is(err, history.ErrUntested) {
				t.Fatal(err)
			}
			t.Log(report)
			found = report.Broken[want] > 0
		})
		if !ok {
			return
		}
	}
}

// tutorial is the cache that is shown everywhere: subscribe, range over Channel(), delete on message.
type tutorial struct {
	*process
	memory sync.Map
	heard  atomic.Int64
}

func newTutorial(r *rig) *tutorial {
	tut := &tutorial{process: &process{rig: r, name: "tutorial"}}
	ctx := r.t.Context()
	if err := r.ops.ConfigSet(ctx, "notify-keyspace-events", "KEA").Err(); err != nil {
		r.t.Fatal(err)
	}
	rdb := r.server.Client(r.t, func(o *redis.Options) { o.Addr = r.proxy.Addr() })
	sub := rdb.PSubscribe(ctx, "__keyspace@0__:"+historyPrefix+"*")
	if _, err := sub.Receive(ctx); err != nil {
		r.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for m := range sub.Channel() {
			tut.memory.Delete(m.Channel[len("__keyspace@0__:"+historyPrefix):])
			tut.heard.Add(1)
		}
	})
	r.t.Cleanup(func() {
		_ = sub.Close()
		wg.Wait()
	})
	return tut
}

func (tut *tutorial) read(ctx context.Context, k string) (history.Observation, error) {
	if v, ok := tut.memory.Load(k); ok {
		return tut.saw(v.(item), true), nil
	}
	it, err := found(tut.load(ctx, k))
	if err == nil {
		tut.memory.Store(k, it)
	}
	return tut.saw(it, false), err
}

// The tutorial's subscriber breaks the bound whenever something happens to its subscription or to all keys at once, and
// when all is calm: what was read before a write is stored after its deletion.
func TestHistoryFindsTheTutorialOut(t *testing.T) {
	t.Run("calm", tutorialStalePut)
	for _, name := range []string{"kill subscriptions", "silence", "flush"} {
		t.Run(name, func(t *testing.T) {
			foundOut(t, history.I2, func(t *testing.T, d time.Duration) (*history.Report, error) {
				r := newRig(t, brisk)
				r.keys = 96
				tut := newTutorial(r)
				h := &aHistory{rig: r, require: []history.Kind{history.I2}, c: history.Config{
					Seed: historySeed(t), Recorder: r.rec, Keys: r.keys, WritePause: 2 * time.Millisecond, ReadPause: time.Millisecond,
					FaultPause: 150 * time.Millisecond, Write: r.write, Delete: r.remove, Faults: []history.Step{named(name).step(r)},
					Instances: []history.Instance{{Name: tut.name, Read: tut.read}},
				}}
				return h.run(d)
			})
		})
	}
}

func tutorialStalePut(t *testing.T) {
	r := newRig(t, brisk)
	r.gates = make(chan *gate)
	tut := newTutorial(r)
	s := &scene{rig: r, Log: r.rec.Log(), p: tut.process, readKey: tut.read}
	s.put()
	first, g := s.slowly()
	s.put()
	eventually(t, "both writes are heard of", func() bool { return tut.heard.Load() >= 2 })
	g.open <- nil
	_, err := first.wait(t)
	s.attempt(err)
	time.Sleep(r.pace.staleness + 10*time.Millisecond)
	s.get()
	report, err := history.Check(r.rec.History(), history.Options{Require: []history.Kind{history.I2}})
	if err != nil || report.Broken[history.I2] == 0 {
		t.Errorf("not caught: %v\n%v", err, report)
	}
}
