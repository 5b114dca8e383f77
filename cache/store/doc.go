// Package store is where the near cache keeps its entries: a small interface,
// [Store], and the default engine, ristretto behind a recency window.
//
// # One entry's way
//
// A loaded entry is linked into a hash table and stands as the newest in the
// window, a list of a part of the capacity: the next Get finds it. Reads look
// into the table alone; they take no lock, allocate nothing and leave no more
// than a mark on the entry. When the window is full, its oldest entry goes
// round once more if it was read meanwhile, and otherwise is handed to
// ristretto, which judges by the frequency of requests whether it may stay and
// who goes instead. What ristretto throws out though it was read since it was
// last looked at comes back to the window; the rest leaves the table.
//
// How much of the capacity the window has is learned from the hit ratio, where
// Config.Hits tells it; it begins with a fifth. Entries that Config.Dead knows
// to be of no more use leave before the living.
//
// So ristretto decides who stays and nothing else. A Set that it delays, drops
// or takes for another, a Del that a late Set overtakes, a Close beside a call:
// none of it can be seen by a read, because no read asks it. The price is a
// second index, about 100 bytes an entry beside ristretto's own, and that a
// miss waits for the verdict: microseconds, where its load took more.
//
// # What a read sees
//
// Formally: Set and Del of one hash are ordered by the store's mutex, and a Get
// gives the entry of the latest Set ordered before some instant within the Get,
// or a miss if that entry was removed or evicted by then.
//
// Less formally: once Set has returned nobody gets the older entry, ever.
package store
