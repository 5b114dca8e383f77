package notify

import (
	"strconv"
	"time"
)

// Kind says what an [Event] is. The zero Kind is a change to a key.
type Kind uint8

const (
	Change Kind = iota // a command, an expiry or an eviction changed Event.Key
	Gap                // events may have been lost; Event.Reason says why. Not an error: the stream goes on
	Flush              // FLUSHALL or FLUSHDB was heard: every key may have changed
	Synced             // (re)subscribed and confirmed; what follows is complete again
)

// String gives "change", "gap", "flush" or "synced".
func (k Kind) String() string {
	switch k {
	case Change:
		return "change"
	case Gap:
		return "gap"
	case Flush:
		return "flush"
	case Synced:
		return "synced"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Event is one thing the stream tells. It is a value; it may be kept.
type Event struct {
	Kind    Kind
	DB      int       // Change only. Redis does not say which database was flushed
	Key     string    // Change only; any bytes
	Name    string    // Change only; what Redis calls it ("set", "del", "expired", ...) or what was published
	Reason  string    // of a Gap: one of the Gap... constants, fit for a metric label; GapMarker on a Flush told to the hook once more
	Dropped int       // Gap only, with GapOverflow: how many events this reader's queue lost
	Channel string    // Change only, as received
	Pattern string    // Change only, as received: the subscribed pattern that matched
	Payload string    // Change only, as received
	At      time.Time // when this process received it
}

// Reasons of a [Gap]. The set is closed, so that it can label a metric.
const (
	GapConnection = "connection" // the connection broke, or was cut off by the server
	GapSilence    = "silence"    // a ping stayed unanswered and not one byte came for PongTimeout
	GapUnplanned  = "unplanned"  // the server said what nobody had asked for, so its place in the stream is in doubt
	GapRole       = "role"       // the server is no longer a primary
	GapRunID      = "runid"      // the address leads to another server process than the subscription
	GapFlags      = "flags"      // notify-keyspace-events no longer holds what is needed
	GapMarker     = "marker"     // a marker key is gone or another: SWAPDB, or a flush that was not heard
	GapAudit      = "audit"      // the audit could not be completed within AuditEvery + PongTimeout
	GapTopology   = "topology"   // another server may have become a primary, by what a Sentinel or a node of the Cluster says
	GapPanic      = "panic"      // a hook panicked: what it was told may not have been applied
	GapOverflow   = "overflow"   // one reader's queue was full; only that reader sees it, and nothing is missing after it
)

// Hooks are called on the receive loop, one at a time, in the order of the stream. They must not block (everything
// waits for them, and bytes that are not read count as silence) nor call the Listener back.
// A hook that panics costs the session ([GapPanic]).
type Hooks struct {
	// Event is told of every event of every kind. The Event is reused: copy it to keep it.
	Event func(*Event)

	// Pong proves the stream: every event of every command that Redis executed before sent has been handed to Event.
	// sent was read before the PING was written.
	Pong func(sent, received time.Time)

	// Gap is told of a lost session, after Event was.
	Gap func(reason string)

	// Config tells that Freshet changed notify-keyspace-events, from what to what.
	Config func(was, is string)
}
