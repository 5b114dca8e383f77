package notify

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
)

// What README names, for servers and for Sentinels.
const (
	serverRules = "+psubscribe +ping +hello +client +info +role +config|get +config|set +publish +get +set ~freshet:* " +
		"&__keyspace@0__:* &__keyspace@*__:freshet:mended +cluster|nodes +cluster|info +cluster|slots +cluster|myid +command"
	sentinelRules = "+hello +client +ping +sentinel|master +sentinel|sentinels +sentinel|myid +sentinel|is-master-down-by-addr " +
		"+sentinel|get-master-addr-by-name +subscribe &+switch-master &+replica-reconf-done"
)

// manner is how servers are reached. Everywhere a client is one of the user app, with the least rights.
type manner struct {
	wire        redistest.Wire
	credentials func(o *redis.UniversalOptions)
	nat         bool // servers are dialled by other addresses than they tell
}

func manners(t *testing.T) map[string]manner {
	t.Helper()
	return map[string]manner{
		"IPv6, mutual TLS": {
			wire: redistest.Wire{Host: "::1", TLS: redistest.NewTLS(t, true, "::1")},
			credentials: func(o *redis.UniversalOptions) {
				o.CredentialsProviderContext = func(context.Context) (string, string, error) { return "app", "secret", nil }
			},
		},
		"certificates for a name alone": {
			wire: redistest.Wire{Name: "localhost", TLS: redistest.NewTLS(t, false, "localhost")},
			credentials: func(o *redis.UniversalOptions) {
				o.StreamingCredentialsProvider = &streaming{listeners: make(map[auth.CredentialsListener]bool)}
			},
		},
		"NAT": {
			credentials: func(o *redis.UniversalOptions) { o.Username, o.Password = "app", "secret" },
			nat:         true,
		},
	}
}

// args are those of servers.
func (m manner) args() []string {
	args := slices.Concat([]string{"--user", "app", "on", ">secret", "~k*"}, strings.Fields(serverRules))
	if m.nat { // so that they tell a Cluster's clients names
		args = append(args, "--cluster-preferred-endpoint-type", "hostname")
	}
	return args
}

// options are those of clients. outside gives the addresses to dial, by what is told, where that is another.
func (m manner) options(addrs []string, outside func() map[string]string) *redis.UniversalOptions {
	o := &redis.UniversalOptions{Addrs: addrs, TLSConfig: m.wire.ClientTLS(), ClientName: "listener"}
	o.SentinelUsername, o.SentinelPassword = "watcher", "another"
	m.credentials(o)
	if m.nat {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, redirected(addr, outside))
		}
	}
	return o
}

func redirected(addr string, outside func() map[string]string) string {
	if to, known := outside()[addr]; known {
		return to
	}
	return "127.0.0.1:1" // nobody is there
}

// streaming is a credentials provider that knows who listens to it.
type streaming struct {
	mu        sync.Mutex
	listeners map[auth.CredentialsListener]bool
}

func (s *streaming) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = true
	return auth.NewBasicCredentials("app", "secret"), func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
		return nil
	}, nil
}

func (s *streaming) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners)
}

// However servers are reached, what others write is told, through a restart, a failover, a newcomer and a moved slot,
// and nothing is refused.
// Seen to fail, where certificates are for a name and behind a NAT, without byName in takeSlots: the newcomer is dialled by its
// IP address; behind a NAT with reach twice in sentinels.ask: a loopback address is taken for the Sentinel's; and with a streaming
// provider without asTheyAre: go-redis panics.
func TestReached(t *testing.T) {
	for name, m := range manners(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("server", m.server)
			t.Run("sentinel", m.sentinel)
			t.Run("cluster", m.cluster)
		})
	}
}

func (m manner) server(t *testing.T) {
	leak.Check(t)
	s := m.wire.Start(t, m.args()...)
	o := m.options([]string{"server.redistest:6379"}, func() map[string]string {
		return map[string]string{"server.redistest:6379": s.Addr()}
	})
	if !m.nat {
		o.Addrs = []string{s.Addr()}
	}
	f := m.follow(t, o, func() redis.UniversalClient { return redis.NewClient(o.Simple()) }, Options{})
	f.told(t)
	s.Restart()
	f.told(t)
	f.accepted(t, "app", s)
}

func (m manner) sentinel(t *testing.T) {
	leak.Check(t)
	g := m.wire.StartSentinels(t, 3, 1, m.args()...)
	inside := make(map[string]string)
	for _, s := range slices.Concat(g.Servers, g.Sentinels) {
		inside[s.Addr()] = s.Addr()
	}
	o := m.options(g.SentinelAddrs(), func() map[string]string { return inside })
	for i, s := range g.Sentinels {
		s.AddUser(t, "watcher", append(strings.Fields(sentinelRules), "on", ">another")...)
		if m.nat {
			o.Addrs[i] = fmt.Sprintf("sentinel-%d.redistest:26379", i)
			inside[o.Addrs[i]] = s.Addr()
		}
	}
	o.MasterName = redistest.MasterName
	if o.StreamingCredentialsProvider != nil { // go-redis's client panics over it
		o.StreamingCredentialsProvider = nil
		o.CredentialsProvider = func() (string, string) { return "app", "secret" }
	}
	f := m.follow(t, o, func() redis.UniversalClient { return redis.NewFailoverClient(o.Failover()) }, Options{Sentinel: o.Failover()})
	f.told(t)
	f.accepted(t, "app", g.Servers[0])
	f.accepted(t, "watcher", g.Sentinels...)
	now := g.Failover(t)
	g.Settle(t) // till then the old one takes writes that are lost
	f.told(t)
	f.accepted(t, "app", now)
}

func (m manner) cluster(t *testing.T) {
	leak.Check(t)
	c := m.wire.StartCluster(t, 3, 1, m.args()...)
	outside := func() map[string]string {
		addrs := make(map[string]string)
		for i, n := range c.Nodes() {
			addrs[fmt.Sprintf("node-%d.redistest:%d", i, n.Port())] = n.Addr()
		}
		return addrs
	}
	o := m.options(c.Addrs(), outside)
	own := o.Cluster()
	if m.nat {
		for i, n := range c.Nodes() {
			own.Addrs[i] = fmt.Sprintf("node-%d.redistest:%d", i, n.Port())
		}
		own.Dialer = nil
		own.NewClient = func(o *redis.Options) *redis.Client {
			o.Addr = redirected(o.Addr, outside)
			return redis.NewClient(o)
		}
	}
	f := m.follow(t, o, func() redis.UniversalClient {
		copied := *own
		return redis.NewClusterClient(&copied)
	}, Options{})
	f.told(t)
	to := c.Primary(t, "k0")
	if m.nat || m.wire.Name != "" { // who has no slots is not in what tells the names
		to = c.AddNode(t)
		eventually(t, "the newcomer is listened to", func() bool {
			st := f.l.Status()
			return st.Synced && strings.Contains(st.Addr, fmt.Sprint(":", to.Port()))
		})
	}
	c.MoveSlot(t, c.Slot(t, "k1"), c.Primary(t, "k1"), to)
	c.Failover(t, c.Replica(t, c.Primary(t, "k2")), "")
	f.told(t)
	f.accepted(t, "app", to.Server, c.Primary(t, "k0").Server, c.Primary(t, "k2").Server)
}

// follower is a listener, and a stranger who writes.
type follower struct {
	l        *Listener
	r        *recorder
	stranger redis.UniversalClient
	provider *streaming
}

func (m manner) follow(t *testing.T, o *redis.UniversalOptions, dial func() redis.UniversalClient, opts Options) *follower {
	t.Helper()
	rdb, stranger := dial(), dial()
	f := &follower{stranger: stranger}
	f.provider, _ = o.StreamingCredentialsProvider.(*streaming)
	t.Cleanup(func() {
		rdb.Close()
		stranger.Close()
		if f.provider != nil && f.provider.count() > 0 {
			t.Errorf("%d listen to the credentials provider when all is closed", f.provider.count())
		}
	})
	f.l, f.r = recorded(t, rdb, opts)
	return f
}

// told writes to every primary, and again where a gap came in between.
func (f *follower) told(t *testing.T) {
	t.Helper()
	eventually(t, "what is written is told", func() bool {
		before := len(f.r.events())
		var want []string
		for i := range 6 {
			key := fmt.Sprint("k", i)
			if f.stranger.Set(testContext(t), key, 1, 0).Err() != nil {
				return false
			}
			want = append(want, "set "+key)
		}
		fenced(t, f.l)
		got := f.r.events()[before:]
		missing := slices.DeleteFunc(want, func(ev string) bool { return slices.Contains(got, ev) })
		if len(missing) > 0 && !slices.Contains(got, "synced") {
			t.Fatalf("a fence passed before %q were told: %q", missing, got)
		}
		return len(missing) == 0
	})
	eventually(t, "the primaries are read and published by", func() bool {
		ctx := testContext(t)
		rdb, _ := f.l.Primaries()
		if rdb == nil || rdb.Get(ctx, "k0").Err() != nil || rdb.Get(ctx, "k1").Err() != nil || rdb.Get(ctx, "k2").Err() != nil {
			return false
		}
		return f.l.Through(ctx, func(rdb redis.UniversalClient) error { return rdb.Publish(ctx, "__keyspace@0__:k", "touch").Err() }) == nil
	})
	eventually(t, "all is proven", func() bool { return reasons(f.l) == "" })
}

// accepted checks that the listener's connections to servers are user's, and that these refused nothing.
func (f *follower) accepted(t *testing.T, user string, servers ...*redistest.Server) {
	t.Helper()
	for _, s := range servers {
		rdb := s.Client(t)
		list, err := rdb.ClientList(testContext(t)).Result()
		if err != nil || !strings.Contains(list, " name=listener ") {
			t.Errorf("%s: nobody has the client's name: %s, %v", s.Addr(), list, err)
		}
		for line := range strings.Lines(list) {
			if strings.Contains(line, " name=listener ") && !strings.Contains(line, " user="+user+" ") {
				t.Errorf("%s: a connection is another user's: %s", s.Addr(), line)
			}
		}
		log, err := rdb.ACLLog(testContext(t), 10).Result()
		if err != nil {
			t.Error(err)
		}
		for _, entry := range log {
			t.Errorf("%s refused: %+v", s.Addr(), *entry)
		}
	}
}
