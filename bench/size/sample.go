package size

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// sample is a share of a workload's keys, with all that was done to them in its
// order (SHARDS: Waldspurger and others, FAST 2015). A cache of rate times the
// capacity sees in it what the whole cache sees in the whole. A stream's keys
// are chosen by a hash, a trace's by strata.
type sample struct {
	name     string
	rate     float64
	w        *workload.Workload  // what was chosen
	reads    int                 // of the whole workload
	hot      float64             // the hit ratio of the hottest keys, see finish
	text     func(uint64) string // a key's text
	prefixes *prefixes           // counted over the whole workload
}

// excess is how many reads more there are in the sample than there should be,
// below 0 how many fewer. It is for the very hot keys, of which the sample
// happens to have too many or too few.
func (s *sample) excess() float64 { return float64(s.w.Reads) - float64(s.reads)*s.rate }

// corrected is the whole workload's hit ratio, given the sample's hits: the
// excess is taken away with as many hits as hot keys have.
func (s *sample) corrected(hits float64) float64 {
	return min(1, max(0, (hits-s.excess()*s.hot)/(float64(s.reads)*s.rate)))
}

// finish sets the sample's operations, and hot from the hottest keys that make
// up the excess: any cache keeps these, so their misses are those that follow a
// fall.
func (s *sample) finish(ops []workload.Op) {
	s.w = workload.OfOps(s.name, ops)
	if s.rate >= 1 {
		return
	}
	type seen struct {
		reads, hits int
		held        bool
	}
	keys := make(map[uint64]*seen)
	for _, op := range ops {
		k := keys[op.Key]
		if k == nil {
			k = &seen{}
			keys[op.Key] = k
		}
		if !op.Fall {
			k.reads++
			if k.held {
				k.hits++
			}
		}
		k.held = !op.Fall
	}
	hottest := slices.SortedFunc(maps.Values(keys), func(a, b *seen) int { return cmp.Compare(b.reads, a.reads) })
	reads, hits := 0, 0
	for _, k := range hottest {
		reads, hits = reads+k.reads, hits+k.hits
		if float64(reads) >= math.Abs(s.excess()) {
			break
		}
	}
	s.hot = float64(hits) / float64(max(1, reads))
}

// keys is how many distinct keys the whole workload reads, about.
func (s *sample) keys() int { return int(math.Round(float64(s.w.Distinct) / s.rate)) }

// chosen reports whether a key of that hash belongs to a sample of rate.
func chosen(hash uint64, rate float64) bool {
	return rate >= 1 || float64(hash>>11) < rate*(1<<53)
}

// mix is splitmix64's: neighbours get hashes that have nothing to do with each other.
func mix(x, seed uint64) uint64 {
	x += seed*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// ofWorkload samples w. names may be nil: then keys have no prefixes.
func ofWorkload(w *workload.Workload, names []string, rate float64, seed uint64, cut cut) *sample {
	s := &sample{name: w.Name, rate: rate, reads: w.Reads, prefixes: newPrefixes(cut)}
	s.text = func(uint64) string { return "" }
	if names != nil {
		s.text = func(key uint64) string { return names[key] }
		for _, op := range w.Ops {
			s.prefixes.count(names[op.Key], op.Fall)
		}
	}
	ops := w.Ops
	if rate < 1 {
		ops = nil
		in := strata(w, rate, seed)
		for _, op := range w.Ops {
			if in[op.Key] {
				ops = append(ops, op)
			}
		}
	}
	s.finish(ops)
	return s
}

// strata chooses keys where all are known beforehand: in the order of how often
// they are read, equals in that of a hash, and of each run of 1/rate keys one.
// So the sample has its share of keys of every heat, which a hash alone gives
// it only in the long run: at a quarter of 25,000 keys of a Zipf that was off by
// up to 5 points where this is by half a point.
func strata(w *workload.Workload, rate float64, seed uint64) map[uint64]bool {
	reads := make(map[uint64]int)
	for _, op := range w.Ops {
		if !op.Fall {
			reads[op.Key]++
		}
	}
	keys := slices.SortedFunc(maps.Keys(reads), func(a, b uint64) int {
		return cmp.Or(cmp.Compare(reads[b], reads[a]), cmp.Compare(mix(a, seed), mix(b, seed)))
	})
	in := make(map[uint64]bool)
	at := float64(mix(0, seed)>>11) / (1 << 53) // where in its first run to begin
	for _, k := range keys {
		if at += rate; at >= 1 {
			at--
			in[k] = true
		}
	}
	return in
}

// enough is how many keys a sample should have, for figures good to a point or two.
const enough = 20_000

// cut says what of a key is its prefix: up to and with the depth-th delimiter.
type cut struct {
	delimiter string
	depth     int
}

// noPrefix stands for keys without a delimiter.
const noPrefix = "(none)"

func (c cut) prefix(key string) string {
	end := 0
	for range c.depth {
		at := strings.Index(key[end:], c.delimiter)
		if at < 0 {
			break
		}
		end += at + len(c.delimiter)
	}
	if end == 0 {
		return noPrefix
	}
	return key[:end]
}
