package engine

import (
	"container/list"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// SIEVE is the algorithm of Zhang and others (NSDI 2024): a queue in the order
// of arrival, and a hand that goes from the oldest to the newest, takes away
// the marks of those that were read, and evicts the first without one.
func SIEVE() Kind {
	return Kind{Name: "SIEVE", Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		return &sieve{capacity: capacity, at: map[uint64]*list.Element{}, queue: list.New()}, none, nil
	}}
}

type sieve struct {
	capacity int
	at       map[uint64]*list.Element
	queue    *list.List    // of *sieveEntry, the newest in front
	hand     *list.Element // where the next search begins; nil: at the oldest
}

type sieveEntry struct {
	key  uint64
	read bool
}

func (c *sieve) Read(key uint64) bool {
	if e, ok := c.at[key]; ok {
		e.Value.(*sieveEntry).read = true
		return true
	}
	if c.queue.Len() == c.capacity {
		c.evict()
	}
	c.at[key] = c.queue.PushFront(&sieveEntry{key: key})
	return false
}

func (c *sieve) evict() {
	for {
		if c.hand == nil {
			c.hand = c.queue.Back()
		}
		e := c.hand.Value.(*sieveEntry)
		if !e.read {
			c.Fall(e.key)
			return
		}
		e.read = false
		c.hand = c.hand.Prev()
	}
}

func (c *sieve) Fall(key uint64) {
	e, ok := c.at[key]
	if !ok {
		return
	}
	if c.hand == e {
		c.hand = e.Prev()
	}
	c.queue.Remove(e)
	delete(c.at, key)
}
