// Package history decides after a run whether a cache kept its promise.
//
// Writers put growing versions into keys, readers log what they saw and when. A [Recorder] collects it, [Run] is a
// workload that does so against anything, and [Check] computes for every read how stale it provably was and reports
// those that break a promise:
//
//   - I1: a read that begins after a fence returned never gives a value older than a write completed before that
//     fence was called.
//   - I2: a value from memory was current at some instant no earlier than the read's start minus its bound.
//   - I3: after a gap no entry from before it is served.
//
// It convicts on proof alone. A write that succeeded took effect between its call and its return; one whose outcome
// is unknown may take effect at any later time, or never. A read that sees a version proves that it was written by
// then. A read is convicted when it breaks a promise whichever of these times are the true ones; equal times prove
// no order.
//
// What a run must keep for this to be sound: a key has one writer at a time, and writes to the whole keyspace run
// alone; a write takes effect at most once (switch off a client's retries); every key is absent at first.
package history

import (
	"math"
	"time"
)

// Absent is the version of a key that does not exist.
const Absent = 0

// Never is later than every other time.
const Never = time.Duration(math.MaxInt64)

// Outcome is what a writer knows of its write.
type Outcome int

const (
	Unknown    Outcome = iota // an error, a timeout: it may take effect later, or never
	Applied                   // it took effect before it returned
	NotApplied                // it did not, and never will
)

// History is all that was seen in one run, in any order but for a reader's own reads. Times are counted from the
// run's start.
type History struct {
	Seed   uint64 // of the workload, for the report
	Writes []Write
	Reads  []Read
	Fences []Fence
	Gaps   []Gap
	Loads  []Load // a load's id is its index + 1
	Faults []Fault

	// Settled are instants from which on no write that had ended before with an unknown outcome takes effect.
	Settled []time.Duration

	ReadErrors, FenceErrors int // reads and fences that failed; they prove nothing
}

// Write is a key's next state: a version, or Absent.
type Write struct {
	Key        string
	All        bool // every key becomes Absent; Key and Version count for nothing
	Version    uint64
	TTL        time.Duration // 0 for none; then the key is Absent
	Outcome    Outcome
	Start, End time.Duration
}

// Read is one answer of a cache.
type Read struct {
	Reader     int    // whose reads follow one another
	Instance   string // the cache that answered; fences and gaps are its own
	Key        string
	Version    uint64        // or Absent
	Load       uint64        // the load that the value came from; 0 when not known
	Hit        bool          // from memory
	Bound      time.Duration // what staleness a hit may have; 0 when nothing was promised
	Start, End time.Duration
}

// Load is the beginning of a load from the truth. It is taken after the cache has begun to load and before the truth
// is asked.
type Load struct {
	Key   string
	Start time.Duration
}

// Fence is one that returned without an error.
type Fence struct {
	Instance   string
	Start, End time.Duration
}

// Gap is a time in which an instance may have lost events.
type Gap struct {
	Instance string
	Lost     time.Duration // first seen lost; for the report alone
	Unsynced time.Duration // an instant at which it surely was not synced
	Synced   time.Duration // an instant after it at which it surely was
}

// Fault is something that was done to the run on purpose, for the report.
type Fault struct {
	Name       string
	Start, End time.Duration
}
