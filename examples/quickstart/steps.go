package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	warmReads    = 200_000
	evictions    = 100 // each by SET and by DEL
	expiries     = 5
	life         = 40 * time.Millisecond // of a key that expires
	fences       = 100
	gets         = 100 // at once
	loadTakes    = 20 * time.Millisecond
	maxStaleness = time.Second // how old a read from memory may be
	patience     = 2 * time.Second
)

// show does everything in turn and writes it on w.
func (d *demo) show(ctx context.Context, w io.Writer) error {
	p := page{w}
	d.introduce(p)
	for _, step := range []func(context.Context, page) error{d.read, d.evict, d.fence, d.herd} {
		if err := step(ctx, p); err != nil {
			return err
		}
	}
	d.sum(p)
	return ctx.Err()
}

func (d *demo) introduce(p page) {
	r := &d.report.Server
	for _, node := range d.tracker.Health().Nodes {
		r.Addr, r.Version = node.Addr, node.Version
	}
	r.KeyPrefix = d.keys
	what := "Redis"
	if r.Embedded {
		what = "an embedded Redis"
	}
	fmt.Fprintf(p.w, "A near cache on %s at %s (version %s), keys %s*\n", what, r.Addr, r.Version, d.keys)
	if flags, ok := d.switched.Load().([]string); ok {
		r.SwitchedOn = flags
		fmt.Fprintf(p.w, "Notifications are now on: notify-keyspace-events was %q and is %q\n", flags[0], flags[1])
	}
}

// read shows what a miss costs and what a hit.
func (d *demo) read(ctx context.Context, p page) error {
	if err := d.set(ctx, 1, 0); err != nil {
		return err
	}
	_, err := d.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Ping(ctx); return nil })
	if err != nil { // dialling is no part of a miss
		return err
	}
	r := &d.report.Read
	began := time.Now()
	if _, err := d.products.Get(ctx, "42"); err != nil {
		return err
	}
	r.ColdMiss = time.Since(began)

	was := d.products.Stats().Hits
	began = time.Now()
	for range warmReads {
		if _, err := d.products.Get(ctx, "42"); err != nil {
			return err
		}
	}
	r.WarmHit = math.Round(float64(time.Since(began)) / warmReads)
	r.WarmHits = d.products.Stats().Hits - was

	p.title("Reading a product")
	p.line("cold miss", short(r.ColdMiss), "from Redis: its JSON and its TTL in one round trip")
	p.line("warm hit", time.Duration(r.WarmHit), fmt.Sprintf("from memory, decoded; the mean of %d", r.WarmHits))
	return nil
}

// evict lets somebody else change the product, who knows nothing of caches, and reads it all the while.
func (d *demo) evict(ctx context.Context, p page) error {
	p.title("Somebody else changes it: how long after the +OK, or the deadline, reads are new")
	r := &d.report.Evictions
	for _, by := range []struct {
		name   string
		change func() error // nil: the deadline does it
		seen   func(product, error) bool
		life   time.Duration
		rounds int
		result *delays
	}{
		{"SET", func() error { return d.set(ctx, 2, 0) }, costs(2), 0, evictions, &r.Set},
		{"DEL", func() error { return d.other.Del(ctx, d.key()).Err() }, absent, 0, evictions, &r.Del},
		{"expiry (PX)", nil, absent, life, expiries, &r.Expiry},
	} {
		var took []time.Duration
		for range by.rounds {
			since := time.Now().Add(by.life) // the server's own deadline is a little later
			if err := d.warm(ctx, 1, by.life); err != nil {
				return err
			}
			if by.change != nil {
				if err := by.change(); err != nil {
					return err
				}
				since = time.Now()
			}
			late, reads, err := d.readUntil(ctx, since, by.seen)
			if err != nil {
				return fmt.Errorf("after %s: %w", by.name, err)
			}
			took = append(took, late)
			if reads == 1 {
				by.result.AtOnce++
			}
		}
		by.result.spread = spreadOf(took)
		p.line(by.name, by.result.median(), by.result)
	}
	return nil
}

// fence shows that no read after a fence is older than a write before it.
func (d *demo) fence(ctx context.Context, p page) error {
	r := &d.report.Fence
	var took []time.Duration
	for i := range fences {
		price := 1000 + i
		if err := d.set(ctx, price, 0); err != nil {
			return err
		}
		began := time.Now()
		if err := d.tracker.Fence(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		v, err := d.products.Get(ctx, "42")
		if err != nil {
			return err
		}
		if v.Price != price {
			r.OldReads++
		}
	}
	r.RTT = spreadOf(took)

	p.title("A fence: every read after it sees every write before it")
	p.line("round trip", short(r.RTT.Median), r.RTT)
	p.line("old reads after it", r.OldReads, fmt.Sprintf("of %d", fences))
	return nil
}

type order struct{ ID, Total int }

// repository is a slow truth that is not in Redis: SQL, an API.
type repository struct{ asked atomic.Int64 }

func (r *repository) Order(ctx context.Context, id int) (order, error) {
	r.asked.Add(1)
	select {
	case <-time.After(loadTakes):
		return order{ID: id, Total: 12}, nil
	case <-ctx.Done():
		return order{}, ctx.Err()
	}
}

// herd shows many who want what is not in memory yet.
func (d *demo) herd(ctx context.Context, p page) error {
	var repo repository
	getOrder := d.orders.Wrap(repo.Order) // the same function, cached

	var all sync.WaitGroup
	errs := make([]error, gets)
	start := make(chan struct{})
	for i := range gets {
		all.Go(func() {
			<-start
			_, errs[i] = getOrder(ctx, 7)
		})
	}
	began := time.Now()
	close(start)
	all.Wait()
	r := &d.report.Herd
	r.Took = time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.Gets, r.Loads, r.Joined, r.Load = gets, repo.asked.Load(), d.orders.Stats().Joined, loadTakes

	p.title("A hundred Gets at once of one cold key, whose load takes %v", loadTakes)
	p.line("all answered after", short(r.Took), fmt.Sprintf("%d waited for the load of another", r.Joined))
	p.line("loads", r.Loads, "")
	return nil
}

// sum is what a service would export.
func (d *demo) sum(p page) {
	r, stats := &d.report.Sum, d.products.Stats()
	r.Hits, r.Misses, r.HitRatio, r.Loads = stats.Hits, stats.Misses, stats.HitRatio(), stats.Loads
	r.Staleness, r.MaxStalenessSeen, r.MaxStaleness = d.tracker.Staleness(), stats.MaxStalenessSeen, maxStaleness
	d.report.judge()

	p.title("In sum, for the products")
	p.line("hit ratio", fmt.Sprintf("%.2f %%", 100*r.HitRatio), fmt.Sprintf("%d hits, %d misses", r.Hits, r.Misses))
	p.line("loads", r.Loads, "")
	p.line("staleness now", short(r.Staleness), "the age of the last proof that nothing is missing")
	p.line("its largest", short(r.MaxStalenessSeen),
		fmt.Sprintf("of all that was served from memory; promised: %v at most, or it is not", r.MaxStaleness))
}

func (d *demo) key() string { return d.keys + "product:42" }

// set is somebody else's write. A life of 0 is for ever.
func (d *demo) set(ctx context.Context, price int, life time.Duration) error {
	value, err := json.Marshal(product{ID: "42", Price: price})
	if err != nil {
		return err
	}
	return d.other.Set(ctx, d.key(), value, life).Err()
}

// warm sets the product and reads it into memory, with no event of a change on the way any more.
func (d *demo) warm(ctx context.Context, price int, life time.Duration) error {
	if err := d.set(ctx, price, life); err != nil {
		return err
	}
	if err := d.tracker.Fence(ctx); err != nil {
		return err
	}
	if v, err := d.products.Get(ctx, "42"); err != nil && !absent(v, err) { // a short life may be over by now
		return err
	}
	return nil
}

func costs(price int) func(product, error) bool {
	return func(v product, err error) bool { return err == nil && v.Price == price }
}

func absent(_ product, err error) bool { return errors.Is(err, redis.Nil) }

// readUntil reads the product again and again, mostly from memory, until seen. It returns how long after since that
// read began, 0 for before, and how many reads it took.
func (d *demo) readUntil(ctx context.Context, since time.Time, seen func(product, error) bool) (
	late time.Duration, reads int, err error,
) {
	for {
		began := time.Now()
		late = max(0, began.Sub(since))
		reads++
		v, err := d.products.Get(ctx, "42")
		switch {
		case seen(v, err):
			return late, reads, nil
		case err != nil && !absent(v, err):
			return late, reads, err
		case ctx.Err() != nil:
			return late, reads, ctx.Err()
		case late > patience:
			return late, reads, fmt.Errorf("reads are still old %v later", patience)
		}
		runtime.Gosched() // on one processor the event must get its turn
	}
}
