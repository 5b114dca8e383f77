package store

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// judge is ristretto in its office here: to say which entries the main part
// keeps, by how often their hashes were asked for. It knows of requests what
// seen tells it. All methods belong to the holder of the store's mu, which is
// what keeps ristretto's Close away from its other calls.
type judge struct {
	cache *ristretto.Cache[uint64, ticket] // nil when the main part has no room at all

	told uint32 // requests since the last backlog

	mu  sync.Mutex // a leaf: ristretto's goroutine takes no other lock
	out []uint64   // hashes refused or thrown out since the last settle
}

const (
	// countersPerEntry weighs memory, about 4 bytes a counter, against two hashes
	// sharing one: ristretto's four rows all collide together. On the traces 10
	// gave 0.4 points of hit ratio less than 20, and 40 gave 0.1 more.
	countersPerEntry = 16
	maxCounters      = 1 << 26

	// countsAtOnce is a lot: as many requests as ristretto hands on together. It
	// drops a lot when three others wait, which they do as long as the goroutine
	// that counts them gets no turn. Whoever brings requests as fast as they can
	// would never give it one, so they yield after so many lots: without it half
	// of all requests went uncounted in a tight loop, and 1 to 6 points with them.
	countsAtOnce = 64
	lotsPerYield = 2
)

// ticket is what ristretto keeps of a slot. Not the slot: a Set of the same hash and cost puts another in its place.
type ticket struct {
	hash uint64
	held bool // false in the zero ticket, of one forgotten a moment ago
}

// newJudge makes one for about entries entries of maxCost in all.
func newJudge(entries, maxCost int64) (*judge, error) {
	j := &judge{}
	if maxCost == 0 {
		return j, nil
	}
	put := func(i *ristretto.Item[ticket]) {
		if i.Value.held {
			j.put(i.Value.hash)
		}
	}
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, ticket]{
		NumCounters:        max(64, min(entries, maxCounters/countersPerEntry)*countersPerEntry),
		MaxCost:            maxCost,
		BufferItems:        countsAtOnce,
		IgnoreInternalCost: true,
		KeyToHash:          func(key uint64) (uint64, uint64) { return key, 0 },
		OnEvict:            put,
		OnReject:           put,
	})
	if err != nil {
		return nil, fmt.Errorf("store: ristretto: %w", err)
	}
	j.cache = cache
	return j, nil
}

func (j *judge) put(hash uint64) {
	j.mu.Lock()
	j.out = append(j.out, hash)
	j.mu.Unlock()
}

// key has its best bits lowest: ristretto's sketch looks at no others.
func key(hash uint64) uint64 { return bits.ReverseBytes64(spread(hash)) }

// seen counts requests for hash.
func (j *judge) seen(hash uint64, times uint32) {
	if j.cache == nil {
		return
	}
	for range times {
		j.cache.Get(key(hash))
	}
	j.told += times
}

// backlog is true now and then: ristretto has requests to count, and the caller
// is to yield once it has released mu.
func (j *judge) backlog() bool {
	if j.told < lotsPerYield*countsAtOnce {
		return false
	}
	j.told = 0
	return true
}

// resize sets how much the main part may hold. What is too much leaves with the
// next one that is taken in.
func (j *judge) resize(maxCost int64) { j.cache.UpdateMaxCost(maxCost) }

// offer hands n over. The verdict comes with settle.
func (j *judge) offer(n *Slot) {
	n.where = inMain
	if j.cache == nil || !j.cache.Set(key(n.hash), ticket{n.hash, true}, n.cost) {
		j.put(n.hash)
	}
}

// forget takes back n, on which settle's verdict was to stay. Another slot of
// its hash may be offered at once: ristretto does these two in order.
func (j *judge) forget(n *Slot) {
	n.where = gone
	j.cache.Del(key(n.hash))
}

// settle waits for the verdicts on all that was offered, and gives the
// hashes that did not stay. Some may have been forgotten since.
func (j *judge) settle() []uint64 {
	if j.cache != nil {
		j.cache.Wait()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.out
	j.out = nil
	return out
}

func (j *judge) close() {
	if j.cache != nil {
		j.cache.Close()
	}
}
