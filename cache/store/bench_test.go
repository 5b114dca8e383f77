package store_test

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/gofreshet/freshet/cache/store"
)

// Run side by side: go test -bench . ./cache/store

const benchEntries = 100_000

type value struct{ text string }

func benchKeys() []string {
	keys := make([]string, benchEntries/2)
	for i := range keys {
		keys[i] = "product:" + strconv.Itoa(i)
	}
	return keys
}

func openBench(b *testing.B) store.Store {
	s, err := store.Open(store.Config{MaxCost: benchEntries, CountEntries: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func openBare(b *testing.B) *ristretto.Cache[string, *value] {
	c, err := ristretto.NewCache(&ristretto.Config[string, *value]{
		NumCounters: 10 * benchEntries, MaxCost: benchEntries, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, benchEntries / 2} {
		b.Run(strconv.Itoa(n)+"-keys", func(b *testing.B) { benchmarkGet(b, benchKeys()[:n]) })
	}
}

func benchmarkGet(b *testing.B, keys []string) {
	seed := maphash.MakeSeed()
	b.Run("store", func(b *testing.B) {
		s := openBench(b)
		hashes := make([]uint64, len(keys))
		for i, k := range keys {
			hashes[i] = maphash.String(seed, k)
			s.Set(hashes[i], &value{k}, 1)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, ok := s.Get(hashes[i]); !ok {
				b.Fatal("miss")
			}
			if i++; i == len(hashes) {
				i = 0
			}
		}
	})
	b.Run("store+hash+key", func(b *testing.B) {
		s := openBench(b)
		for _, k := range keys {
			s.Set(maphash.String(seed, k), &value{k}, 1)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			e, ok := s.Get(maphash.String(seed, keys[i]))
			if !ok || e.(*value).text != keys[i] {
				b.Fatal("miss")
			}
			if i++; i == len(keys) {
				i = 0
			}
		}
	})
	b.Run("ristretto-string-ttl", func(b *testing.B) {
		c := openBare(b)
		for _, k := range keys {
			c.SetWithTTL(k, &value{k}, 1, time.Hour)
			c.Wait()
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, ok := c.Get(keys[i]); !ok {
				b.Fatal("miss")
			}
			if i++; i == len(keys) {
				i = 0
			}
		}
	})
}

// The same with every core reading; half of the reads go to 16 keys.
func BenchmarkGetParallel(b *testing.B) {
	keys := benchKeys()
	seed := maphash.MakeSeed()
	var goroutine atomic.Int64
	next := func(i, start int) int {
		if i&1 == 0 {
			return (i >> 1) & 15
		}
		return (start + i) % len(keys)
	}
	b.Run("store", func(b *testing.B) {
		s := openBench(b)
		hashes := make([]uint64, len(keys))
		for i, k := range keys {
			hashes[i] = maphash.String(seed, k)
			s.Set(hashes[i], &value{k}, 1)
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			start := int(goroutine.Add(1)) * 7919
			for i := 0; pb.Next(); i++ {
				if _, ok := s.Get(hashes[next(i, start)]); !ok {
					b.Error("miss")
					return
				}
			}
		})
	})
	b.Run("ristretto-string-ttl", func(b *testing.B) {
		c := openBare(b)
		for _, k := range keys {
			c.SetWithTTL(k, &value{k}, 1, time.Hour)
			c.Wait()
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			start := int(goroutine.Add(1)) * 7919
			for i := 0; pb.Next(); i++ {
				if _, ok := c.Get(keys[next(i, start)]); !ok {
					b.Error("miss")
					return
				}
			}
		})
	})
}

// What a miss pays on top of its load: a new entry into a full store, with the
// wait for ristretto's verdict.
func BenchmarkSetNew(b *testing.B) {
	for _, capacity := range []int64{100, 10_000, benchEntries} {
		b.Run("store/"+strconv.FormatInt(capacity, 10), func(b *testing.B) {
			s, err := store.Open(store.Config{MaxCost: capacity, CountEntries: true})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			h := uint64(0)
			for range 2 * capacity {
				h++
				s.Set(h, &value{}, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				h++
				s.Set(h, &value{}, 1)
			}
		})
	}
}

func BenchmarkReplace(b *testing.B) {
	s := openBench(b)
	for h := range uint64(benchEntries) {
		s.Set(h, &value{}, 1)
	}
	b.ReportAllocs()
	h := uint64(0)
	for b.Loop() {
		s.Set(h, &value{}, 1)
		if h++; h == benchEntries {
			h = 0
		}
	}
}
