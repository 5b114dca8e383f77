package size

import (
	"context"
	"math"
	"slices"

	"github.com/gofreshet/freshet/bench/internal/engine"
)

// point is what is foretold for one capacity.
type point struct {
	entries      int
	lru, freshet float64 // hit ratios, 0 to 1
}

const (
	// gridPoints capacities are tried, evenly on a logarithmic scale.
	gridPoints = 14
	// leastScaled entries must be left of a capacity in its miniature, or that
	// is no likeness of the whole.
	leastScaled = 50
)

// grid is the capacities to try: up to one that holds every key.
func grid(s *sample) (out []int) {
	most := max(1, s.keys())
	least := min(most, max(1, most/1000, int(leastScaled/s.rate)))
	for i := range gridPoints {
		share := float64(i) / (gridPoints - 1)
		c := int(math.Round(float64(least) * math.Pow(float64(most)/float64(least), share)))
		if len(out) == 0 || c > out[len(out)-1] {
			out = append(out, c)
		}
	}
	return out
}

// foretell runs Freshet itself in miniature, the capacity and the keys both
// scaled by the sample's rate (Waldspurger and others, ATC 2017), and reads LRU
// off its curve.
func foretell(ctx context.Context, s *sample, lru curve, capacity int, step func(int)) (point, error) {
	scaled := max(1, int(float64(capacity)*s.rate+0.5))
	ratio, err := engine.HitRatio(ctx, engine.Freshet(), s.w, scaled, step)
	if err != nil {
		return point{}, err
	}
	return point{capacity, lru.at(capacity), s.corrected(ratio * float64(s.w.Reads))}, nil
}

// recommend gives the smallest capacity that reaches share of what the largest
// does: beyond it memory buys little. points are in the order of capacity.
func recommend(points []point, share float64) point {
	best := 0.0
	for _, p := range points {
		best = max(best, p.freshet)
	}
	i := slices.IndexFunc(points, func(p point) bool { return p.freshet >= share*best })
	return points[i]
}

// hitsByPrefix runs the miniature once more and says whose the hits are, and
// the reads of the sample.
func hitsByPrefix(s *sample, capacity int) (hits, reads map[string]int, err error) {
	e, done, err := engine.Freshet().Open(max(1, int(float64(capacity)*s.rate+0.5)), s.w.Ops)
	if err != nil {
		return nil, nil, err
	}
	hits, reads = make(map[string]int), make(map[string]int)
	for _, op := range s.w.Ops {
		prefix := s.prefixes.cut.prefix(s.text(op.Key))
		if op.Fall {
			e.Fall(op.Key)
			continue
		}
		reads[prefix]++
		if e.Read(op.Key) {
			hits[prefix]++
		}
	}
	return hits, reads, done()
}
