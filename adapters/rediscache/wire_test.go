package rediscache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// Over mutual TLS and IPv6, as a user with the rights of the README, a loader's cache and a hook keep what they read, and what
// others write falls before a fence returns; after a restart or a failover too.
// Seen to fail for a user without "+publish", and on Cluster with TLSConfig not copied in clusterSource.
func TestReachedByTLSAndIPv6(t *testing.T) {
	wire := redistest.Wire{Host: "::1", TLS: redistest.NewTLS(t, true, "::1")}
	rights := func(t *testing.T, s *redistest.Server) {
		rules := readmeRules + " +command +cluster|nodes +cluster|info +cluster|slots +cluster|myid ~p:* on >secret"
		if s.Knows(t, "HPTTL") {
			rules += " +hpttl"
		}
		s.AddUser(t, "app", strings.Fields(rules)...)
	}
	t.Run("server", func(t *testing.T) {
		leak.Check(t)
		s := wire.Start(t)
		rights(t, s)
		serves(t, func() redis.UniversalClient {
			return s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
		}, notify.Options{}, func() {
			unless(t, s.Restart())
			rights(t, s)
		})
	})
	t.Run("sentinel", func(t *testing.T) {
		leak.Check(t)
		g := wire.StartSentinels(t, 3, 1)
		for _, s := range g.Servers {
			rights(t, s)
		}
		o := g.FailoverOptions()
		o.Username, o.Password = "app", "secret"
		serves(t, func() redis.UniversalClient {
			return g.Client(t, func(own *redis.FailoverOptions) { own.Username, own.Password = "app", "secret" })
		}, notify.Options{Sentinel: o}, func() {
			g.Failover(t)
			g.Settle(t) // till then the old one takes writes that are lost
		})
	})
	t.Run("cluster", func(t *testing.T) {
		leak.Check(t)
		c := wire.StartCluster(t, 3, 1)
		for _, n := range c.Nodes() {
			rights(t, n.Server)
		}
		serves(t, func() redis.UniversalClient {
			return c.Client(t, func(o *redis.ClusterOptions) { o.Username, o.Password = "app", "secret" })
		}, notify.Options{}, func() { c.Failover(t, c.Replica(t, c.Primary(t, "p:1")), "") })
	})
}

// serves checks a loader's cache and a hook, before and after upset.
func serves(t *testing.T, client func() redis.UniversalClient, opts notify.Options, upset func()) {
	t.Helper()
	rdb, hooked, stranger := client(), client(), client()
	tr := connect(t, rdb, invalidate.Options{Notify: opts})
	c := newNumbers(t, tr, rdb, slack)
	defer c.Close()
	h := hookOn(t, tr, hooked, HookOptions{})
	value := uint64(0)
	round := func() {
		t.Helper()
		for range 3 {
			value++
			for i := range 4 {
				key := fmt.Sprint(i)
				eventually(t, "a write", func() bool { return stranger.Set(t.Context(), "p:"+key, value, 0).Err() == nil })
				fence(t, tr)
				eventually(t, "the cache keeps "+key, func() bool {
					r, err := c.Read(t.Context(), key, cache.ReadOptions{})
					if err == nil && r.Value != value {
						t.Fatalf("after a fence the cache has %d, want %d", r.Value, value)
					}
					return err == nil && r.Hit
				})
				eventually(t, "the hook keeps "+key, func() bool {
					hits := h.Stats().Hits
					got, err := hooked.Get(t.Context(), "p:"+key).Uint64()
					if err == nil && got != value {
						t.Fatalf("after a fence the hook has %d, want %d", got, value)
					}
					return err == nil && h.Stats().Hits > hits
				})
			}
			eventually(t, "a touch", func() bool { return tr.Touch(t.Context(), invalidate.Tag("t")) == nil })
		}
	}
	round()
	upset()
	round()
	eventually(t, "nothing is unproven", func() bool { return len(tr.Health().Reasons) == 0 })
}
