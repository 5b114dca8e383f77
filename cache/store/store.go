package store

// Store keeps entries by the 64-bit hash of their key.
//
// A Store is a place, not an authority: the cache compares the entry's own key
// and decides its validity at every read, so a Store may forget at any time
// and is never trusted to have forgotten. What an engine must hold to is in
// the comments below and is checked by [storetest.Run].
//
// All methods may be called from any number of goroutines at once.
//
// [storetest.Run]: https://pkg.go.dev/github.com/gofreshet/freshet/cache/store/storetest#Run
type Store interface {
	// Get returns what was last Set under hash, or false when it was
	// removed, evicted or never there. It allocates nothing.
	Get(hash uint64) (entry any, ok bool)

	// Set puts entry under hash in place of whatever was there. The next Get
	// sees it, unless it has been evicted since, which an engine may do at once
	// only to entries that cost more than a sixteenth of Config.MaxCost. An
	// entry that costs more than all of it is not kept, and the one it was to
	// replace goes all the same. A cost below 1 counts as 1. entry must be a
	// pointer: entries are told apart by ==.
	Set(hash uint64, entry any, cost int64)

	// Del removes entry if it is still what hash holds.
	Del(hash uint64, entry any)

	// Len is about how many entries are held.
	Len() int

	// Cost is about the sum of the costs of the entries held.
	Cost() int64

	// Close releases everything and waits for the store's goroutines.
	// Afterwards Get misses and Set is ignored. It may be called twice, and
	// beside any other call.
	Close() error
}

// Config is what the cache asks of an engine.
type Config struct {
	// MaxCost bounds the sum of the costs of the entries held. At least 1.
	MaxCost int64

	// CountEntries says that every entry costs 1, so MaxCost is a number of
	// entries. Otherwise costs are bytes.
	CountEntries bool

	// ExpectedEntries is about how many entries will be held when costs are
	// bytes; 0 assumes 1 KiB each. Ignored with CountEntries.
	ExpectedEntries int64

	// Hits, if not nil, says how many requests have been answered from the store
	// so far: what an engine that adapts learns by. It is asked now and then, on
	// any goroutine, must not block and must not call the store.
	Hits func() uint64

	// Dead, if not nil, reports whether entry can never be served again: an engine
	// may then let it go before the living. It must not block and must not call
	// the store.
	Dead func(entry any) bool

	// Evicted, if not nil, is called once for each entry that left for want of
	// room or because it was Dead, after it left: not for those replaced, removed by Del, dropped by
	// Close or never kept. It runs on any goroutine, must not block and must
	// not call the store.
	Evicted func(hash uint64, entry any)
}

// Factory opens an engine. It returns an error that names the field when cfg
// is not valid.
type Factory func(Config) (Store, error)
