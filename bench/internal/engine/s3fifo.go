package engine

import (
	"container/list"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// S3FIFO is the algorithm of Yang and others (SOSP 2023) with its published
// settings: a small queue of a tenth of the capacity, a main one whose entries
// go round again while they were read, and as many ghosts as the main has
// entries.
func S3FIFO() Kind {
	return Kind{Name: "S3-FIFO", Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		small := max(1, capacity/10)
		return &s3fifo{
			capacity: capacity, smallMax: small, ghostMax: max(1, capacity-small),
			at: map[uint64]*s3entry{}, ghosts: map[uint64]*list.Element{},
			small: list.New(), main: list.New(), ghost: list.New(),
		}, none, nil
	}}
}

type s3fifo struct {
	capacity, smallMax, ghostMax int
	at                           map[uint64]*s3entry
	ghosts                       map[uint64]*list.Element
	small, main                  *list.List // of *s3entry, the newest in front
	ghost                        *list.List // of uint64
}

type s3entry struct {
	key  uint64
	hits int // up to 3
	in   *list.List
	at   *list.Element
}

func (e *s3entry) push(in *list.List) { e.in, e.at = in, in.PushFront(e) }

func (c *s3fifo) Read(key uint64) bool {
	if e, ok := c.at[key]; ok {
		e.hits = min(3, e.hits+1)
		return true
	}
	for len(c.at) >= c.capacity {
		if c.small.Len() >= c.smallMax || c.main.Len() == 0 {
			c.evictSmall()
		} else {
			c.evictMain()
		}
	}
	e := &s3entry{key: key}
	c.at[key] = e
	if g, ok := c.ghosts[key]; ok {
		c.ghost.Remove(g)
		delete(c.ghosts, key)
		e.push(c.main)
	} else {
		e.push(c.small)
	}
	return false
}

// evictSmall moves what was read more than once to the main queue, and lets the
// first that was not go.
func (c *s3fifo) evictSmall() {
	for c.small.Len() > 0 {
		e := c.small.Remove(c.small.Back()).(*s3entry)
		if e.hits > 1 {
			e.hits = 0
			e.push(c.main)
			continue
		}
		delete(c.at, e.key)
		if c.ghost.Len() == c.ghostMax {
			delete(c.ghosts, c.ghost.Remove(c.ghost.Back()).(uint64))
		}
		c.ghosts[e.key] = c.ghost.PushFront(e.key)
		return
	}
}

func (c *s3fifo) evictMain() {
	for {
		e := c.main.Remove(c.main.Back()).(*s3entry)
		if e.hits == 0 {
			delete(c.at, e.key)
			return
		}
		e.hits--
		e.push(c.main)
	}
}

func (c *s3fifo) Fall(key uint64) {
	if e, ok := c.at[key]; ok {
		e.in.Remove(e.at)
		delete(c.at, key)
	}
}
