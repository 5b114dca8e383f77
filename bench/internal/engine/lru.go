package engine

import (
	"container/list"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// LRU is the plain one: least recently used out.
func LRU() Kind {
	return Kind{Name: "LRU", Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		return &lru{capacity: capacity, at: map[uint64]*list.Element{}, order: list.New()}, none, nil
	}}
}

type lru struct {
	capacity int
	at       map[uint64]*list.Element
	order    *list.List // of uint64, the most recent in front
}

func (c *lru) Read(key uint64) bool {
	if e, ok := c.at[key]; ok {
		c.order.MoveToFront(e)
		return true
	}
	if c.order.Len() == c.capacity {
		delete(c.at, c.order.Remove(c.order.Back()).(uint64))
	}
	c.at[key] = c.order.PushFront(key)
	return false
}

func (c *lru) Fall(key uint64) {
	if e, ok := c.at[key]; ok {
		c.order.Remove(e)
		delete(c.at, key)
	}
}
