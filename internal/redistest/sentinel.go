package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the Sentinels of [StartSentinels] call the primary that they watch.
const MasterName = "primary"

// SentinelGroup is a primary with replicas, watched by Sentinels: real servers all, each at an address that is a proxy,
// the one that it announces. Its methods may be called from several goroutines.
type SentinelGroup struct {
	wire      Wire
	Servers   []*Server // the first primary, then its replicas
	Sentinels []*Server
}

// StartSentinels runs a primary, replicas and Sentinels until the end of the test and returns when every Sentinel knows
// all the others and all replicas. The Sentinels believe in a server's end after a second of silence; a majority of
// them decides. args are further arguments of the primary and the replicas.
func StartSentinels(t testing.TB, sentinels, replicas int, args ...string) *SentinelGroup {
	t.Helper()
	return Wire{}.StartSentinels(t, sentinels, replicas, args...)
}

// StartSentinels is the function of that name on w.
func (w Wire) StartSentinels(t testing.TB, sentinels, replicas int, args ...string) *SentinelGroup {
	t.Helper()
	g := &SentinelGroup{wire: w}
	g.startServer(t, args)
	replicaOf := []string{"--replicaof", w.host(), fmt.Sprint(g.Servers[0].Port())}
	for range replicas {
		g.startServer(t, slices.Concat(replicaOf, args))
	}
	for _, r := range g.Servers[1:] {
		await(t, "first sync", func() error { return r.follows(g.Servers[0]) })
	}
	for range sentinels {
		g.startSentinel(t, sentinels/2+1)
	}
	g.Settle(t)
	return g
}

func (g *SentinelGroup) startServer(t testing.TB, args []string) {
	t.Helper()
	door := g.wire.door(t)
	announce, mark := g.wire.asReplica(door)
	s := g.wire.startBehind(t, door, func() []string { return slices.Concat(announce, args) })
	s.marks = []string{mark}
	g.Servers = append(g.Servers, s)
}

func (g *SentinelGroup) startSentinel(t testing.TB, quorum int) {
	t.Helper()
	ctx := context.Background()
	door := g.wire.door(t)
	// It knows no other way to be told these, and it writes into the file what it learns.
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	var conf []string
	if g.wire.Name != "" {
		conf = []string{"sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"}
	}
	conf = append(conf,
		fmt.Sprintf("sentinel monitor %s %s %d %d", MasterName, g.wire.called(), g.Servers[0].Port(), quorum),
		"sentinel down-after-milliseconds "+MasterName+" 1000",
		"sentinel failover-timeout "+MasterName+" 5000",
		"sentinel announce-ip "+g.wire.called(),
		fmt.Sprintf("sentinel announce-port %d", portOf(door.Addr())),
	)
	if err := os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s := g.wire.startBehind(t, door, func() []string { return []string{file, "--sentinel"} })
	// Else it takes ten seconds until all notice what has become of a former primary.
	brisk := s.admin.Do(ctx, "SENTINEL", "DEBUG", "INFO-PERIOD", 500, "PUBLISH-PERIOD", 200).Err()
	id, err := s.admin.Do(ctx, "SENTINEL", "MYID").Text()
	if err := errors.Join(brisk, err); err != nil {
		t.Fatalf("redistest: %s: %v", s.Addr(), err)
	}
	s.marks = []string{"\r\nsentinel-" + id[:8]} // the name that it gives its connections
	g.Sentinels = append(g.Sentinels, s)
}

// SentinelAddrs are the addresses of all Sentinels.
func (g *SentinelGroup) SentinelAddrs() []string {
	var addrs []string
	for _, s := range g.Sentinels {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// FailoverOptions are those of a client that asks the Sentinels for the primary.
func (g *SentinelGroup) FailoverOptions() *redis.FailoverOptions {
	return &redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: g.SentinelAddrs(), TLSConfig: g.wire.ClientTLS()}
}

// Client returns a client of whoever is primary that is closed at the test's end. Each of opts may change its options.
func (g *SentinelGroup) Client(t testing.TB, opts ...func(*redis.FailoverOptions)) *redis.Client {
	t.Helper()
	o := g.FailoverOptions()
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewFailoverClient(o)
	closeAtEnd(t, rdb)
	return rdb
}

// Primary is the server that a majority of the Sentinels names now. It waits while there is none.
func (g *SentinelGroup) Primary(t testing.TB) *Server {
	t.Helper()
	var p *Server
	await(t, "primary", func() (err error) {
		p, err = g.primary()
		return err
	})
	return p
}

func (g *SentinelGroup) primary() (*Server, error) {
	votes := make(map[string]int)
	for _, s := range reachable(g.Sentinels) {
		m, err := s.tells()
		if err != nil {
			return nil, err
		}
		votes[m["port"]]++
	}
	for _, s := range g.Servers {
		if votes[fmt.Sprint(s.Port())] > len(g.Sentinels)/2 {
			return s, nil
		}
	}
	return nil, fmt.Errorf("votes by port: %v", votes)
}

// Isolate cuts members of the group off from the rest, both ways, until Heal: nothing arrives, nothing is refused. They
// still hear each other, and clients still reach everybody. So a primary goes on taking its clients' writes and saying
// that it is the primary, while the Sentinels promote a replica: two to four seconds later, or ten more when none of
// them wins their vote. A Sentinel that is cut off beside the old primary goes on naming it.
func (g *SentinelGroup) Isolate(side ...*Server) { isolate(side, g.all()) }

// Heal ends Isolate. A former primary becomes a replica some seconds later: see Settle.
func (g *SentinelGroup) Heal() { heal(g.all()) }

func (g *SentinelGroup) all() []*Server { return slices.Concat(g.Servers, g.Sentinels) }

// Failover has the Sentinels make a replica the primary, and returns it when a majority of them names it. The former
// primary may take some more seconds to become a replica: see Settle.
func (g *SentinelGroup) Failover(t testing.TB) *Server {
	t.Helper()
	old := g.Primary(t)
	now := old
	insist(t, "failover from "+old.Addr(), func() error {
		return reachable(g.Sentinels)[0].admin.Do(context.Background(), "SENTINEL", "FAILOVER", MasterName).Err()
	}, func() (err error) {
		if now, err = g.primary(); err == nil && (now == old || now.Role(t) != "master") {
			err = fmt.Errorf("primary is %s", now.Addr())
		}
		return err
	})
	return now
}

// Settle waits until the Sentinels see each other and every server and agree on the primary, and all replicas are in
// sync with it.
func (g *SentinelGroup) Settle(t testing.TB) {
	t.Helper()
	await(t, "Sentinels settled", func() error {
		p, err := g.primary()
		if err != nil {
			return err
		}
		for _, s := range reachable(g.Sentinels) {
			if err := s.watches(p, reachable(g.Sentinels), reachable(g.Servers)); err != nil {
				return fmt.Errorf("%s: %w", s.Addr(), err)
			}
		}
		for _, s := range reachable(g.Servers) {
			if err := s.follows(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// watches says what a Sentinel lacks to watch p, the others and the replicas among servers.
func (s *Server) watches(p *Server, sentinels, servers []*Server) error {
	m, err := s.tells()
	if err != nil {
		return err
	}
	if m["port"] != fmt.Sprint(p.Port()) || m["flags"] != "master" {
		return fmt.Errorf("primary: %v", m)
	}
	for _, peers := range []struct {
		all        []*Server
		cmd, sound string
	}{{sentinels, "SENTINELS", "sentinel"}, {servers, "REPLICAS", "slave"}} {
		cmd := redis.NewMapStringStringSliceCmd(context.Background(), "SENTINEL", peers.cmd, MasterName)
		if err := s.admin.Process(context.Background(), cmd); err != nil {
			return err
		}
		for _, peer := range peers.all {
			known := slices.ContainsFunc(cmd.Val(), func(m map[string]string) bool {
				// What a Sentinel last said of a primary that was down is forgotten when the next one is down.
				flags := strings.TrimSuffix(m["flags"], ",master_down")
				return m["port"] == fmt.Sprint(peer.Port()) && flags == peers.sound && m["runid"] != ""
			})
			if !known && peer != s && peer != p {
				return fmt.Errorf("no sound link to %s: %v", peer.Addr(), cmd.Val())
			}
		}
	}
	return nil
}

// tells is what a Sentinel tells of the primary.
func (s *Server) tells() (map[string]string, error) {
	cmd := redis.NewMapStringStringCmd(context.Background(), "SENTINEL", "MASTER", MasterName)
	err := s.admin.Process(context.Background(), cmd)
	return cmd.Val(), err
}
