package latency

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

// clock reads the monotonic clock alone, which costs half of what time.Now does.
type clock struct {
	zero time.Time
	cost time.Duration // what a single call measured between two readings has too much
}

func (c clock) now() time.Duration { return time.Since(c.zero) }

// calibrate measures how far two readings with nothing between them are apart.
func calibrate() clock {
	c := clock{zero: time.Now()}
	apart := make([]time.Duration, 20_001)
	for i := range apart {
		began := c.now()
		apart[i] = c.now() - began
	}
	slices.Sort(apart)
	c.cost = apart[len(apart)/2]
	return c
}

// between is the time from began to ended without the clock's own.
func (c clock) between(began, ended time.Duration) float64 {
	return float64(max(0, ended-began-c.cost))
}

// figure is what one round gave; times in nanoseconds. NaN is what was not measured.
type figure struct {
	mean, p50, p99, p999 float64
	allocs, bytes        float64 // a call, of the whole process
	missed               float64 // percent of reads
	set                  float64 // p50 of the SET alone, which an invalidation from outside begins with
}

func (f *figure) percentiles(samples []float64) {
	slices.Sort(samples)
	f.p50, f.p99, f.p999 = report.Quantile(samples, 0.5), report.Quantile(samples, 0.99), report.Quantile(samples, 0.999)
}

// heap counts allocations of the whole process.
type heap struct{ before runtime.MemStats }

func heapNow() (h heap) {
	runtime.ReadMemStats(&h.before)
	return h
}

// since is allocations and bytes for each of n calls, to two places.
func (h heap) since(n int) (allocs, bytes float64) {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	each := func(was, is uint64) float64 { return math.Round(100*float64(is-was)/float64(max(1, n))) / 100 }
	return each(h.before.Mallocs, now.Mallocs), each(h.before.TotalAlloc, now.TotalAlloc)
}

// batch is how many reads lie between two looks at the clock.
const batch = 64

// loop reads in the given order with several callers until budget has passed,
// and gives the mean time that a read took its caller.
func (c clock) loop(ctx context.Context, o *opened, order []uint32, callers int, budget time.Duration) (f figure, err error) {
	counts, errs := make([]int, callers), make([]error, callers)
	h := heapNow()
	began := c.now()
	each(callers, func(caller int) {
		at := caller * len(order) / callers
		for c.now()-began < budget && ctx.Err() == nil && errs[caller] == nil {
			for range batch {
				if _, err := o.read(int(order[at%len(order)])); err != nil {
					errs[caller] = err
					return
				}
				at++
			}
			counts[caller] += batch
		}
	})
	took := c.now() - began
	total := 0
	for i, n := range counts {
		total += n
		if errs[i] != nil {
			return f, errs[i]
		}
	}
	if err := ctx.Err(); err != nil {
		return f, err
	}
	f.mean = float64(took) * float64(callers) / float64(total)
	f.allocs, f.bytes = h.since(total)
	return f, nil
}

// singles times single reads, n in all and every gap-th, so that what is timed
// stands in the midst of reads that are not.
func (c clock) singles(ctx context.Context, o *opened, order []uint32, callers, n, gap int) ([]float64, error) {
	samples, errs := make([][]float64, callers), make([]error, callers)
	for i := range samples {
		samples[i] = make([]float64, 0, n/callers+1)
	}
	each(callers, func(caller int) {
		at := caller * len(order) / callers
		for len(samples[caller])*callers < n && errs[caller] == nil {
			for range gap - 1 {
				if _, err := o.read(int(order[at%len(order)])); err != nil {
					errs[caller] = err
					return
				}
				at++
			}
			began := c.now()
			_, err := o.read(int(order[at%len(order)]))
			ended := c.now()
			samples[caller] = append(samples[caller], c.between(began, ended))
			at++
			if errs[caller] = err; err == nil && len(samples[caller])&0xff == 0 {
				errs[caller] = ctx.Err()
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(samples...), nil
}

// each runs do for every caller at once; a single one runs here.
func each(callers int, do func(caller int)) {
	if callers == 1 {
		do(0)
		return
	}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { do(i) })
	}
	all.Wait()
}
