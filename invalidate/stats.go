package invalidate

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stats since the tracker was made.
type Stats struct {
	Events        uint64 // changes heard
	Invalidations uint64 // names that fell, by events and by calls
	Epochs        uint64 // times that everything fell
	Gaps          uint64
	GapsByReason  map[string]uint64
	FenceRTT      time.Duration // the last fence's
	LateDeps      uint64        // DependOn and its like after a load had ended
	Uncovered     uint64        // dependencies outside what is listened to: those loads were not stored
}

type counters struct {
	events, invalidations, lateDeps, uncovered atomic.Uint64
	fenceRTT                                   atomic.Int64

	mu   sync.Mutex
	gaps map[string]uint64
}

func (c *counters) gap(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gaps == nil {
		c.gaps = make(map[string]uint64)
	}
	c.gaps[reason]++
}

// Stats returns a copy of the counters.
func (t *Tracker) Stats() Stats {
	c := &t.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Events:        c.events.Load(),
		Invalidations: c.invalidations.Load(),
		Epochs:        t.epoch.Load(),
		GapsByReason:  maps.Clone(c.gaps),
		FenceRTT:      time.Duration(c.fenceRTT.Load()),
		LateDeps:      c.lateDeps.Load(),
		Uncovered:     c.uncovered.Load(),
	}
	for _, n := range c.gaps {
		s.Gaps += n
	}
	return s
}

// Health is for /readyz and for people. A service that is not Synced still answers: it loads through.
type Health struct {
	Synced    bool
	Staleness time.Duration // see [Tracker.Staleness]
	Reasons   []string      // what is not proven, or why nothing is heard; empty when all is well
	Nodes     []Node
}

// Node is one Redis server that is listened to.
type Node struct {
	Addr      string
	RunID     string // changes when the server restarts
	Version   string
	Staleness time.Duration // the tracker's, which is that of its stalest server
}

// Health asks nobody: it says what is known.
func (t *Tracker) Health() Health {
	if t.closed.Load() {
		return Health{Staleness: t.Staleness(), Reasons: []string{"closed"}}
	}
	s := t.listener.Status()
	h := Health{Synced: s.Synced, Staleness: t.Staleness(), Reasons: s.Reasons}
	if s.Addr == "" { // not known yet
		return h
	}
	runIDs, versions := strings.Split(s.RunID, ","), strings.Split(s.Version, ",")
	for i, addr := range strings.Split(s.Addr, ",") {
		h.Nodes = append(h.Nodes, Node{Addr: addr, RunID: runIDs[i], Version: versions[i], Staleness: h.Staleness})
	}
	return h
}
