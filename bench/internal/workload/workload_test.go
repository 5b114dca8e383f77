package workload

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/trace"
)

func keysOf(w *Workload) (keys []uint64) {
	for _, op := range w.Ops {
		if !op.Fall {
			keys = append(keys, op.Key)
		}
	}
	return keys
}

// Expiries worked by hand: a life is three reads; times are reads so far.
func TestExpiries(t *testing.T) {
	w := Mix(Of("w", []uint64{1, 2, 1, 1, 1, 2, 1}), Falls{TTL: 3 * time.Second, Rate: 1}, 1)
	// 1 is filled at 0 and 3 (its end), 2 at 1 and 5 (first read after its end at 4); 1 ends again at 6.
	want := []Op{{1, false}, {2, false}, {1, false}, {1, true}, {1, false}, {2, true}, {1, false}, {2, false}, {1, true}, {1, false}}
	if !slices.Equal(w.Ops, want) || w.Expiries != 3 || w.Writes != 0 || w.Reads != 7 {
		t.Errorf("%v, %v; want %v", w, w.Ops, want)
	}
}

// A write renews the life of its key.
func TestWritesRenew(t *testing.T) {
	in := Of("w", nil)
	in.Ops = []Op{{1, false}, {2, false}, {1, true}, {2, false}, {2, false}, {2, false}, {2, false}}
	w := Mix(in, Falls{TTL: 3 * time.Second, Rate: 1}, 1)
	// 1 would end at 3 and, written at 2, ends at 5; 2 ends at 4.
	want := []Op{{1, false}, {2, false}, {1, true}, {2, false}, {2, false}, {2, true}, {2, false}, {1, true}, {2, false}}
	if !slices.Equal(w.Ops, want) || w.Writes != 1 || w.Expiries != 2 {
		t.Errorf("%v, %v; want %v", w, w.Ops, want)
	}
}

func TestMix(t *testing.T) {
	plain := Shift(50_000, 1000, 1)
	if Mix(plain, Falls{}, 1) != plain {
		t.Error("without falls it is another workload")
	}
	w := Mix(plain, Falls{Writes: 0.2}, 1)
	if !slices.Equal(keysOf(w), keysOf(plain)) {
		t.Error("the reads are others")
	}
	if share := float64(w.Writes) / float64(w.Writes+w.Reads); math.Abs(share-0.2) > 0.01 || w.Reads != 50_000 || w.Distinct != plain.Distinct {
		t.Errorf("%v: %.3f writes, want 0.2", w, share)
	}
	if again := Mix(plain, Falls{Writes: 0.2}, 1); !slices.Equal(again.Ops, w.Ops) {
		t.Error("the same seed gives another mix")
	}
	if other := Mix(plain, Falls{Writes: 0.2}, 2); slices.Equal(other.Ops, w.Ops) {
		t.Error("another seed gives the same mix")
	}
	for i, op := range w.Ops {
		if op.Fall && op.Key > 1000 {
			t.Fatalf("operation %d writes %d, which nobody reads", i, op.Key)
		}
	}
}

func TestFallsValidate(t *testing.T) {
	for _, bad := range []Falls{{Writes: 1}, {Writes: -0.1}, {Writes: math.NaN()}, {TTL: -1}, {TTL: 1}, {TTL: 1, Rate: math.NaN()}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is fine", bad)
		}
	}
	if err := (Falls{Writes: 0.05, TTL: time.Minute, Rate: 10}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestOfTrace(t *testing.T) {
	f, err := trace.ParseFormat("monitor")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := trace.Decode("m", strings.NewReader("1.0 [0 x] \"get\" \"a\"\n1.1 [0 x] \"set\" \"a\" \"1\"\n1.2 [0 x] \"get\" \"b\"\n"), f)
	if err != nil {
		t.Fatal(err)
	}
	w := OfTrace(tr)
	if !slices.Equal(w.Ops, []Op{{0, false}, {0, true}, {1, false}}) || w.Reads != 2 || w.Writes != 1 || w.Distinct != 2 {
		t.Errorf("%v: %v", w, w.Ops)
	}
}

// The made-up workloads are what their names say.
func TestSynthetic(t *testing.T) {
	z := Zipf(1, 200_000, 1000, 1)
	count := map[uint64]float64{}
	for _, k := range keysOf(z) {
		count[k]++
	}
	for _, rank := range []uint64{1, 4, 9} {
		if ratio := count[0] / count[rank]; math.Abs(ratio/float64(rank+1)-1) > 0.1 {
			t.Errorf("rank 0 is read %.2f times as often as rank %d, want %d", ratio, rank, rank+1)
		}
	}
	for i, k := range keysOf(Loop(100, 7)) {
		if k != uint64(i%7) {
			t.Fatalf("read %d of a loop of 7 is %d", i, k)
		}
	}
	scan, seen := 0, map[uint64]bool{}
	for _, k := range keysOf(Scan(10_000, 1000, 1)) {
		if k >= scanned {
			scan++
			seen[k] = true
		}
	}
	if scan != 2000 || len(seen) != 1000 {
		t.Errorf("%d reads of %d rows in scans, want 2000 of 1000", scan, len(seen))
	}
	for _, m := range Synthetic(5000) {
		a, b := m.Make(1), m.Make(1)
		if a.Name != m.Name || a.Reads != 5000 || !slices.Equal(a.Ops, b.Ops) {
			t.Errorf("%s: %v, or not the same twice", m.Name, a)
		}
	}
}
