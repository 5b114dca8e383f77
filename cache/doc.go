// Package cache is the typed near cache: values in this process's memory that fall when somebody, anywhere, changes in
// Redis what they came from.
//
// # What happens to one Get
//
// The key is hashed and the store asked. An entry found is served if its validity holds now ([invalidate.Validity]):
// nothing it depends on has fallen since before its load began, its TTL has not passed, and there is proof no older than
// MaxStaleness. That takes no lock of ours beyond one shard of the store's recency window and allocates nothing.
//
// Otherwise the call joins the key's flight or starts one. A flight is one load, on a context of its own: it keeps the
// first caller's values, not its cancellation, ends after LoadTimeout, and is cancelled when nobody waits for it any
// more. While it runs, whatever is read through a cache, a loader of an adapter, or named by [invalidate.DependOn] on
// its context is recorded, and becomes what the entry depends on. The result goes to all who waited, each of whom
// checks that it is no older than what it may be given, and into the store if nothing it rests on fell meanwhile.
//
// # Values
//
// A value is shared by all callers: treat it as read-only, or set Options.Clone.
package cache
