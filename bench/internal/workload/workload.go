// Package workload is what caches are measured with: sequences of reads and of
// the invalidations between them, from traces and from random numbers.
package workload

import (
	"fmt"

	"github.com/gofreshet/freshet/bench/internal/trace"
)

// Op is a read of a key, or what makes the key fall: somebody wrote it, or its
// life in the origin ended.
type Op struct {
	Key  uint64
	Fall bool
}

// Workload is what one replay does.
type Workload struct {
	Name     string
	Ops      []Op
	Reads    int // how many of Ops
	Writes   int // falls by writes
	Expiries int // falls by age
	Distinct int // how many different keys are read
}

// OfTrace is a trace as it is: its writes, if it has any, make their keys fall.
func OfTrace(t *trace.Trace) *Workload {
	ops := make([]Op, len(t.Keys))
	for i, k := range t.Keys {
		ops[i] = Op{k, t.Wrote(i)}
	}
	return counted(t.Name, ops)
}

// Of is reads alone.
func Of(name string, keys []uint64) *Workload {
	ops := make([]Op, len(keys))
	for i, k := range keys {
		ops[i] = Op{Key: k}
	}
	return counted(name, ops)
}

// OfOps is operations as they are; falls count as writes.
func OfOps(name string, ops []Op) *Workload { return counted(name, ops) }

func counted(name string, ops []Op) *Workload {
	w := &Workload{Name: name, Ops: ops}
	seen := make(map[uint64]struct{})
	for _, op := range ops {
		if op.Fall {
			w.Writes++
			continue
		}
		w.Reads++
		seen[op.Key] = struct{}{}
	}
	w.Distinct = len(seen)
	return w
}

// Capacity is percent of the distinct keys, at least 1 entry.
func (w *Workload) Capacity(percent float64) int {
	return max(1, int(float64(w.Distinct)*percent/100))
}

func (w *Workload) String() string {
	s := fmt.Sprintf("%s: %d reads of %d keys", w.Name, w.Reads, w.Distinct)
	if w.Writes+w.Expiries > 0 {
		s += fmt.Sprintf(", %d writes, %d expiries", w.Writes, w.Expiries)
	}
	return s
}
