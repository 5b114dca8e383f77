package httpcache

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/invalidate"
)

// Cache stores responses. All methods may be called from any goroutine.
type Cache struct {
	opts    Options // with defaults; never changed
	tracker *invalidate.Tracker
	store   store.Store
	seed    maphash.Seed
	spaces  atomic.Uint64 // how many handlers have been wrapped

	changing [64]sync.Mutex // by hash: held while a resource is replaced

	flights flights

	closing sync.RWMutex // held for writing while closed is set, for reading while a goroutine is started
	closed  atomic.Bool
	life    context.Context // ends with Close
	end     context.CancelFunc
	wg      sync.WaitGroup // revalidations in the background
}

// New makes a cache on tracker, which stays the caller's. It fails where the options are no good; the error names the
// field.
func New(tracker *invalidate.Tracker, opts Options) (*Cache, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if tracker == nil {
		return nil, errNoTracker
	}
	opts = opts.withDefaults(tracker.Heartbeat())
	if err := checkTracker(tracker, &opts); err != nil {
		return nil, err
	}
	c := &Cache{opts: opts, tracker: tracker, seed: maphash.MakeSeed()}
	var err error
	if c.store, err = opts.Store(store.Config{MaxCost: opts.MaxBytes, ExpectedEntries: opts.MaxBytes / (8 << 10)}); err != nil {
		return nil, fmt.Errorf("httpcache: Options.Store: %w", err)
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Handler is next behind the cache: a func(http.Handler) http.Handler, for r.Use(c.Handler) and the like. Each handler
// that is wrapped has responses of its own; all share the cache's memory and what falls.
//
// A hit costs next nothing. Where next runs, it gets a copy of the request whose context records what it reads, and
// which outlives a client that leaves while others wait for the same response.
func (c *Cache) Handler(next http.Handler) http.Handler {
	return &handler{c: c, next: next, space: c.spaces.Add(1)}
}

// Close ends the cache: revalidations in the background are cancelled and waited for, and handlers pass every request
// on. Safe twice and from any goroutine but a handler's. The tracker stays the caller's.
func (c *Cache) Close() error {
	c.closing.Lock()
	c.closed.Store(true)
	c.closing.Unlock()
	c.end()
	c.wg.Wait()
	return c.store.Close()
}

// start runs f on a goroutine that Close waits for; it is false, and f does not run, after Close.
func (c *Cache) start(f func()) bool {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.closed.Load() {
		return false
	}
	c.wg.Go(f)
	return true
}

func (c *Cache) shared() bool { return !c.opts.Private }
