package latency

import (
	"context"
	"errors"
	"fmt"
)

// misses reads what is not there: the look-up, the load, and keeping the result.
func misses(ctx context.Context, b *bench) error {
	err := b.missesFrom(ctx, "an origin that costs nothing", b.effort.instant, instant, inMemory)
	if err != nil {
		return err
	}
	return b.missesFrom(ctx, b.server.String(), b.loaded, nil, func(s side) bool { return s.value != raw })
}

// missesFrom reads n keys in each round that nobody has read before.
func (b *bench) missesFrom(ctx context.Context, from string, n int, load loadFunc, fit func(side) bool) error {
	names := ids(1<<30, n*b.rounds)
	if load == nil {
		if err := b.server.put(ctx, names); err != nil {
			return err
		}
	}
	all, err := b.enter(ctx, b.those(fit), env{ids: names, load: load})
	if err != nil {
		return err
	}
	bar := b.out.Progress("misses", b.rounds*len(all))
	defer bar.Done()
	title := fmt.Sprintf("A miss: loading from %s, one caller", from)
	err = b.contest(ctx, title, micros, missColumns, all, bar.Add, func(ctx context.Context, e entrant, round int) (figure, error) {
		return b.miss(ctx, e, round*n, n)
	})
	return errors.Join(err, leave(all))
}

func (b *bench) miss(ctx context.Context, e entrant, first, n int) (f figure, err error) {
	samples, sum := make([]float64, n), 0.0
	h := heapNow()
	for i := range samples {
		began := b.clock.now()
		_, err := e.read(first + i)
		ended := b.clock.now()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return f, err
		}
		samples[i] = b.clock.between(began, ended)
		sum += samples[i]
	}
	f.allocs, f.bytes = h.since(n)
	f.mean = sum / float64(n)
	f.percentiles(samples)
	return f, nil
}
