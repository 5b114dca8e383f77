package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// zipf draws ranks 0 to n-1, rank r in proportion to 1/(r+1)^skew, for any skew:
// those of applications lie below 1, where math/rand has none.
type zipf struct {
	sums []float64
	rng  *rand.Rand
}

func newZipf(rng *rand.Rand, skew float64, n int) *zipf {
	z := &zipf{sums: make([]float64, n), rng: rng}
	sum := 0.0
	for r := range n {
		sum += math.Pow(float64(r+1), -skew)
		z.sums[r] = sum
	}
	return z
}

func (z *zipf) draw() uint64 {
	u := z.rng.Float64() * z.sums[len(z.sums)-1]
	return uint64(min(sort.SearchFloat64s(z.sums, u), len(z.sums)-1))
}

// scans are keys of a space of their own.
const scanned = 1 << 40

// Zipf is reads of keys keys with one skew.
func Zipf(skew float64, reads, keys int, seed uint64) *Workload {
	z := newZipf(rand.New(rand.NewPCG(seed, 1)), skew, keys)
	out := make([]uint64, reads)
	for i := range out {
		out[i] = z.draw()
	}
	return Of(fmt.Sprintf("zipf %g", skew), out)
}

// Scan is a Zipf of skew 0.9 through which, in one of five reads on average, a
// job goes over a table of as many rows as there are keys, a tenth at a time.
func Scan(reads, keys int, seed uint64) *Workload {
	rng := rand.New(rand.NewPCG(seed, 2))
	z := newZipf(rng, 0.9, keys)
	out := make([]uint64, 0, reads)
	row, run := 0, max(1, keys/10)
	for len(out) < reads {
		for range min(4*run, reads-len(out)) {
			out = append(out, z.draw())
		}
		for range min(run, reads-len(out)) {
			out = append(out, scanned+uint64(row%keys))
			row++
		}
	}
	return Of("scans", out)
}

// Shift is a Zipf of skew 0.9 whose hot set moves: twenty times in all, the
// keys that held the upper tenth of the ranks give way to cold ones.
func Shift(reads, keys int, seed uint64) *Workload {
	z := newZipf(rand.New(rand.NewPCG(seed, 3)), 0.9, keys)
	step := max(1, keys/10)
	out := make([]uint64, reads)
	for i := range out {
		moved := i * 20 / reads * step
		out[i] = (z.draw() + uint64(moved)) % uint64(keys)
	}
	return Of("shift", out)
}

// Loop goes round over keys keys.
func Loop(reads, keys int) *Workload {
	out := make([]uint64, reads)
	for i := range out {
		out[i] = uint64(i % keys)
	}
	return Of("loop", out)
}

// Maker makes a workload from a seed.
type Maker struct {
	Name string
	Make func(seed uint64) *Workload
}

// Synthetic is all of them, each with that many reads of a tenth as many keys.
func Synthetic(reads int) []Maker {
	keys := max(100, reads/10)
	return []Maker{
		{"zipf 0.7", func(seed uint64) *Workload { return Zipf(0.7, reads, keys, seed) }},
		{"zipf 0.9", func(seed uint64) *Workload { return Zipf(0.9, reads, keys, seed) }},
		{"zipf 1.1", func(seed uint64) *Workload { return Zipf(1.1, reads, keys, seed) }},
		{"scans", func(seed uint64) *Workload { return Scan(reads, keys, seed) }},
		{"shift", func(seed uint64) *Workload { return Shift(reads, keys, seed) }},
		{"loop", func(uint64) *Workload { return Loop(reads, keys) }},
	}
}
