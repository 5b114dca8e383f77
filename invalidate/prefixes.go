package invalidate

import (
	"slices"
	"strings"
)

// maxPrefixes bounds what every event is checked against.
const maxPrefixes = 1024

// prefixes are those that something depends on, or once did: they are never unregistered (R7). Guarded by ledger.mu.
type prefixes struct {
	slots   map[string]uint32
	lengths []int // distinct, ascending: a key is looked up once for each that fits
}

func (p *prefixes) any() bool { return len(p.lengths) > 0 }

// add registers prefix. known is true if it was; ok is false when there is no room for it.
func (p *prefixes) add(prefix string, slot uint32) (known, ok bool) {
	if _, known := p.slots[prefix]; known {
		return true, true
	}
	if len(p.slots) >= maxPrefixes {
		return false, false
	}
	if p.slots == nil {
		p.slots = make(map[string]uint32)
	}
	p.slots[strings.Clone(prefix)] = slot
	if i, found := slices.BinarySearch(p.lengths, len(prefix)); !found {
		p.lengths = slices.Insert(p.lengths, i, len(prefix))
	}
	return false, true
}

// above calls set for each registered prefix of key.
func (p *prefixes) above(key string, set func(uint32)) {
	for _, n := range p.lengths {
		if n > len(key) {
			return
		}
		if slot, ok := p.slots[key[:n]]; ok {
			set(slot)
		}
	}
}

// around calls set for each registered prefix that shares keys with prefix: those above it and those below.
func (p *prefixes) around(prefix string, set func(uint32)) {
	for q, slot := range p.slots {
		if strings.HasPrefix(q, prefix) || strings.HasPrefix(prefix, q) {
			set(slot)
		}
	}
}
