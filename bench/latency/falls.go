package latency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/redis/go-redis/v9"
)

const (
	fallingKeys = 1024
	// patience is how long an old value may be served before the run is given up.
	patience = 10 * time.Second
)

// falls makes what is in memory fall: first by a call in this process, then by a stranger's SET.
func falls(ctx context.Context, b *bench) error {
	if err := b.fallsHere(ctx); err != nil {
		return err
	}
	return b.fallsFromOutside(ctx)
}

func (b *bench) fallsHere(ctx context.Context) error {
	all, err := b.enter(ctx, b.those(inMemory), env{ids: ids(0, fallingKeys), load: instant})
	if err != nil {
		return err
	}
	bar := b.out.Progress("invalidations", b.rounds*len(all))
	defer bar.Done()
	title := fmt.Sprintf("An invalidation: by a call in this process, %d keys in memory", fallingKeys)
	err = b.contest(ctx, title, nanos, missColumns, all, bar.Add, func(ctx context.Context, e entrant, _ int) (figure, error) {
		return b.fallHere(ctx, e)
	})
	return errors.Join(err, leave(all))
}

// fallHere drops all keys twice: once for the mean, once for single calls.
func (b *bench) fallHere(ctx context.Context, e entrant) (f figure, err error) {
	if err := e.fill(ctx, fallingKeys); err != nil {
		return f, err
	}
	h := heapNow()
	began := b.clock.now()
	for i := range fallingKeys {
		e.drop(i)
	}
	f.mean = b.clock.between(began, b.clock.now()) / fallingKeys
	f.allocs, f.bytes = h.since(fallingKeys)
	if err := e.fill(ctx, fallingKeys); err != nil {
		return f, err
	}
	samples := make([]float64, fallingKeys)
	for i := range samples {
		began := b.clock.now()
		e.drop(i)
		samples[i] = b.clock.between(began, b.clock.now())
	}
	f.percentiles(samples)
	return f, nil
}

// fallsFromOutside also has what belongs beside Freshet here: a fence, and what tutorials make of otter.
func (b *bench) fallsFromOutside(ctx context.Context) error {
	names := ids(0, fallingKeys)
	if err := b.server.put(ctx, names); err != nil {
		return err
	}
	var sides []side
	for _, s := range b.sides {
		switch {
		case s.name == nearCache:
			sides = append(sides, s, side{"freshet, then Fence", shared, true, openFenced})
		case s.name == "otter":
			sides = append(sides, side{"otter and a plain subscriber", shared, true, openSubscriber})
		case s.value == decoded && s.name != "go-redis GET":
			sides = append(sides, s)
		}
	}
	all, err := b.enter(ctx, sides, env{ids: names})
	if err != nil {
		return err
	}
	bar := b.out.Progress("SETs", b.rounds*len(all))
	defer bar.Done()
	title := fmt.Sprintf("An invalidation: from sending a stranger's SET to %s until the old value is no longer read", b.server)
	err = b.contest(ctx, title, micros, fallColumns, all, bar.Add, func(ctx context.Context, e entrant, _ int) (figure, error) {
		return b.fallFromOutside(ctx, e, names)
	})
	return errors.Join(err, leave(all))
}

// fallFromOutside times from before the SET is sent to the beginning of the
// first read that gives the new value, so that no load is in it.
func (b *bench) fallFromOutside(ctx context.Context, e entrant, names []string) (f figure, err error) {
	samples, sets, sum := make([]float64, b.options.falls), make([]float64, b.options.falls), 0.0
	for n := range samples {
		i := n % len(names)
		if _, err := e.read(i); err != nil { // now it is in memory
			return f, err
		}
		version := time.Now().UnixNano()
		text, err := json.Marshal(productOf(names[i], version))
		if err != nil {
			return f, err
		}
		began := b.clock.now()
		if err := b.server.rdb.Set(ctx, prefix+names[i], text, 0).Err(); err != nil {
			return f, err
		}
		sets[n] = b.clock.between(began, b.clock.now())
		ended, err := b.until(ctx, e, i, version)
		if err != nil {
			return f, fmt.Errorf("%s: %w", names[i], err)
		}
		samples[n] = b.clock.between(began, ended)
		sum += samples[n]
	}
	f.mean = sum / float64(len(samples))
	f.percentiles(samples)
	slices.Sort(sets)
	f.set = report.Quantile(sets, 0.5)
	return f, nil
}

// until gives when the first read began that gave version; after a fence every read has to.
func (b *bench) until(ctx context.Context, e entrant, i int, version int64) (time.Duration, error) {
	if e.fence != nil {
		if err := e.fence(ctx); err != nil {
			return 0, err
		}
	}
	for first := b.clock.now(); ; runtime.Gosched() {
		began := b.clock.now()
		v, err := e.read(i)
		switch {
		case err != nil:
			return 0, err
		case v == version:
			return began, nil
		case e.fence != nil:
			return 0, errors.New("a read after a fence gave what was written before it")
		case began-first > patience:
			return 0, fmt.Errorf("the old value is still read after %v", patience)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
}

func openFenced(ctx context.Context, e env) (*opened, error) {
	o, tracker, err := openTracked(ctx, e)
	if err != nil {
		return nil, err
	}
	o.fence = tracker.Fence
	return o, nil
}

// openSubscriber is otter, and a subscription that deletes what it hears of. It
// loses events whenever its connection breaks, and keeps what was loaded before
// an event and stored after it: the staleness command shows both.
func openSubscriber(ctx context.Context, e env) (*opened, error) {
	o, err := openOtter(ctx, e)
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(e.keys))
	for i, key := range e.keys {
		at["__keyspace@0__:"+key] = i
	}
	rdb := redis.NewClient(&redis.Options{Addr: e.addr})
	sub := rdb.PSubscribe(ctx, "__keyspace@0__:"+prefix+"*")
	if _, err := sub.Receive(ctx); err != nil { // the confirmation
		return nil, errors.Join(err, sub.Close(), rdb.Close(), o.close())
	}
	var listening sync.WaitGroup
	messages := sub.Channel()
	listening.Go(func() {
		for m := range messages {
			if i, ok := at[m.Channel]; ok {
				o.drop(i)
			}
		}
	})
	closeOtter := o.close
	o.close = func() error {
		err := sub.Close()
		listening.Wait()
		return errors.Join(err, rdb.Close(), closeOtter())
	}
	return o, nil
}
