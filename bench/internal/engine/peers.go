package engine

import (
	"github.com/Yiling-J/theine-go"
	"github.com/gofreshet/freshet/bench/internal/workload"
	lrucache "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
)

// Otter is otter v2 with its maintenance on the caller's goroutine, so that no
// figure depends on when another gets its turn.
func Otter() Kind {
	return Kind{Name: "otter", Varies: true, Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		c, err := otter.New(&otter.Options[uint64, uint64]{MaximumSize: capacity, Executor: func(run func()) { run() }})
		if err != nil {
			return nil, nil, err
		}
		return otterEngine{c}, func() error { c.StopAllGoroutines(); return nil }, nil
	}}
}

type otterEngine struct{ c *otter.Cache[uint64, uint64] }

func (e otterEngine) Read(key uint64) bool {
	if _, ok := e.c.GetIfPresent(key); ok {
		return true
	}
	e.c.Set(key, key)
	return false
}

func (e otterEngine) Fall(key uint64) { e.c.Invalidate(key) }

// Theine is theine, waited for after each Set and Delete.
func Theine() Kind {
	return Kind{Name: "theine", Varies: true, Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		c, err := theine.NewBuilder[uint64, uint64](int64(capacity)).Build()
		if err != nil {
			return nil, nil, err
		}
		return theineEngine{c}, func() error { c.Close(); return nil }, nil
	}}
}

type theineEngine struct{ c *theine.Cache[uint64, uint64] }

func (e theineEngine) Read(key uint64) bool {
	if _, ok := e.c.Get(key); ok {
		return true
	}
	e.c.Set(key, key, 1)
	e.c.Wait()
	return false
}

func (e theineEngine) Fall(key uint64) {
	e.c.Delete(key)
	e.c.Wait()
}

// GolangLRU is hashicorp/golang-lru's LRU.
func GolangLRU() Kind {
	return Kind{Name: "golang-lru", Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		c, err := lrucache.New[uint64, uint64](capacity)
		if err != nil {
			return nil, nil, err
		}
		return hashicorp{c.Get, func(k, v uint64) { c.Add(k, v) }, func(k uint64) { c.Remove(k) }}, none, nil
	}}
}

// Golang2Q is hashicorp/golang-lru's 2Q, which needs four entries at least.
func Golang2Q() Kind {
	return Kind{Name: "golang-lru 2Q", Open: func(capacity int, _ []workload.Op) (Engine, func() error, error) {
		c, err := lrucache.New2Q[uint64, uint64](max(4, capacity))
		if err != nil {
			return nil, nil, err
		}
		return hashicorp{c.Get, c.Add, c.Remove}, none, nil
	}}
}

type hashicorp struct {
	get    func(uint64) (uint64, bool)
	add    func(k, v uint64)
	remove func(uint64)
}

func (e hashicorp) Read(key uint64) bool {
	if _, ok := e.get(key); ok {
		return true
	}
	e.add(key, key)
	return false
}

func (e hashicorp) Fall(key uint64) { e.remove(key) }
