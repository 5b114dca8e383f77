package invalidate

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
)

// BenchmarkInvalidateKey is what the tracker does with one event once it has been parsed.
func BenchmarkInvalidateKey(b *testing.B) {
	for _, prefixes := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%dprefixes", prefixes), func(b *testing.B) {
			tr := bare(defaultSlots)
			for i := range prefixes { // of as many lengths, and one of them fits
				tr.ledger.dependOnPrefix("product:00000000"[:4+i])
			}
			events := make([]notify.Event, 1<<12)
			for i := range events {
				events[i] = notify.Event{Key: fmt.Sprintf("product:%08d", i), Name: "set"}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				tr.on(&events[i&(len(events)-1)])
				i++
			}
		})
	}
}

// BenchmarkCheck is what every hit asks.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tr := bare(defaultSlots)
			names := make([]Name, n)
			for i := range names {
				names[i] = Tag(strconv.Itoa(i)) // a tag is one slot, a key two
			}
			r, _ := tr.Record(b.Context())
			r.DependOn(names...)
			v, _ := r.Seal()
			b.ReportAllocs()
			for b.Loop() {
				if _, s := v.Check(long); s != Current {
					b.Fatal(s)
				}
			}
		})
	}
}

// BenchmarkCheckAll is what ten hits ask at once.
func BenchmarkCheckAll(b *testing.B) {
	tr := bare(defaultSlots)
	var values [10]Validity
	var looks [10]Look
	for i := range values {
		r, _ := tr.Record(b.Context())
		r.DependOn(Key(strconv.Itoa(i)))
		values[i], _ = r.Seal()
		looks[i].Of = &values[i]
	}
	b.ReportAllocs()
	for b.Loop() {
		if tr.CheckAll(looks[:], long); looks[9].State != Current {
			b.Fatal(looks[9])
		}
	}
}

// BenchmarkRecord is a load that depends on one key: begun, named, sealed.
func BenchmarkRecord(b *testing.B) {
	tr := bare(defaultSlots)
	b.ReportAllocs()
	for b.Loop() {
		r, _ := tr.Record(b.Context())
		r.DependOn(Key("product:42"))
		if _, ok := r.Seal(); !ok {
			b.Fatal("fell")
		}
	}
}

// BenchmarkFence is the round trip on the subscription; with 16 callers they share pings.
func BenchmarkFence(b *testing.B) {
	tr := connect(b, redistest.Start(b).Client(b), Options{})
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if err := tr.Fence(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sixteen", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := tr.Fence(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkTouch is an announcement: one round trip, whatever the number of names up to a batch.
func BenchmarkTouch(b *testing.B) {
	tr := connect(b, redistest.Start(b).Client(b), Options{})
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			names := make([]Name, n)
			for i := range names {
				names[i] = Key(fmt.Sprint("product:", i))
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := tr.Touch(b.Context(), names...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
