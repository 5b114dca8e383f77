package invalidate

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// R6. What depends on everything makes all that is built on it depend on everything.
// Seen to fail with `r.v.all = r.v.all || v.all` removed from Inherit.
func TestR6DependingOnEverythingGoesUp(t *testing.T) {
	tr := bare(1 << 16)
	for i := range maxPrefixes {
		load(t, tr, t.Context(), Prefix(fmt.Sprintf("p%d:", i)))
	}
	child := load(t, tr, t.Context(), Prefix("one more:"))
	r, ctx := tr.Record(t.Context())
	child.Inherit(ctx)
	parent, ok := r.Seal()
	if !ok || !parent.Valid(long) {
		t.Fatal("quiet, and not valid")
	}
	tr.Forget(Tag("anything"))
	if parent.Valid(long) {
		t.Error("built on what depends on everything, and it did not fall")
	}
}

// The least deadline counts, in whichever order they come; one that has passed keeps the value out of memory.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := bare(1 << 10)
		r, ctx := tr.Record(t.Context())
		ExpireIn(ctx, time.Minute)
		ExpireAt(ctx, time.Now().Add(time.Second))
		ExpireIn(ctx, time.Hour)
		v, ok := r.Seal()
		if !ok {
			t.Fatal("may not be stored")
		}
		time.Sleep(time.Second - time.Millisecond)
		if _, s := v.Check(long); s != Current {
			t.Errorf("before its deadline: %v", s)
		}
		time.Sleep(time.Millisecond)
		if _, s := v.Check(long); s != Expired {
			t.Errorf("at its deadline: %v", s)
		}
		for _, d := range []time.Duration{0, -time.Second} {
			r, ctx := tr.Record(t.Context())
			ExpireIn(ctx, d)
			if _, ok := r.Seal(); ok {
				t.Errorf("ExpireIn(%v), and it may be stored", d)
			}
		}
	})
}

// R4. A waiter that asked at some instant takes a load begun before it only if nothing fell and the proof suffices.
// Seen to fail without the call of fallen in ProvenFor, and without each half of its last line.
func TestR4ProvenFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := bare(1 << 10)
		v := load(t, tr, t.Context(), Key("k"))
		time.Sleep(time.Minute)
		asked := time.Now()
		if !v.ProvenFor(asked, time.Minute) || v.ProvenFor(asked, time.Minute-1) {
			t.Error("a load is proof of its own, up to its begin")
		}
		tr.proven(time.Now().Add(-time.Second))
		if !v.ProvenFor(asked, time.Second) || v.ProvenFor(asked, time.Second-1) {
			t.Error("the watermark is the proof, if it is younger")
		}
		tr.Forget(Key("k"))
		if v.ProvenFor(asked, long) {
			t.Error("proven though it fell")
		}
		if none := new(Validity); none.ProvenFor(asked, long) || none.Valid(long) || none.Tracker() != nil {
			t.Error("the zero Validity has not fallen")
		}
	})
}

func TestStates(t *testing.T) {
	for s, want := range map[State]string{Current: "current", Unproven: "unproven", Expired: "expired", Fallen: "fallen"} {
		if s.String() != want {
			t.Errorf("%d: %q", s, s)
		}
	}
}

// A record may be written to by many goroutines of one load.
func TestRecordFromManyGoroutines(t *testing.T) {
	tr := bare(1 << 16)
	r, ctx := tr.Record(t.Context())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				DependOn(ctx, Key(fmt.Sprint(g, ":", i)), Prefix(fmt.Sprint(g)))
				ExpireIn(ctx, time.Hour)
			}
		})
	}
	wg.Wait()
	v, ok := r.Seal()
	if !ok {
		t.Fatal("may not be stored")
	}
	tr.Forget(Key("7:99"))
	if v.Valid(long) {
		t.Error("a dependency was lost")
	}
	DependOn(t.Context(), Key("k")) // no load in ctx: nothing happens
	if RecordIn(t.Context()) != nil || Bound(t.Context()) != 0 {
		t.Error("a record where there is no load")
	}
}

func TestValidityDepends(t *testing.T) {
	tr := bare(minSlots)
	for want, names := range map[bool][]Name{false: nil, true: {Key("k")}} {
		rec, _ := tr.Record(t.Context())
		rec.DependOn(names...)
		if rec.Depends() != want {
			t.Errorf("after DependOn(%v) the record's Depends is %v", names, !want)
		}
		if v, _ := rec.Seal(); v.Depends() != want {
			t.Errorf("after DependOn(%v) Depends is %v", names, !want)
		}
	}
}
