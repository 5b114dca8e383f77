package store

import (
	"os"
	"strconv"
	"strings"
)

var knobs = struct {
	missFeed, rotate, feed, again bool
	window, counters float64; dec, feedmax, buf uint32
}{true, true, true, true, 20, 20, 0, 3, 64}

func init() {
	for kv := range strings.SplitSeq(os.Getenv("KNOBS"), ",") {
		k, v, _ := strings.Cut(kv, "=")
		f, _ := strconv.ParseFloat(v, 64)
		switch k {
		case "miss":
			knobs.missFeed = f != 0
		case "rotate":
			knobs.rotate = f != 0
		case "feed":
			knobs.feed = f != 0
		case "dec": knobs.dec = uint32(f)
		case "feedmax": knobs.feedmax = uint32(f)
		case "buf": knobs.buf = uint32(f)
		case "again":
			knobs.again = f != 0
		case "window":
			knobs.window = f
		case "counters":
			knobs.counters = f
		}
	}
}

// Open opens the default engine.
func Open(cfg Config) (Store, error) {
	w := max(1, int64(float64(cfg.MaxCost)*knobs.window/100))
	m := cfg.MaxCost - w
	j, err := newJudge(max(64, int64(float64(cfg.MaxCost)*knobs.counters)), m)
	if err != nil {
		return nil, err
	}
	return &tiered{table: newTable(), maxCost: cfg.MaxCost, evicted: cfg.Evicted, window: window{limit: w}, judge: j, batch: max(1, min(64, w/16))}, nil
}
