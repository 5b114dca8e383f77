//go:build race

package cache

// raceEnabled: the race detector's own bookkeeping allocates.
const raceEnabled = true
