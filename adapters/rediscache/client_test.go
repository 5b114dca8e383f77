package rediscache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

func inDB(db int) func(*redis.Options) { return func(o *redis.Options) { o.DB = db } }

// byName dials the same server by another address.
func byName(s *redistest.Server) func(*redis.Options) {
	return func(o *redis.Options) { o.Addr = fmt.Sprintf("localhost:%d", s.Port()) }
}

// A client whose values the tracker's events say nothing of is refused, and the error says what to give instead.
func TestRefusedClients(t *testing.T) {
	leak.Check(t)
	s, rdb, tr := server(t)
	other := redistest.Start(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}, ReadOnly: true})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.Addr()}})
	defer ring.Close()
	caching := s.Client(t, func(o *redis.Options) {
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{MaxEntries: 10}
	})
	for what, c := range map[string]struct {
		rdb  redis.UniversalClient
		says string
	}{
		"nil":          {nil, "rdb is nil"},
		"typed nil":    {(*redis.Client)(nil), "rdb is nil"},
		"cluster":      {cluster, "a client of a Cluster"},
		"ring":         {ring, "*redis.Ring"},
		"caching":      {caching, "ClientSideCache"},
		"database":     {s.Client(t, inDB(3)), "database 3"},
		"other server": {other.Client(t), "not known to lead to the same servers"},
	} {
		_, err := New(tr, c.rdb, Text(), of(cache.Options[string, string]{}))
		if !errors.Is(err, invalidate.ErrWrongClient) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("New with %s: %v", what, err)
		}
		if _, err = NewHash(tr, c.rdb, of(cache.Options[string, item]{})); !errors.Is(err, invalidate.ErrWrongClient) {
			t.Errorf("NewHash with %s: %v", what, err)
		}
	}
	for _, fit := range []*redis.Client{rdb, s.Client(t)} {
		texts(t, tr, fit)
	}
}

// The same server by another address is the same server: what it gives is kept, by Get as by GetMany.
// Seen to fail with depend called by the loader that build makes: Get kept nothing.
func TestSameServerByAnotherAddress(t *testing.T) {
	s, _, tr := server(t)
	rdb := s.Client(t, byName(s))
	c := texts(t, tr, rdb)
	do(t, rdb, "MSET", "p:a", "1", "p:b", "1")
	fence(t, tr)
	read(t, c, "a")
	if _, err := c.GetMany(t.Context(), []string{"b"}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a", "b"} {
		if r := read(t, c, k); !r.Hit {
			t.Errorf("%s is not kept", k)
		}
	}
	do(t, rdb, "MSET", "p:a", "2", "p:b", "2")
	fence(t, tr)
	for _, k := range []string{"a", "b"} {
		if r := read(t, c, k); r.Value != "2" {
			t.Errorf("after a change: %+v", r)
		}
	}
}

func TestOptionsThatAreNewsOwn(t *testing.T) {
	_, rdb, tr := server(t)
	load := func(context.Context, string) (string, error) { return "", nil }
	many := func(context.Context, []string) (map[string]string, error) { return nil, nil }
	for says, o := range map[string]cache.Options[string, string]{
		"Options.Load and":           {MaxEntries: 1, Prefix: "p:", Load: load},
		"LoadMany are set":           {MaxEntries: 1, Prefix: "p:", LoadMany: many},
		"Options.NoKey":              {MaxEntries: 1, NoKey: true},
		"Options.MaxEntries is -1":   {MaxEntries: -1, Prefix: "p:"},
		"MaxStaleness is 1ns, below": {MaxEntries: 1, Prefix: "p:", MaxStaleness: 1},
	} {
		if c, err := New(tr, rdb, Text(), o); err == nil || c != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := New(nil, rdb, Text(), of(cache.Options[string, string]{})); err == nil || !strings.Contains(err.Error(), "tracker is nil") {
		t.Errorf("no tracker: %v", err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(tr, rdb, Text(), of(cache.Options[string, string]{})); !errors.Is(err, invalidate.ErrClosed) {
		t.Errorf("a closed tracker: %v", err)
	}
}

// GetString and GetHash inside a load: what is loaded falls with their keys, absent ones too, and is not kept when
// nobody would tell of a change. Outside they are plain reads.
// Seen to fail with the call of depend removed from GetString, and from GetHash.
func TestInsideAnotherLoad(t *testing.T) {
	s, rdb, tr := server(t)
	clients := map[string]struct {
		rdb  redis.UniversalClient
		kept bool
	}{
		"the tracker's":   {rdb, true},
		"one like it":     {s.Client(t), true},
		"of another db":   {s.Client(t, inDB(3)), false},
		"by another name": {s.Client(t, byName(s)), false}, // nobody can tell by its options
	}
	for what, c := range clients {
		for _, inner := range []string{"string", "hash"} {
			do(t, rdb, "DEL", "p:string", "p:hash")
			fence(t, tr)
			loads := 0
			outer := keep(t)(cache.New(tr, of(cache.Options[string, string]{Prefix: "outer:", Load: func(ctx context.Context, _ string) (string, error) {
				loads++
				var v string
				var err error
				if inner == "string" {
					v, err = GetString(ctx, c.rdb, "p:string", Text())
				} else {
					var h item
					h, err = GetHash[item](ctx, c.rdb, "p:hash")
					v = h.Name
				}
				if err == redis.Nil {
					return "none", nil
				}
				return v, err
			}})))
			if r := read(t, outer, "x"); r.Value != "none" {
				t.Errorf("%s, %s: %+v", what, inner, r)
			}
			if r := read(t, outer, "x"); r.Hit != c.kept {
				t.Errorf("%s, %s: kept %v", what, inner, r.Hit)
			}
			do(t, rdb, "SET", "p:string", "made")
			do(t, rdb, "HSET", "p:hash", "name", "made")
			fence(t, tr)
			if r := read(t, outer, "x"); c.kept && r.Value != "made" {
				t.Errorf("%s, %s: after the key was made: %+v", what, inner, r)
			}
			if !c.kept && loads != 3 {
				t.Errorf("%s, %s: %d loads of 3 reads", what, inner, loads)
			}
		}
	}
}
