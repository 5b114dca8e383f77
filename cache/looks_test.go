package cache

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"
)

// LookupMany is Lookup for each key, in their order and however many, in memory or not, absent or fallen, named twice;
// what is built from it falls with any of them.
// Seen to fail without the Inherit in serves, without the assignment of nil in lookMany to what is not served and to what
// has no entry, and with the first part of the keys looked at alone.
func TestLookupMany(t *testing.T) {
	tr := tracker(t)
	loads := 0
	c := build(t, tr, Options[string, string]{NegativeTTL: time.Hour, Load: func(_ context.Context, k string) (string, error) {
		loads++
		if n, _ := strconv.Atoi(k); n%5 == 1 {
			return "", ErrNotFound
		}
		return "of " + k, nil
	}})
	keys := make([]string, 3*looksAtOnce+1)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	keys = append(keys, keys[0], keys[1], keys[2])
	held := func(i int) bool { return i%5 != 3 }
	for _, k := range keys {
		if i, _ := strconv.Atoi(k); held(i) {
			_, _ = c.Get(t.Context(), k)
		}
	}
	last := keys[3*looksAtOnce-1] // in no part's first place
	check := func(when string, has func(i int) bool) {
		t.Helper()
		found := make([]Found[string], len(keys))
		for i := range found {
			found[i] = Found[string]{"left over", i%2 == 0, errors.New("left over")}
		}
		before := c.Stats()
		c.LookupMany(t.Context(), keys, found)
		var hits, negative uint64
		for at, k := range keys {
			i, _ := strconv.Atoi(k)
			var want Found[string]
			switch {
			case !has(i):
			case i%5 == 1:
				want = Found[string]{OK: true, Err: ErrNotFound}
				negative++
				hits++
			default:
				want = Found[string]{OK: true, Value: "of " + k}
				hits++
			}
			if found[at] != want {
				t.Errorf("%s, %s: %+v, want %+v", when, k, found[at], want)
			}
		}
		s := c.Stats()
		if s.Hits-before.Hits != hits || s.NegativeHits-before.NegativeHits != negative || s.Misses != before.Misses {
			t.Errorf("%s: %+v, then %+v, want %d hits, %d of them negative", when, before, s, hits, negative)
		}
	}
	check("quiet", held)
	built := 0
	outer := build(t, tr, Options[string, string]{Prefix: "o:", Load: func(ctx context.Context, _ string) (string, error) {
		built++
		c.LookupMany(ctx, keys, make([]Found[string], len(keys)))
		return "", nil
	}})
	for range 2 {
		_, _ = outer.Get(t.Context(), "x")
	}
	if built != 1 {
		t.Fatalf("built %d times from what lasts", built)
	}
	tr.Forget(c.NameOf(last))
	if _, _ = outer.Get(t.Context(), "x"); built != 2 {
		t.Error("what was built on a fallen value is served")
	}
	check("one fell", func(i int) bool { return held(i) && strconv.Itoa(i) != last })
	if _, err := c.Get(t.Context(), "0"); err != nil || loads != len(keys)-3-len(keys)/5 {
		t.Errorf("%v, %d loads", err, loads)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed", func(int) bool { return false })
}

// From the moment that Close is called nothing is served, though it waits for a load and the store is open.
// Seen to fail without the look at closed in lookMany.
func TestLookupManyWhileClosing(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	c := build(t, tracker(t), Options[string, string]{Load: func(_ context.Context, k string) (string, error) {
		if k == "slow" {
			close(begun)
			<-end
		}
		return k, nil
	}})
	_, _ = c.Get(t.Context(), "held")
	var both sync.WaitGroup
	both.Go(func() { _, _ = c.Get(t.Context(), "slow") })
	<-begun
	both.Go(func() { _ = c.Close() })
	<-c.closing
	found := make([]Found[string], 1)
	if c.LookupMany(t.Context(), []string{"held"}, found); found[0].OK {
		t.Errorf("%+v from a closed cache", found[0])
	}
	close(end)
	both.Wait()
}

func TestLookupManyAllocatesNothing(t *testing.T) {
	c := build(t, tracker(t), Options[string, int64]{Load: func(context.Context, string) (int64, error) { return 1, nil }})
	keys := make([]string, 2*looksAtOnce)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		_, _ = c.Get(t.Context(), keys[i])
	}
	ctx, found := context.Background(), make([]Found[int64], len(keys))
	if n := testing.AllocsPerRun(1000, func() { c.LookupMany(ctx, keys, found) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if !found[0].OK || !found[len(found)-1].OK {
		t.Error("these were no hits")
	}
}
