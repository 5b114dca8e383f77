package latency

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gofreshet/freshet/bench/internal/workload"
)

const (
	orderLength = 1 << 16
	// sampleGap: of reads from a cache of values every eighth is timed.
	sampleGap = 8
)

// orders are in which order keys are read, by the skew of a Zipf; skew 0 is uniform.
var orders = []struct {
	name string
	skew float64
}{{"uniform", 0}, {"Zipf 0.99", 0.99}}

// hits reads what is there.
func hits(ctx context.Context, b *bench) error {
	bar := b.out.Progress("hits", len(b.sizes)*len(orders)*2*b.rounds*len(b.sides))
	defer bar.Done()
	for _, n := range b.sizes {
		names := ids(0, n)
		if err := b.server.put(ctx, names); err != nil {
			return err
		}
		all, err := b.enter(ctx, b.sides, env{ids: names, load: instant})
		if err == nil {
			err = b.hitsOf(ctx, n, all, bar.Add)
		}
		if err = errors.Join(err, leave(all)); err != nil {
			return err
		}
	}
	return nil
}

// instant is an origin that costs nothing but the product.
func instant(_ context.Context, id string) (*product, error) { return productOf(id, 0), nil }

func (b *bench) hitsOf(ctx context.Context, n int, all []entrant, step func(int)) error {
	for _, e := range all {
		if e.opened == nil {
			continue
		}
		if err := e.fill(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", e.label(), err)
		}
	}
	for _, o := range orders {
		order := orderOf(o.skew, n, b.out.Seed)
		for _, c := range []int{1, callers()} {
			who := "one caller"
			if c > 1 {
				who = fmt.Sprintf("%d callers at once", c)
			}
			title := fmt.Sprintf("A hit: %d keys, %s order, %s", n, o.name, who)
			err := b.contest(ctx, title, nanos, hitColumns, all, step, func(ctx context.Context, e entrant, _ int) (figure, error) {
				return b.hit(ctx, e, order, c)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// orderOf has the ranks of a Zipf on keys that lie anywhere.
func orderOf(skew float64, n int, seed uint64) []uint32 {
	place := rand.New(rand.NewPCG(seed, 4)).Perm(n)
	order := make([]uint32, 0, orderLength)
	for _, op := range workload.Zipf(skew, orderLength, n, seed).Ops {
		order = append(order, uint32(place[op.Key]))
	}
	return order
}

// hit is one round of one side.
func (b *bench) hit(ctx context.Context, e entrant, order []uint32, callers int) (figure, error) {
	missed, n, gap := e.missed, b.samples, sampleGap
	switch {
	case missed == nil: // a round trip each
		missed, n, gap = func() uint64 { return 0 }, n/10, 1
	case !e.memory: // microseconds each
		n, gap = n/4, 2
	}
	before := missed()
	f, err := b.clock.loop(ctx, e.opened, order, callers, time.Duration(b.batchMillis)*time.Millisecond)
	if err != nil {
		return f, err
	}
	samples, err := b.clock.singles(ctx, e.opened, order, callers, n, gap)
	if err != nil {
		return f, err
	}
	f.percentiles(samples)
	f.missed = 100 * float64(missed()-before) / float64(n*gap) // of the smaller part: rather too many than too few
	return f, nil
}
