package size

import (
	"cmp"
	"slices"
)

// tally is what was done to the keys of one prefix.
type tally struct {
	prefix        string
	reads, writes int
}

// prefixes counts accesses by prefix, over all keys, chosen or not.
type prefixes struct {
	cut  cut
	each map[string]*tally
}

// maxPrefixes bounds the memory where the delimiter does not cut what it should.
const maxPrefixes = 10_000

func newPrefixes(c cut) *prefixes { return &prefixes{c, make(map[string]*tally)} }

func (p *prefixes) count(key string, write bool) {
	prefix := p.cut.prefix(key)
	t := p.each[prefix]
	if t == nil {
		if len(p.each) >= maxPrefixes {
			return
		}
		t = &tally{prefix: prefix}
		p.each[prefix] = t
	}
	if write {
		t.writes++
	} else {
		t.reads++
	}
}

// busiest is the first n by reads and writes.
func (p *prefixes) busiest(n int) (out []tally) {
	for _, t := range p.each {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b tally) int {
		return cmp.Or(cmp.Compare(b.reads+b.writes, a.reads+a.writes), cmp.Compare(a.prefix, b.prefix))
	})
	return out[:min(n, len(out))]
}

func (t tally) writeRatio() float64 { return float64(t.writes) / float64(max(1, t.reads+t.writes)) }

const (
	// worthRatio is the least share of a prefix's reads that memory must answer,
	// and worthHits how many of them for each event that a process hears.
	worthRatio = 0.2
	worthHits  = 2.0
	// fewReads in the sample say nothing about a prefix.
	fewReads = 20
)

// worth says whether to cache a prefix, given the share of its reads that hit.
// A hit saves a round trip; an event costs Redis about a microsecond and the
// process some, and every process hears it.
func (t tally) worth(ratio float64) (hitsPerEvent float64, verdict string) {
	hits := ratio * float64(t.reads)
	hitsPerEvent = hits / float64(max(1, t.writes))
	switch {
	case t.reads == 0:
		return hitsPerEvent, "no: never read"
	case ratio < worthRatio:
		return hitsPerEvent, "no: few hits"
	case t.writes > 0 && hitsPerEvent < worthHits:
		return hitsPerEvent, "no: written too often"
	}
	return hitsPerEvent, "yes"
}
