package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

func TestKeyTexts(t *testing.T) {
	tr := tracker(t)
	type named string
	type uuid [16]byte
	type tenant struct {
		Tenant string
		ID     int
	}
	check := func(got invalidate.Name, want string) {
		t.Helper()
		if got != invalidate.Key(want) {
			t.Errorf("%v, want %s", got, want)
		}
	}
	check(build(t, tr, Options[named, int]{}).NameOf("n"), "k:n")
	check(build(t, tr, Options[int8, int]{}).NameOf(-8), "k:-8")
	check(build(t, tr, Options[uint64, int]{}).NameOf(1<<63), "k:9223372036854775808")
	check(build(t, tr, Options[uuid, int]{}).NameOf(uuid{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff}),
		"k:01234567-89ab-cdef-ff00-000000000000")
	check(build(t, tr, Options[tenant, int]{AppendKey: func(dst []byte, k tenant) []byte {
		return fmt.Appendf(dst, "%s:%d", k.Tenant, k.ID)
	}}).NameOf(tenant{"acme", 7}), "k:acme:7")
}

// Options.Hash decides where a key lies, on every path, and never whose value it gets: keys that share a hash only drive
// each other out.
// Seen to fail without the comparison of keys in find, and with maphash.Comparable in hash whatever the option.
func TestHash(t *testing.T) {
	tr := tracker(t)
	hashed := map[string]bool{}
	c := build(t, tr, Options[string, string]{
		Hash: func(_ maphash.Seed, k string) uint64 { hashed[k] = true; return 7 },
		Load: func(_ context.Context, k string) (string, error) { return "of " + k, nil },
	})
	for range 2 {
		for _, k := range []string{"a", "b"} {
			if v, err := c.Get(t.Context(), k); v != "of "+k || err != nil {
				t.Fatalf("%s: %q, %v", k, v, err)
			}
			if v, ok := c.Peek(k); v != "of "+k || !ok {
				t.Fatalf("%s is not in memory: %q, %v", k, v, ok)
			}
		}
	}
	found, err := c.GetMany(t.Context(), []string{"a", "b"})
	if len(found) != 2 || found["a"] != "of a" || found["b"] != "of b" || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if st := c.Stats(); st.Entries != 1 {
		t.Errorf("%d entries under one hash", st.Entries)
	}
	if _, err := c.Read(t.Context(), "c", ReadOptions{Refresh: true}); err != nil || !hashed["a"] || !hashed["b"] || !hashed["c"] {
		t.Errorf("hashed were %v, %v", hashed, err)
	}
}

// Tenants' struct keys of one ID are different entries, and fall one by one.
func TestStructKeys(t *testing.T) {
	tr := tracker(t)
	type key struct {
		Tenant string
		ID     int
	}
	loads := map[key]int{}
	c := build(t, tr, Options[key, string]{
		AppendKey: func(dst []byte, k key) []byte { return fmt.Appendf(dst, "%s:%d", k.Tenant, k.ID) },
		Load:      func(_ context.Context, k key) (string, error) { loads[k]++; return k.Tenant, nil },
	})
	a, b := key{"acme", 1}, key{"beta", 1}
	for range 2 {
		for _, k := range []key{a, b} {
			if v, err := c.Get(t.Context(), k); v != k.Tenant || err != nil {
				t.Fatal(v, err)
			}
		}
	}
	if err := c.Invalidate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for _, k := range []key{a, b} {
		_, _ = c.Get(t.Context(), k)
	}
	if loads[a] != 2 || loads[b] != 1 {
		t.Errorf("loads %v", loads)
	}
}

// A panic in AppendKey reaches the caller as an error, alone and in a batch.
// Seen to end the process with record outside guarded.
func TestPanicInAppendKey(t *testing.T) {
	type tenant struct{ id string }
	c := build(t, tracker(t), Options[*tenant, string]{
		AppendKey: func(dst []byte, k *tenant) []byte { return append(dst, k.id...) },
		LoadMany:  func(context.Context, []*tenant) (map[*tenant]string, error) { return nil, nil },
	})
	if _, err := c.Get(t.Context(), nil); !errors.Is(err, ErrPanic) {
		t.Errorf("Get: %v", err)
	}
	if _, err := c.GetMany(t.Context(), []*tenant{nil}); !errors.Is(err, ErrPanic) {
		t.Errorf("GetMany: %v", err)
	}
}

func TestNoKey(t *testing.T) {
	tr := tracker(t)
	var truth origin
	c := build(t, tr, Options[string, int64]{NoKey: true, Load: func(ctx context.Context, k string) (int64, error) {
		invalidate.DependOn(ctx, invalidate.Tag("t"))
		return truth.load(ctx, k)
	}})
	truth.truth.Store(1)
	_, _ = c.Get(t.Context(), "")
	truth.truth.Store(2)
	if r, err := c.Read(t.Context(), "", ReadOptions{}); r.Value != 1 || !r.Hit || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := tr.Touch(t.Context(), invalidate.Tag("t")); err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Get(t.Context(), ""); v != 2 {
		t.Errorf("after the tag fell: %d", v)
	}
	if err := c.Invalidate(t.Context(), "x"); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	ran := false
	if err := c.Write(t.Context(), "x", func(context.Context) error { ran = true; return nil }); !errors.Is(err, ErrNoKey) || ran {
		t.Error(err, ran)
	}
}

func TestFollowCaches(t *testing.T) {
	s, _ := server(t)
	rdb := s.Client(t)
	tr := connect(t, s, invalidate.Options{FollowCaches: true})
	c := build(t, tr, Options[string, string]{Prefix: "a:", Load: func(ctx context.Context, k string) (string, error) {
		if k == "outside" {
			invalidate.DependOn(ctx, invalidate.Key("z:1"))
		}
		return rdb.Get(ctx, "a:"+k).Result()
	}})
	for _, v := range []string{"1", "2"} {
		rdb.Set(t.Context(), "a:x", v, 0)
		fence(t, tr)
		for i := range 2 {
			if r, err := c.Read(t.Context(), "x", ReadOptions{}); r.Value != v || r.Hit != (i > 0) || err != nil {
				t.Errorf("%s: %+v, %v", v, r, err)
			}
		}
	}
	rdb.Set(t.Context(), "a:outside", "v", 0)
	for range 2 {
		if r, err := c.Read(t.Context(), "outside", ReadOptions{}); r.Hit || err != nil {
			t.Errorf("depends on what nobody hears of: %+v, %v", r, err)
		}
	}
	if st := tr.Stats(); st.Uncovered != 2 || st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
	fixed := connect(t, s, invalidate.Options{Notify: notify.Options{Prefixes: []string{"b:"}}})
	if _, err := New(fixed, Options[string, int]{Prefix: "a:", MaxEntries: 1}); !errors.Is(err, invalidate.ErrNotCovered) {
		t.Errorf("New outside the prefixes: %v", err)
	}
	if _, err := New(fixed, Options[string, int]{Prefix: "b:c:", MaxEntries: 1}); err != nil {
		t.Errorf("New inside the prefixes: %v", err)
	}
}

func TestOptionsValidate(t *testing.T) {
	tr := tracker(t)
	type bytesKey struct{ A, B int }
	try := func(field string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, o := range map[string]Options[string, int]{
		"NoKey":                {NoKey: true, Prefix: "p:", MaxEntries: 1},
		"MaxEntries is -1":     {MaxEntries: -1},
		"MaxBytes is -1":       {MaxBytes: -1},
		"both 0":               {},
		"both set":             {MaxEntries: 1, MaxBytes: 1},
		"Cost is nil":          {MaxBytes: 1},
		"Cost is set":          {MaxEntries: 1, Cost: func(string, int) int64 { return 1 }},
		"TTL is -1ns":          {MaxEntries: 1, TTL: -1},
		"TTLJitter is 2":       {MaxEntries: 1, TTLJitter: 2},
		"TTLJitter is NaN":     {MaxEntries: 1, TTLJitter: math.NaN()}, // seen to pass with the comparison alone
		"NegativeTTL is -1ns":  {MaxEntries: 1, NegativeTTL: -1},
		"MaxStaleness is -1ns": {MaxEntries: 1, MaxStaleness: -1},
		"LoadTimeout is -1ns":  {MaxEntries: 1, LoadTimeout: -1},
		"Beyond is 7":          {MaxEntries: 1, Beyond: 7},
		"below two heartbeats": {MaxEntries: 1, MaxStaleness: 499 * time.Millisecond},
	} {
		_, err := New(tr, o)
		try(field, err)
	}
	_, err := New(tr, Options[bytesKey, int]{MaxEntries: 1})
	try("AppendKey is nil", err)
	_, err = New[string, int](nil, Options[string, int]{MaxEntries: 1})
	try("tracker is nil", err)

	c, err := New(tr, Options[string, int]{MaxEntries: 1, Load: func(context.Context, string) (int, error) { return 1, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, get := c.Get(t.Context(), "")
	_, many := c.GetMany(t.Context(), []string{""})
	for what, err := range map[string]error{
		"Get": get, "GetMany": many, "Invalidate": c.Invalidate(t.Context(), ""),
		"Write": c.Write(t.Context(), "", func(context.Context) error { t.Error("ran"); return nil }),
	} {
		if !errors.Is(err, ErrEmptyKey) {
			t.Errorf("%s of an empty key: %v", what, err)
		}
	}
}

// A key that does not equal itself is refused: its flight could never be taken off the board again.
// Seen to leave a flight for each call without the comparison in refused.
func TestUnequalKey(t *testing.T) {
	tr := tracker(t)
	load := func(context.Context, float64) (int, error) { return 1, nil }
	many := func(_ context.Context, ks []float64) (map[float64]int, error) { return map[float64]int{ks[0]: 1}, nil }
	c := build(t, tr, Options[float64, int]{Load: load, LoadMany: many,
		AppendKey: func(dst []byte, k float64) []byte { return strconv.AppendFloat(dst, k, 'g', -1, 64) }})
	nan := math.NaN()
	for range 3 {
		_, get := c.Get(t.Context(), nan)
		_, many := c.GetMany(t.Context(), []float64{1, nan})
		_, read := c.Read(t.Context(), nan, ReadOptions{Refresh: true})
		for what, err := range map[string]error{
			"Get": get, "GetMany": many, "Read": read, "Invalidate": c.Invalidate(t.Context(), nan),
			"Write": c.Write(t.Context(), nan, func(context.Context) error { t.Error("ran"); return nil }),
		} {
			if !errors.Is(err, ErrUnequalKey) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if n := len(c.flights.byKey); n != 0 {
		t.Errorf("%d flights never leave the board", n)
	}
	if v, err := c.Get(t.Context(), 2); v != 1 || err != nil {
		t.Errorf("an honest float: %d, %v", v, err)
	}
}

// Seen to panic, after it had made the key fall, without the comparison in Write.
func TestWriteNothing(t *testing.T) {
	c := build(t, tracker(t), Options[string, int]{Load: func(context.Context, string) (int, error) { return 1, nil }})
	if err := c.Write(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "write is nil") {
		t.Error(err)
	}
}
