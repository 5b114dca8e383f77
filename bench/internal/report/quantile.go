package report

import "math"

// Quantile is the least of sorted, which must be in rising order and not empty,
// that a share q of them, 0 to 1, does not exceed.
func Quantile(sorted []float64, q float64) float64 {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
