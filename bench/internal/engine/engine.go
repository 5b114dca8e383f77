// Package engine replays workloads against caches: Freshet's and those it is
// measured by.
package engine

import (
	"context"
	"fmt"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

// Engine is a cache as a replay sees it. It is used by one goroutine.
type Engine interface {
	// Read is a read, and on a miss a load that puts the key in at once.
	Read(key uint64) (hit bool)
	// Fall tells it that the key's value is no more what it was: Freshet hears
	// an event, the others delete.
	Fall(key uint64)
}

// Kind makes engines of one kind.
type Kind struct {
	Name string
	// Varies says that two runs may differ: hashes are seeded, or another
	// goroutine has a say.
	Varies bool
	// Open makes an engine for at most capacity entries. ops is what will be
	// replayed, for those that see the future. done releases it, and says what
	// makes its figure worthless.
	Open func(capacity int, ops []workload.Op) (e Engine, done func() error, err error)
}

// All is every kind, the bound and the plain ones first, Freshet last.
func All() []Kind {
	return []Kind{
		OPT(), LRU(), SIEVE(), S3FIFO(), GolangLRU(), Golang2Q(), Otter(), Theine(),
		RistrettoTight(), RistrettoPaced(), Freshet(),
	}
}

// stepsPerLook is how many operations pass between two looks at ctx.
const stepsPerLook = 1 << 12

// HitRatio replays w against a new engine of kind k and gives the share of
// reads that hit, 0 to 1. step, if not nil, is told now and then of the
// operations done since it was last told. When ctx ends so does the replay, with its error.
func HitRatio(ctx context.Context, k Kind, w *workload.Workload, capacity int, step func(int)) (ratio float64, err error) {
	e, done, err := k.Open(capacity, w.Ops)
	if err != nil {
		return 0, fmt.Errorf("%s of %d entries: %w", k.Name, capacity, err)
	}
	hits, failed := 0, error(nil)
	for ops := w.Ops; len(ops) > 0 && failed == nil; {
		now := ops[:min(stepsPerLook, len(ops))]
		ops = ops[len(now):]
		for _, op := range now {
			if op.Fall {
				e.Fall(op.Key)
			} else if e.Read(op.Key) {
				hits++
			}
		}
		if step != nil {
			step(len(now))
		}
		failed = ctx.Err()
	}
	if err := done(); err != nil && failed == nil {
		failed = fmt.Errorf("%s of %d entries: %w", k.Name, capacity, err)
	}
	if failed != nil {
		return 0, failed
	}
	return float64(hits) / float64(max(1, w.Reads)), nil
}

func none() error { return nil }
