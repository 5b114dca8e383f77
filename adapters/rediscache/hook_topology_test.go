package rediscache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// topology is servers of which others may become the primaries.
type topology struct {
	client  func(t testing.TB) redis.UniversalClient
	options notify.Options
	primary func(t testing.TB, key string) *redistest.Server

	// What befalls the primary that has key. Each returns when another is the primary, and leaves the old one for heal.
	befalls map[string]func(t testing.TB, key string)
	heal    func(t testing.TB)
}

func topologies(t *testing.T, each func(t *testing.T, on topology)) {
	t.Run("sentinel", func(t *testing.T) {
		leak.Check(t)
		g := redistest.StartSentinels(t, 3, 1)
		replaced := func(t testing.TB, old *redistest.Server) {
			for g.Primary(t) == old {
				time.Sleep(10 * time.Millisecond)
			}
		}
		each(t, topology{
			client:  func(t testing.TB) redis.UniversalClient { return g.Client(t) },
			options: notify.Options{Sentinel: g.FailoverOptions()},
			primary: func(t testing.TB, _ string) *redistest.Server { return g.Primary(t) },
			befalls: map[string]func(t testing.TB, key string){
				"failover": func(t testing.TB, _ string) { g.Failover(t) },
				"isolate": func(t testing.TB, _ string) {
					old := g.Primary(t)
					g.Isolate(old)
					replaced(t, old)
				},
				"kill": func(t testing.TB, _ string) {
					old := g.Primary(t)
					unless(t, old.Kill())
					replaced(t, old)
				},
			},
			heal: func(t testing.TB) {
				g.Heal()
				for _, s := range g.Servers {
					if s.PID() == 0 {
						unless(t, s.Restart())
					}
				}
				g.Settle(t)
			},
		})
	})
	t.Run("cluster", func(t *testing.T) {
		leak.Check(t)
		c := redistest.StartCluster(t, 3, 1)
		replaced := func(t testing.TB, old *redistest.Node, key string) {
			for c.Primary(t, key) == old {
				time.Sleep(10 * time.Millisecond)
			}
		}
		each(t, topology{
			client:  func(t testing.TB) redis.UniversalClient { return c.Client(t) },
			primary: func(t testing.TB, key string) *redistest.Server { return c.Primary(t, key).Server },
			befalls: map[string]func(t testing.TB, key string){
				"failover": func(t testing.TB, key string) { c.Failover(t, c.Replica(t, c.Primary(t, key)), "") },
				"takeover": func(t testing.TB, key string) { c.Failover(t, c.Replica(t, c.Primary(t, key)), "TAKEOVER") },
				"isolate": func(t testing.TB, key string) {
					old := c.Primary(t, key)
					c.Isolate(old)
					replaced(t, old, key)
				},
				"kill": func(t testing.TB, key string) {
					old := c.Primary(t, key)
					unless(t, old.Kill())
					replaced(t, old, key)
				},
				"slot": func(t testing.TB, key string) {
					from := c.Primary(t, key)
					for _, to := range c.Nodes() {
						if to != from && to.Role(t) == "master" {
							c.MoveSlot(t, c.Slot(t, key), from, to)
							return
						}
					}
				},
			},
			heal: func(t testing.TB) {
				c.Heal()
				for _, n := range c.Nodes() {
					if n.PID() == 0 {
						unless(t, n.Restart())
					}
				}
				c.Settle(t)
			},
		})
	})
}

func unless(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A hook on such a client serves from memory what others' writes make fall, before and after a failover; and one's own.
func TestHookFollowsPrimaries(t *testing.T) {
	topologies(t, func(t *testing.T, on topology) {
		rdb, stranger := on.client(t), on.client(t)
		tr := connect(t, rdb, invalidate.Options{Notify: on.options})
		h := hookOn(t, tr, rdb, HookOptions{NegativeTTL: slack})
		ctx := t.Context()
		keys := make([]string, 20)
		for i := range keys {
			keys[i] = fmt.Sprintf("p:%d", i)
		}
		round := func(value string) {
			t.Helper()
			for _, k := range keys {
				if err := stranger.Set(ctx, k, value, 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			fence(t, tr)
			for range 2 {
				for _, k := range keys {
					if v := get(t, rdb, k); v != value {
						t.Fatalf("%s is %q, want %q", k, v, value)
					}
				}
			}
			before := h.Stats()
			if all, err := rdb.MGet(ctx, keys...).Result(); err != nil || len(all) != len(keys) || all[7] != value {
				t.Errorf("MGET over all slots: %v, %v", all, err)
			}
			var got []*redis.StringCmd
			if _, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, k := range keys {
					got = append(got, p.Get(ctx, k))
				}
				return nil
			}); err != nil || got[3].Val() != value {
				t.Errorf("a pipeline: %v, %v", got[3], err)
			}
			if after := h.Stats(); after.Hits-before.Hits < uint64(len(keys)) {
				t.Errorf("a pipeline of %d keys that were read: %d hits, %d misses", len(keys), after.Hits-before.Hits, after.Misses-before.Misses)
			}
			if err := rdb.Append(ctx, keys[0], "more").Err(); err != nil { // R12
				t.Fatal(err)
			}
			if v := get(t, rdb, keys[0]); v != value+"more" {
				t.Errorf("after an APPEND of one's own: %q", v)
			}
		}
		round("first")
		on.befalls["failover"](t, keys[0])
		round("second")
	})
}

// What a load reads through a connection to a primary that was deposed before the stream was subscribed anew would never
// fall: nobody sends events of it any more. Here the client's own connection is held back at the deposed one: what it
// reads there is not kept, and what the hook loads comes from the new one.
// Seen to fail with rdb instead of Tracker.Reader in load.
func TestHookLoadsFromPrimaries(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 3, 1)
	old, rdb := g.Servers[0], g.Client(t)
	tr := connect(t, g.Client(t), invalidate.Options{Notify: notify.Options{Sentinel: g.FailoverOptions()}})
	h := hookOn(t, tr, rdb, HookOptions{})
	deposed := old.Client(t)
	rdb.AddHook(stuck{deposed}) // behind the hook
	h.probe(t.Context())
	do(t, deposed, "SET", "p:k", "old")
	g.Isolate(old)
	promoted := g.Primary(t)
	for promoted == old {
		promoted = g.Primary(t)
	}
	do(t, promoted.Client(t), "SET", "p:k", "new")
	fence(t, tr)
	if v := get(t, rdb, "p:k"); v != "new" {
		t.Errorf("after a fence a deposed primary's %q was read", v)
	}
	if v := deposed.Get(t.Context(), "p:k").Val(); v != "old" {
		t.Fatalf("the deposed primary has %q: this schedule proves nothing", v)
	}
}

// While no majority says that the primary is the primary, what is read from it is no proof of its own: it may have been deposed
// long ago. So it is loaded again, not served from memory, though the server answers and its stream is live.
// Seen to fail without provenAt in Tracker.Reader.
func TestLoadProvesNoPrimary(t *testing.T) {
	leak.Check(t)
	const bound = 300 * time.Millisecond
	g := redistest.StartSentinels(t, 3, 0)
	rdb := g.Client(t)
	tr := connect(t, rdb, invalidate.Options{Notify: notify.Options{
		Sentinel: g.FailoverOptions(), Heartbeat: 20 * time.Millisecond, PongTimeout: 200 * time.Millisecond,
	}})
	c := kept(t, newNumbers(t, tr, rdb, bound), nil)
	do(t, g.Primary(t).Client(t), "SET", "p:k", 1)
	fence(t, tr)
	for _, s := range g.Sentinels[:2] {
		unless(t, s.Kill())
	}
	for deadline := time.Now().Add(within); tr.Staleness() <= bound; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("proven without a majority")
		}
	}
	for range 3 {
		if r := read(t, c, "k"); r.Hit || r.Value != 1 {
			t.Errorf("%+v", r)
		}
	}
	if !tr.Synced() {
		t.Error("the stream was lost: this schedule proves nothing")
	}
}

// stuck is a hook whose client's connections lead to another server.
type stuck struct{ to *redis.Client }

func (s stuck) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s stuck) ProcessHook(redis.ProcessHook) redis.ProcessHook { return s.to.Process }

func (s stuck) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return pipelined(s.to)
}

// Loads speak to the primaries as the tracker's client does: another user, who may not read the same keys, and another protocol,
// in which answers look otherwise, are refused; so is whom a credentials provider names. Seen to fail without the case of mannerOf
// in CheckClient.
func TestNewRefusesAnotherManner(t *testing.T) {
	topologies(t, func(t *testing.T, on topology) {
		rdb := on.client(t)
		tr := connect(t, rdb, invalidate.Options{Notify: on.options})
		at := on.primary(t, "p:k").Client(t)
		do(t, at, "ACL", "SETUSER", "reader", "on", "nopass", "+@all", "~p:*")
		for manner, fits := range map[struct {
			user     string
			protocol int
			provided bool
		}]bool{{"", 0, false}: true, {"default", 3, false}: true, {"", 2, false}: false, {"reader", 3, false}: false, {"", 3, true}: false} {
			var provider func() (string, string)
			if manner.provided {
				provider = func() (string, string) { return "reader", "any" }
			}
			var other redis.UniversalClient
			switch c := rdb.(type) {
			case *redis.Client:
				o := *c.Options()
				o.Username, o.Password, o.Protocol, o.CredentialsProvider = manner.user, "any", manner.protocol, provider
				other = redis.NewClient(&o)
			case *redis.ClusterClient:
				o := *c.Options()
				o.Username, o.Password, o.Protocol, o.CredentialsProvider = manner.user, "any", manner.protocol, provider
				other = redis.NewClusterClient(&o)
			}
			t.Cleanup(func() { _ = other.Close() })
			if err := tr.CheckClient(t.Context(), other); (err == nil) != fits || err != nil && !errors.Is(err, invalidate.ErrWrongClient) {
				t.Errorf("%+v: %v", manner, err)
			}
		}
	})
}

// A primary lets no new connection in, for its password was changed or it has too many, and the client has one from before:
// its reads go on. Seen to fail for the password without NOAUTH in notMine.
func TestHookReadsWhereNobodyIsLetIn(t *testing.T) {
	topologies(t, func(t *testing.T, on topology) {
		rdb := on.client(t)
		tr := connect(t, rdb, invalidate.Options{Notify: on.options})
		hookOn(t, tr, rdb, HookOptions{})
		at := on.primary(t, "p:k").Client(t)
		for _, shut := range []struct{ name, to, back string }{{"requirepass", "new", ""}, {"maxclients", "1", "10000"}} {
			if _, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error { // pipelines have connections of their own
				return p.Set(t.Context(), "p:k", "v", 0).Err()
			}); err != nil {
				t.Fatal(err)
			}
			do(t, at, "CONFIG", "SET", shut.name, shut.to)
			if v, err := rdb.Get(t.Context(), "p:k").Result(); v != "v" || err != nil {
				t.Errorf("%s: %q, %v", shut.name, v, err)
			}
			do(t, at, "CONFIG", "SET", shut.name, shut.back)
		}
	})
}

// Whatever befalls the primaries, one after the other, what hooked clients and caches read keeps I1, and caches' hits I2; whether a
// hooked client hit it does not say. Nobody writes until
// another is the primary, for what the one deposed acknowledges is lost.
// Seen to convict 13 % of the reads of I1 and 18 % of the hits of I2, on Sentinels, of a listener that takes the first view
// for good: voters' dissent, later views and seats.agreed passed over.
func TestTopologyHistory(t *testing.T) {
	topologies(t, func(t *testing.T, on topology) {
		const bound = 300 * time.Millisecond
		c := history.Config{
			Seed: rand.Uint64(), Duration: 20 * time.Second, Readers: 2, OpTimeout: 5 * time.Second,
			WritePause: 2 * time.Millisecond, ReadPause: time.Millisecond, FencePause: 5 * time.Millisecond, FaultPause: 500 * time.Millisecond,
		}
		var hooks []*Hook
		for i := range 2 {
			rdb := on.client(t)
			o := on.options
			o.Heartbeat, o.PongTimeout = 20*time.Millisecond, 200*time.Millisecond
			tr := connect(t, rdb, invalidate.Options{Notify: o})
			values := kept(t, newNumbers(t, tr, rdb, bound), nil)
			h := hookOn(t, tr, rdb, HookOptions{MaxStaleness: bound, NegativeTTL: slack})
			hooks = append(hooks, h)
			c.Instances = append(c.Instances, history.Instance{
				Name: fmt.Sprint("hook", i), Synced: tr.Synced, Fence: tr.Fence,
				Read: func(ctx context.Context, key string) (history.Observation, error) {
					v, err := orAbsent(rdb.Get(ctx, "p:"+key).Uint64())
					return history.Observation{Version: v}, err
				},
			}, history.Instance{
				Name: fmt.Sprint("cache", i), Synced: tr.Synced, Fence: tr.Fence,
				Read: func(ctx context.Context, key string) (history.Observation, error) {
					r, err := values.Read(ctx, key, cache.ReadOptions{})
					v, err := orAbsent(r.Value, err)
					return history.Observation{Version: v, Hit: r.Hit, Bound: bound}, err
				},
			})
		}
		var (
			writing  sync.RWMutex
			writers  sync.Map // by server
			befallen atomic.Int64
		)
		for name, befall := range on.befalls {
			c.Faults = append(c.Faults, history.Step{Name: name, Do: func(ctx context.Context, _ *rand.Rand) error {
				writing.Lock()
				// Nothing that was acknowledged is lost: the replica has it.
				old := on.primary(t, "p:k0").Client(t)
				_, err := old.Pipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, "{p:k0}sync", 1, 0)
					p.Do(ctx, "WAIT", 1, within.Milliseconds())
					return nil
				})
				befall(t, "p:k0")
				writing.Unlock()
				befallen.Add(1)
				time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
				on.heal(t)
				return err
			}})
		}
		c.Write = func(ctx context.Context, key string, version uint64, ttl time.Duration) error {
			writing.RLock()
			defer writing.RUnlock()
			s := on.primary(t, "p:"+key)
			rdb, ok := writers.Load(s)
			if !ok {
				rdb, _ = writers.LoadOrStore(s, s.Client(t, func(o *redis.Options) { o.MaxRetries = -1 }))
			}
			return rdb.(*redis.Client).Set(ctx, "p:"+key, version, ttl).Err()
		}
		keepsPromises(t, c, hooks)
		if befallen.Load() == 0 {
			t.Error("nothing befell the primaries")
		}
	})
}

func newNumbers(t testing.TB, tr *invalidate.Tracker, rdb redis.UniversalClient, bound time.Duration) *cache.Cache[string, uint64] {
	t.Helper()
	c, err := New(tr, rdb, JSON[uint64](), cache.Options[string, uint64]{Prefix: "p:", MaxEntries: 1000, MaxStaleness: bound, NegativeTTL: slack})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
