// Package invalidate knows what has been invalidated since when. It knows names, not values.
//
// [Connect] a [Tracker] to the Redis whose keys you cache, and give it to package cache or an adapter. Inside a load say
// with [DependOn] what else the value rests on. After a change that Redis does not see, a row in SQL, announce it with
// [Tracker.Touch]. Before a read that must see all that was written so far, ask for a [Tracker.Fence]. [Tracker.Staleness]
// and [Tracker.Health] say how things stand. A name that has been invalidated is said to have fallen.
//
// # What happens to one invalidation
//
// Somebody changes a key in Redis. The event comes down the one subscription of [notify], and on the receive loop the
// [Tracker] takes the next stamp and writes it into the ledger at the key's slot. That is all: nothing is searched and
// nothing is deleted.
//
// # What happens to one read
//
// Whoever keeps a value keeps a [Validity] beside it: the stamp and the epoch read before the value's load began, the
// slots of all that the load depended on, a deadline, and the instant for which the value is proven by its load. A read
// asks [Validity.Check]: is the epoch still the same, is no slot above the stamp, has the deadline not passed, and is
// the latest proof young enough? Validity is decided there and nowhere else, so it does not matter how late, how often
// or in which order a store puts and drops entries.
//
// # Guarantees
//
// Formally, for one tracker, with loads that read the Redis primary the tracker listens to (with Sentinels or a Cluster
// through [Tracker.Reader]; the loads of package rediscache do), or a truth whose writers call [Tracker.Touch] after they
// commit:
//
//   - I1: a read that begins after [Tracker.Fence] returned nil never gives a value older than a write that completed
//     before that Fence was called.
//   - I2: a value that passes [Validity.Check] with a bound b was current at some instant no earlier than the check's
//     clock reading minus b.
//   - I3: after a gap in the stream no value is valid whose load began before the gap's end.
//
// Less formally: every doubt costs a reload, never a stale read. A hash collision, a storm, a lost connection, a
// suspended laptop and a server that stops answering all make values fall too early, not too late.
//
// # Cost
//
// A check is one atomic load a dependency, three more, and one reading of the clock, which is most of it and which
// [Tracker.CheckAll] takes once for many. An invalidation is one short
// mutex, one hash and two atomic stores. The ledger is 8 bytes a slot.
package invalidate
