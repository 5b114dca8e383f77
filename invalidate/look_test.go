package invalidate

import (
	"testing"
	"testing/synctest"
	"time"
)

// looksAt are looks at values.
func looksAt(values ...*Validity) []Look {
	looks := make([]Look, len(values))
	for i, v := range values {
		looks[i] = Look{Of: v, State: Fallen, Staleness: -1} // as an earlier use may leave them
	}
	return looks
}

// CheckAll finds what Check finds, whatever lies beside it.
// Seen to fail without each case of its second switch, and with a State of the caller's left as it was.
func TestCheckAllIsCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, other := bare(1<<16), bare(1<<16)
		gone := load(t, tr, t.Context(), Key("k"))
		tr.raise("gap")
		values := map[string]*Validity{
			"nil": nil, "zero": {}, "from before a gap": &gone,
			"fallen":         new(load(t, tr, t.Context(), Key("fallen"))),
			"quiet":          new(load(t, tr, t.Context(), Key("k"), Tag("t"))),
			"fallen by tag":  new(load(t, tr, t.Context(), Key("k"), Tag("touched"))),
			"another's":      new(load(t, other, t.Context(), Key("k"))),
			"another's fell": new(load(t, other, t.Context(), Key("fallen"))),
		}
		r, _ := tr.Record(t.Context())
		r.ExpireAt(time.Now().Add(time.Minute))
		mortal, _ := r.Seal()
		values["expired"] = &mortal
		for _, tr := range []*Tracker{tr, other} {
			tr.Forget(Key("fallen"), Tag("touched"))
		}
		time.Sleep(2 * time.Minute)
		values["loaded since"] = new(load(t, tr, t.Context(), Key("k")))
		tr.proven(time.Now().Add(-time.Second)) // other hears nothing
		time.Sleep(time.Second)
		for _, bound := range []time.Duration{time.Nanosecond, time.Minute, long} {
			var names []string
			var at []*Validity
			for name, v := range values {
				names, at = append(names, name), append(at, v)
			}
			looks := looksAt(at...)
			tr.CheckAll(looks, bound)
			seen := map[State]bool{}
			for i, v := range at {
				var age time.Duration
				want := Fallen
				if v != nil {
					age, want = v.Check(bound)
				}
				if l := looks[i]; l.Of != v || l.State != want || l.Staleness != age {
					t.Errorf("bound %v, %s: %v, %v, and by itself %v, %v", bound, names[i], l.State, l.Staleness, want, age)
				}
				seen[want] = true
			}
			if len(seen) < 3 {
				t.Errorf("bound %v: only %v: this proves little", bound, seen)
			}
		}
	})
}

// R2. As for Check, when the watermark comes while several are looked at.
// Seen to fail with `mark := t.watermark.Load()` moved below the first loop of CheckAll.
func TestR2CheckAllReadsWatermarkBeforeLedgers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := bare(1 << 10)
		a, b := load(t, tr, t.Context(), Key("a")), load(t, tr, t.Context(), Key("b"))
		time.Sleep(time.Minute)
		tr.pause = func(where int) {
			if where == afterLedger {
				tr.ledger.fallKey("a")
				tr.proven(time.Now())
			}
		}
		looks := looksAt(&a, &b)
		tr.CheckAll(looks, time.Second)
		for _, l := range looks {
			if l.State == Current {
				t.Errorf("a value last proven a minute ago is current (staleness %v)", l.Staleness)
			}
		}
	})
}

// R2. What falls after the watermark was read is seen to have fallen: the ledgers are looked at behind it.
// Seen to fail with the first loop of CheckAll above the reading of the watermark.
func TestR2CheckAllReadsLedgersAfterWatermark(t *testing.T) {
	tr := bare(1 << 10)
	a, b := load(t, tr, t.Context(), Key("a")), load(t, tr, t.Context(), Key("b"))
	tr.pause = func(where int) {
		if where == afterWatermark {
			tr.ledger.fallKey("b")
		}
	}
	looks := looksAt(&a, &b)
	if tr.CheckAll(looks, long); looks[1].State != Fallen {
		t.Errorf("%+v", looks)
	}
}

// R2. The process stands still after the ledgers were looked at. The time it lost counts for each value.
// Seen to fail with the clock read above the first loop of CheckAll.
func TestR2CheckAllReadsClockLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := bare(1 << 10)
		a, b := load(t, tr, t.Context(), Key("a")), load(t, tr, t.Context(), Key("b"))
		tr.proven(time.Now())
		tr.pause = func(where int) {
			if where == afterLedger {
				time.Sleep(time.Minute) // SIGSTOP, a paused VM
			}
		}
		looks := looksAt(&a, &b)
		tr.CheckAll(looks, time.Second)
		for _, l := range looks {
			if l.State != Unproven || l.Staleness < time.Minute {
				t.Errorf("after a minute's pause: %v, staleness %v", l.State, l.Staleness)
			}
		}
	})
}
