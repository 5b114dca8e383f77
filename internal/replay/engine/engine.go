// Package engine replays traces against caches: the store of this module and
// those it is measured by.
package engine

import (
	"fmt"

	"github.com/gofreshet/freshet/internal/replay/trace"
)

// Engine is a cache as a replay sees it: one access is a read, and on a miss a
// load that puts the key in at once.
type Engine interface {
	Access(key uint64) (hit bool)
}

// Kind makes engines of one kind. Replays run in one goroutine, as fast as they
// can: nothing waits between accesses but what the engine itself waits for.
type Kind struct {
	Name string
	// Open makes an engine for at most capacity entries. keys is what will be
	// replayed, for those that see the future. done releases it.
	Open func(capacity int, keys []uint64) (e Engine, done func() error, err error)
}

// Capacity is percent of t's distinct keys, at least 1.
func Capacity(t *trace.Trace, percent float64) int {
	return max(1, int(float64(t.Distinct)*percent/100))
}

// HitRatio replays t against a new engine of kind k and gives the share of
// accesses that hit, 0 to 1.
func HitRatio(k Kind, t *trace.Trace, capacity int) (ratio float64, err error) {
	e, done, err := k.Open(capacity, t.Keys)
	if err != nil {
		return 0, fmt.Errorf("%s of %d entries: %w", k.Name, capacity, err)
	}
	hits := 0
	for _, key := range t.Keys {
		if e.Access(key) {
			hits++
		}
	}
	if err := done(); err != nil {
		return 0, fmt.Errorf("%s of %d entries: close: %w", k.Name, capacity, err)
	}
	return float64(hits) / float64(max(1, len(t.Keys))), nil
}

func none() error { return nil }
