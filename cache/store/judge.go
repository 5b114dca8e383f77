package store

import (
	"fmt"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
)

// judge is ristretto in the one office it holds here: to say which entries the
// main part keeps, by how often their keys were asked for. Reads never reach
// it, so that its buffers, drops and delays decide nothing about what a read
// sees. All its methods belong to the holder of the store's mu, which is also
// what keeps Close away from every other call.
type judge struct {
	cache *ristretto.Cache[uint64, *node]

	mu  sync.Mutex // the only lock ristretto's own goroutine takes
	out []*node    // what it refused or put out since the last settle
}

func newJudge(counters, maxCost int64) (*judge, error) {
	j := &judge{}
	put := func(i *ristretto.Item[*node]) {
		if i.Value == nil {
			return
		}
		j.mu.Lock()
		j.out = append(j.out, i.Value)
		j.mu.Unlock()
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, *node]{
		NumCounters:        counters,
		MaxCost:            maxCost,
		BufferItems:        int64(knobs.buf),
		IgnoreInternalCost: true,
		KeyToHash:          func(k uint64) (uint64, uint64) { return k, 0 },
		OnEvict:            put,
		OnReject:           put,
	})
	if err != nil {
		return nil, fmt.Errorf("store: ristretto: %w", err)
	}
	j.cache = c
	return j, nil
}

// seen counts one request for hash.
func (j *judge) seen(hash uint64) { j.cache.Get(mix(hash)) }

// offer hands n over. The verdict comes with a later settle.
func (j *judge) offer(n *node) {
	if !j.cache.Set(mix(n.hash), n, n.cost) {
		j.mu.Lock()
		j.out = append(j.out, n)
		j.mu.Unlock()
	}
}

func (j *judge) forget(n *node) { j.cache.Del(mix(n.hash)) }

// settle waits until all that was offered has been judged, and gives what did
// not stay.
func (j *judge) settle() []*node {
	j.cache.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.out
	j.out = nil
	return out
}

func (j *judge) close() { j.cache.Close() }
