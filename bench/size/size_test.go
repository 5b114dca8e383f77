package size

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/bench/internal/engine"
	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/internal/workload"
)

func lruOf(t *testing.T, w *workload.Workload, capacity int) float64 {
	t.Helper()
	ratio, err := engine.HitRatio(context.Background(), engine.LRU(), w, capacity, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ratio
}

// With every key in the sample the curve is LRU's own at every capacity, falls
// included. Fails when a fall leaves no hole, and when a hit below a hole
// leaves none.
func TestCurveIsLRU(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var ops []workload.Op
		for range 60 {
			ops = append(ops, workload.Op{Key: uint64(rng.ExpFloat64() * 5), Fall: rng.IntN(4) == 0})
		}
		w := workload.OfOps("random", ops)
		c := lruCurve(ofWorkload(w, nil, 1, 1, cut{":", 1}))
		for capacity := 1; capacity <= 20; capacity++ {
			if got, want := c.at(capacity), lruOf(t, w, capacity); math.Abs(got-want) > 1e-9 {
				t.Fatalf("%d entries, %v: %.4f, LRU has %.4f", capacity, ops, got, want)
			}
		}
	}
}

// A quarter of the keys foretells the whole, skewed and written as it is. Where
// the excess counts as hits and no less, it is off by up to 4 points here.
func TestSampled(t *testing.T) {
	for seed := range uint64(6) {
		w := workload.Mix(workload.Zipf(0.9, 100_000, 50_000, seed), workload.Falls{Writes: 0.1}, seed)
		s := ofWorkload(w, nil, 0.25, seed, cut{":", 1})
		if share := float64(s.keys()) / float64(w.Distinct); math.Abs(share-1) > 0.05 {
			t.Errorf("about %d keys, there are %d", s.keys(), w.Distinct)
		}
		c := lruCurve(s)
		for _, percent := range []float64{2, 10, 50} {
			capacity := w.Capacity(percent)
			got, want := 100*c.at(capacity), 100*lruOf(t, w, capacity)
			t.Logf("seed %d, %d entries: %.2f, LRU has %.2f", seed, capacity, got, want)
			if math.Abs(got-want) > within {
				t.Errorf("seed %d, %d entries: foretold %.2f, LRU has %.2f", seed, capacity, got, want)
			}
		}
	}
}

// Freshet is foretold in miniature.
func TestMiniature(t *testing.T) {
	w := workload.Scan(30_000, 5000, 1)
	s := ofWorkload(w, nil, 0.3, 1, cut{":", 1})
	capacity := w.Capacity(20)
	p, err := foretell(context.Background(), s, lruCurve(s), capacity, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := engine.HitRatio(context.Background(), engine.Freshet(), w, capacity, nil)
	if err != nil {
		t.Fatal(err)
	}
	if off := 100 * (p.freshet - whole); math.Abs(off) > 2*within { // the race detector takes ristretto's counts away
		t.Errorf("foretold %.2f, it has %.2f", 100*p.freshet, 100*whole)
	}
}

func TestGrid(t *testing.T) {
	for _, keys := range []int{1, 10, 1000, 100_000} {
		s := ofWorkload(workload.Loop(2*keys, keys), nil, 1, 1, cut{":", 1})
		g := grid(s)
		for i, c := range g {
			if c < 1 || i > 0 && c <= g[i-1] {
				t.Errorf("%d keys: %v does not rise", keys, g)
			}
		}
		if g[len(g)-1] != keys {
			t.Errorf("%d keys: %v does not end with all of them", keys, g)
		}
	}
}

func TestRecommend(t *testing.T) {
	points := []point{{10, 0, 0.2}, {20, 0, 0.5}, {40, 0, 0.77}, {80, 0, 0.8}, {160, 0, 0.79}}
	for share, want := range map[float64]int{0.95: 40, 1: 80, 0.6: 20, 0.1: 10} {
		if got := recommend(points, share); got.entries != want {
			t.Errorf("%g of the best: %d entries, want %d", share, got.entries, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for key, want := range map[string][2]string{
		"user:1:name": {"user:", "user:1:"}, "user:1": {"user:", "user:"}, "plain": {noPrefix, noPrefix}, ":x": {":", ":"}, "": {noPrefix, noPrefix},
	} {
		if one, two := (cut{":", 1}).prefix(key), (cut{":", 2}).prefix(key); one != want[0] || two != want[1] {
			t.Errorf("prefixes of %q are %q and %q, want %q", key, one, two, want)
		}
	}
	for _, c := range []struct {
		t     tally
		ratio float64
		want  string
	}{
		{tally{"a:", 1000, 0}, 0.9, "yes"}, {tally{"a:", 1000, 100}, 0.9, "yes"},
		{tally{"a:", 1000, 0}, 0.1, "no: few hits"}, {tally{"a:", 1000, 900}, 0.5, "no: written too often"}, {tally{"a:", 0, 9}, 0, "no: never read"},
	} {
		if _, got := c.t.worth(c.ratio); got != c.want {
			t.Errorf("%+v with %g hits: %q, want %q", c.t, c.ratio, got, c.want)
		}
	}
}

func command(args ...string) (text string, r report.Result, err error) {
	var stdout, stderr bytes.Buffer
	out := report.New("size", args, &stdout, &stderr)
	err = run(context.Background(), args, out)
	return stdout.String() + stderr.String(), out.Result(), err
}

func TestRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"nothing to look at": {},
		"choose one":         {"-redis", "redis://localhost:1", "-trace", "x"},
		"give -traces":       {"-trace", "x", "-only", "y"},
		"no published":       {"-traces", "x", "-only", "y"},
		"-sample":            {"-trace", "x", "-sample", "0"},
		"-share":             {"-trace", "x", "-share", "2"},
		"-depth":             {"-trace", "x", "-depth", "0"},
		"-delimiter":         {"-trace", "x", "-delimiter", ""},
		"-for":               {"-redis", "redis://localhost:1", "-for", "-1s"},
		"-commands":          {"-redis", "redis://localhost:1", "-commands", "0"},
		"-writes":            {"-trace", "x", "-writes", "2"},
		"no such file":       {"-trace", "nowhere.lirs"},
		"invalid URL":        {"-redis", "tcp://localhost"},
		"refused":            {"-redis", "redis://127.0.0.1:1?max_retries=-1", "-yes"},
		"no reads in the":    {"-trace", "../internal/trace/testdata/loop.lirs.gz", "-sample", "1e-9"},
	} {
		if _, r, err := command(args...); err == nil || !strings.Contains(err.Error(), want) || len(r.Tables) > 0 {
			t.Errorf("size %q: %v, want %s and no table", args, err, want)
		}
	}
}

func TestTraces(t *testing.T) {
	text, r, err := command("-trace", "../internal/trace/testdata/redis.monitor:monitor", "-check")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"recommended MaxEntries", "user:", "cart:", "too few in the sample", "Check passed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if len(r.Tables) != 3 {
		t.Errorf("%d tables, want the curve, the prefixes and the check", len(r.Tables))
	}
}
