package cache

import (
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/invalidate"
)

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// One process repairs the flags; the other must not take the repair for "always been on".
func TestHoleFlagsRepairedByAnother(t *testing.T) {
	r := newRig(t, brisk)
	a := r.process("a", 0, func(o *invalidate.Options, _ *Options[string, item]) { o.Notify.AuditEvery = 500 * time.Millisecond })
	ctx := t.Context()
	r.must(r.write(ctx, "k0", 2, 0))
	r.healed()
	b := r.process("b", 0, func(o *invalidate.Options, _ *Options[string, item]) { o.Notify.AuditEvery = 20 * time.Millisecond })
	_ = b
	time.Sleep(600 * time.Millisecond)
	r.must(r.direct.ConfigSet(ctx, "notify-keyspace-events", "").Err())
	r.must(r.write(ctx, "k0", 4, 0))
	wrote := time.Now()
	time.Sleep(500*time.Millisecond + r.pace.pongTimeout + r.pace.staleness + 300*time.Millisecond)
	o, err := a.read(ctx, "k0")
	t.Logf("%v after the write: %+v %v health %+v", time.Since(wrote), o, err, a.tracker.Health())
	if o.Version != 4 {
		t.Errorf("VIOLATION: saw %d", o.Version)
	}
}

// SWAPDB between a flush and the marker's rewriting.
func TestHoleSwapAfterFlush(t *testing.T) {
	r := newRig(t, brisk)
	a := r.process("a", 0, func(o *invalidate.Options, _ *Options[string, item]) { o.Notify.AuditEvery = 2 * time.Second })
	ctx := t.Context()
	r.must(r.write(ctx, "k0", 2, 0))
	r.healed()
	other := r.server.Client(t, inDB(1))
	desk := r.proxy.Having("notify-keyspace-events")
	desk.Hold(faultproxy.ToServer)
	r.must(other.FlushDB(ctx).Err())
	fence(t, a.tracker)
	for range 2 {
		o, err := a.read(ctx, "k0")
		t.Logf("%+v %v", o, err)
	}
	r.must(r.direct.Do(ctx, "SWAPDB", 0, 1).Err())
	wrote := time.Now()
	desk.Release(faultproxy.ToServer)
	time.Sleep(2*time.Second + r.pace.pongTimeout + r.pace.staleness + 200*time.Millisecond)
	o, err := a.read(ctx, "k0")
	t.Logf("%v after the swap: %+v %v health %+v", time.Since(wrote), o, err, a.tracker.Health())
	if o.Version != 0 {
		t.Errorf("VIOLATION: saw %d", o.Version)
	}
}
