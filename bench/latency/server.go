package latency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// server is the Redis that all sides use, and the client of a stranger who writes to it.
type server struct {
	addr     string
	embedded bool
	rdb      *redis.Client
	stop     func() error
}

func openServer(ctx context.Context, embedded bool) (*server, error) {
	s := &server{embedded: embedded}
	if embedded {
		e, err := notifytest.Run()
		if err != nil {
			return nil, err
		}
		s.addr, s.stop = e.Addr, e.Close
	} else {
		r, err := redistest.Run()
		if err != nil {
			return nil, fmt.Errorf("%w; or give -quick, which needs no server", err)
		}
		s.addr, s.stop = r.Addr(), r.Close
	}
	s.rdb = redis.NewClient(&redis.Options{Addr: s.addr})
	// Notifications for all, since whoever switches them on later does so in the midst of others' figures.
	err := errors.Join(s.rdb.ConfigSet(ctx, "notify-keyspace-events", "KA").Err(), s.rdb.Set(ctx, probe, "there", 0).Err())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) close() error { return errors.Join(s.rdb.Close(), s.stop()) }

func (s *server) String() string {
	if s.embedded {
		return "the embedded Redis"
	}
	return "redis-server on loopback"
}

// product is what is cached: some 150 bytes of JSON.
type product struct {
	Version  int64    `json:"version"` // first: what tells a new value from an old one
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Cents    int64    `json:"cents"`
	InStock  bool     `json:"in_stock"`
	Tags     []string `json:"tags"`
	Supplier string   `json:"supplier"`
}

func productOf(id string, version int64) *product {
	return &product{Version: version, ID: id, Name: "Folding bicycle, 20 inches", Cents: 64_900, InStock: true,
		Tags: []string{"bicycles", "commuting", "sale"}, Supplier: "Rivet & Sons"}
}

// probe is a key that is always there.
const probe = "probe"

// prefix is what the keys in Redis have before the id.
const prefix = "product:"

// ids are as an application has them.
func ids(first, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("sku-%012d", first+i)
	}
	return out
}

// put writes the products of ids to Redis.
func (s *server) put(ctx context.Context, ids []string) error {
	const chunk = 512
	for len(ids) > 0 {
		now := ids[:min(chunk, len(ids))]
		ids = ids[len(now):]
		var pairs []any
		for _, id := range now {
			text, err := json.Marshal(productOf(id, 0))
			if err != nil {
				return err
			}
			pairs = append(pairs, prefix+id, text)
		}
		if err := s.rdb.MSet(ctx, pairs...).Err(); err != nil {
			return err
		}
	}
	return nil
}
