package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

func TestGetMany(t *testing.T) {
	tr := tracker(t)
	var asked [][]string
	c := build(t, tr, Options[string, string]{
		NegativeTTL: time.Hour,
		LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
			asked = append(asked, ks)
			out := map[string]string{}
			for _, k := range ks {
				switch k {
				case "absent":
				case "private":
					invalidate.NoStore(ForKey(ctx, k))
					out[k] = k
				case "fails":
					return nil, errors.New("down")
				default:
					out[k] = k
				}
			}
			return out, nil
		},
	})
	if v, err := c.Get(t.Context(), "a"); v != "a" || err != nil { // LoadMany serves Get too
		t.Fatal(v, err)
	}
	want := map[string]string{"a": "a", "b": "b", "private": "private"}
	for range 2 {
		got, err := c.GetMany(t.Context(), []string{"a", "b", "b", "absent", "private"})
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if got := fmt.Sprint(asked); got != "[[a] [b absent private] [private]]" {
		t.Errorf("asked for %s", got)
	}
	got, err := c.GetMany(t.Context(), []string{"a", "fails", "c"})
	if err == nil || strings.Count(err.Error(), "down") != 1 || !maps.Equal(got, map[string]string{"a": "a"}) {
		t.Errorf("a failed load: %v, %v", got, err)
	}
	if got, err := c.GetMany(t.Context(), nil); len(got) != 0 || err != nil {
		t.Errorf("no keys: %v, %v", got, err)
	}
	one := build(t, tr, Options[string, string]{Load: func(_ context.Context, k string) (string, error) {
		if k == "absent" {
			return "", ErrNotFound
		}
		return k, nil
	}})
	if got, err := one.GetMany(t.Context(), []string{"a", "absent", "b"}); err != nil || len(got) != 2 {
		t.Errorf("without LoadMany: %v, %v", got, err)
	}
}

// A loader may do with its keys what it likes.
// Seen to fail (each key with the other's value) without slices.Clone in flyMany.
func TestLoadManyMaySortItsKeys(t *testing.T) {
	tr := tracker(t)
	c := build(t, tr, Options[string, string]{LoadMany: func(_ context.Context, ks []string) (map[string]string, error) {
		slices.Sort(ks)
		out := map[string]string{}
		for _, k := range ks {
			out[k] = "value of " + k
		}
		return out, nil
	}})
	got, err := c.GetMany(t.Context(), []string{"b", "a", "c"})
	if err != nil || got["a"] != "value of a" || got["b"] != "value of b" {
		t.Errorf("%v, %v", got, err)
	}
	tr.Forget(c.NameOf("a"))
	if _, ok := c.Peek("a"); ok {
		t.Error("it does not fall with its own key")
	}
	if _, ok := c.Peek("b"); !ok {
		t.Error("it fell with another's key")
	}
}

// ForKey speaks of the innermost load: not of a batch around it that happens to hold the same key.
// Seen to fail without the manyKey that record puts over the outer one.
func TestForKeyOfANestedLoad(t *testing.T) {
	tr := tracker(t)
	inner := build(t, tr, Options[string, string]{Prefix: "i:", LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
		for _, k := range ks {
			invalidate.NoStore(ForKey(ctx, k))
		}
		return map[string]string{"a": "a"}, nil
	}})
	outer := build(t, tr, Options[string, string]{Prefix: "o:", LoadMany: func(ctx context.Context, ks []string) (map[string]string, error) {
		v, err := inner.Get(invalidate.Detach(ctx), "a")
		return map[string]string{"a": v}, err
	}})
	for range 2 {
		if _, err := outer.GetMany(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := outer.Stats().Hits; n != 1 {
		t.Errorf("the outer entry had %d hits of 1: the inner load's NoStore reached it", n)
	}
	if n := inner.Stats().Entries; n != 0 {
		t.Errorf("the inner load's NoStore did not reach it: %d entries", n)
	}
}

// A batch joins what others load already, and what fell under way is loaded again.
func TestGetManyJoinsFlights(t *testing.T) {
	tr := tracker(t)
	o := gated()
	var batches [][]string
	c := build(t, tr, Options[string, int64]{Load: o.load, LoadMany: func(_ context.Context, ks []string) (map[string]int64, error) {
		batches = append(batches, ks)
		return map[string]int64{"b": 20}, nil
	}})
	o.truth.Store(1)
	single := async(func() (int64, error) { return c.Get(t.Context(), "a") })
	g := o.next(t)
	many := async(func() (map[string]int64, error) { return c.GetMany(t.Context(), []string{"a", "b"}) })
	waiting(t, c, "a", 2)
	g.open <- nil
	if m, err := many.wait(t); err != nil || !maps.Equal(m, map[string]int64{"a": 1, "b": 20}) {
		t.Errorf("%v, %v", m, err)
	}
	_, _ = single.wait(t)
	if fmt.Sprint(batches) != "[[b]]" || o.loads.Load() != 1 {
		t.Errorf("batches %v, single loads %d", batches, o.loads.Load())
	}
}

// The cancellation of one caller leaves a batch to those who ride with it, and the last one's ends it.
func TestGetManyCancellation(t *testing.T) {
	tr := tracker(t)
	begun := make(chan context.Context, 1)
	open := make(chan struct{})
	c := build(t, tr, Options[string, int64]{LoadMany: func(ctx context.Context, ks []string) (map[string]int64, error) {
		begun <- ctx
		select {
		case <-open:
			return map[string]int64{"a": 1, "b": 2}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	many := async(func() (map[string]int64, error) { return c.GetMany(ctx, []string{"a", "b"}) })
	lctx := <-begun
	rider := async(func() (int64, error) { return c.Get(t.Context(), "b") })
	waiting(t, c, "b", 2)
	cancel()
	if _, err := many.wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	if lctx.Err() != nil {
		t.Fatal("the batch was cancelled though one key of it is waited for")
	}
	open <- struct{}{}
	if v, err := rider.wait(t); v != 2 || err != nil {
		t.Errorf("rider %d, %v", v, err)
	}
	tr.Forget(c.NameOf("a"), c.NameOf("b"))
	ctx, cancel = context.WithCancel(t.Context())
	many = async(func() (map[string]int64, error) { return c.GetMany(ctx, []string{"a", "b"}) })
	lctx = <-begun
	cancel()
	_, _ = many.wait(t)
	<-lctx.Done()
}

// A LoadMany that answers with KeyErrors fails the keys it names, each with its own error, and nobody else; GetMany says
// so in the same words, also where the loads were single.
// Seen to fail (nobody had a value) with the error of LoadMany taken for every key's in flyMany.
func TestKeyErrors(t *testing.T) {
	tr := tracker(t)
	bad, worse := errors.New("bad"), errors.New("worse")
	fate := map[string]error{"bad": bad, "worse": worse, "gone": ErrNotFound}
	many := build(t, tr, Options[string, string]{NegativeTTL: time.Hour,
		LoadMany: func(_ context.Context, ks []string) (map[string]string, error) {
			found, failed := map[string]string{}, KeyErrors[string]{}
			for _, k := range ks {
				switch {
				case fate[k] != nil:
					failed[k] = fate[k]
				case k != "absent":
					found[k] = k
				}
			}
			return found, failed
		}})
	single := build(t, tr, Options[string, string]{Prefix: "s:", Load: func(_ context.Context, k string) (string, error) {
		if k == "absent" {
			return "", ErrNotFound
		}
		return k, fate[k]
	}})
	for what, c := range map[string]*Cache[string, string]{"LoadMany": many, "Load": single} {
		for range 2 {
			got, err := c.GetMany(t.Context(), []string{"a", "bad", "absent", "worse", "gone", "b"})
			if !maps.Equal(got, map[string]string{"a": "a", "b": "b"}) {
				t.Errorf("%s: %v", what, got)
			}
			var each KeyErrors[string]
			if !errors.As(err, &each) || !maps.Equal(each, KeyErrors[string]{"bad": bad, "worse": worse}) {
				t.Errorf("%s: %v", what, err)
			}
			if err == nil || err.Error() != "bad\nworse" || !errors.Is(err, worse) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got, err := c.GetMany(t.Context(), []string{"a", "absent"}); len(got) != 1 || err != nil {
			t.Errorf("%s: nobody failed: %v, %v", what, got, err)
		}
	}
	if _, err := many.Get(t.Context(), "bad"); err != bad {
		t.Errorf("Get: %v", err)
	}
	if v, err := many.Get(t.Context(), "c"); v != "c" || err != nil {
		t.Errorf("Get: %q, %v", v, err)
	}
	if r, err := many.Read(t.Context(), "gone", ReadOptions{}); err != ErrNotFound || !r.Hit {
		t.Errorf("an absence of its own: %+v, %v", r, err)
	}
}

// KeyErrors that speak of other keys are another batch's, and whoever hands them on has failed: its keys are not absent.
// So has one who wraps them.
// Seen to fail (both keys were absent) without the count in split.
func TestKeyErrorsOfAnotherBatch(t *testing.T) {
	tr := tracker(t)
	down := errors.New("down")
	var err error
	c := build(t, tr, Options[string, string]{LoadMany: func(context.Context, []string) (map[string]string, error) {
		return nil, err
	}})
	for what, e := range map[string]error{
		"others":  KeyErrors[string]{"x": down},
		"one too": KeyErrors[string]{"a": down, "x": down},
		"wrapped": fmt.Errorf("because: %w", KeyErrors[string]{"a": down}),
		"no":      KeyErrors[string]{"a": nil},
	} {
		err = e
		var each KeyErrors[string]
		_, many := c.GetMany(t.Context(), []string{"a", "b"})
		if !errors.As(many, &each) || len(each) != 2 || what != "no" && !errors.Is(many, down) {
			t.Errorf("%s: GetMany: %v", what, many)
		}
		if _, one := c.Get(t.Context(), "b"); one == nil || errors.Is(one, ErrNotFound) {
			t.Errorf("%s: Get: %v", what, one)
		}
	}
}
