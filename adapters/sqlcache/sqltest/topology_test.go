package sqltest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/redistest"
)

// keeper is a Redis that may lose what it has acknowledged.
type keeper struct {
	name string
	home home
	cut  func(t *testing.T) // from here on what is written will be lost
	lose func(t *testing.T) // it is
}

// deaf keeps a primary's replicas from hearing it, and lets everybody else do so.
func deaf(t *testing.T, primary *redistest.Server) {
	t.Helper()
	rdb := primary.Client(t)
	for _, args := range [][]any{{"acl", "setuser", "default", "-psync", "-sync"}, {"client", "kill", "type", "replica"}} {
		if err := rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func keepers(t *testing.T) []keeper {
	single := redistest.Start(t, "--save", "3600 1")
	full := redistest.Start(t)
	group := redistest.StartSentinels(t, 3, 1)
	cluster := redistest.StartCluster(t, 3, 1)
	var primary *redistest.Node
	return []keeper{
		{"one server", home{Addr: single.Addr()}, func(t *testing.T) {
			if err := single.Client(t).Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T) {
			if err := single.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := single.Restart(); err != nil {
				t.Fatal(err)
			}
		}},
		{"an eviction", home{Addr: full.Addr()}, func(*testing.T) {}, func(t *testing.T) {
			rdb := full.Client(t)
			if n, err := rdb.Del(t.Context(), rdb.Keys(t.Context(), "freshet:sql:*").Val()...).Result(); n == 0 {
				t.Fatal("nothing was evicted: ", err)
			}
		}},
		{"Sentinels", home{Sentinels: group.SentinelAddrs()},
			func(t *testing.T) { deaf(t, group.Primary(t)) },
			func(t *testing.T) {
				old := group.Primary(t)
				if err := old.Kill(); err != nil {
					t.Fatal(err)
				}
				for group.Primary(t) == old {
					time.Sleep(20 * time.Millisecond)
				}
			}},
		{"a Cluster", home{Cluster: cluster.Addrs()},
			func(t *testing.T) {
				primary = cluster.Primary(t, booksOf(t, cluster))
				deaf(t, primary.Server)
			},
			func(t *testing.T) {
				replica := cluster.Replica(t, primary)
				if err := primary.Kill(); err != nil {
					t.Fatal(err)
				}
				cluster.Failover(t, replica, "TAKEOVER")
			}},
	}
}

// booksOf is the key of the marks.
func booksOf(t testing.TB, c *redistest.Cluster) string {
	t.Helper()
	found := make(chan string, 100)
	if err := c.Client(t).ForEachMaster(t.Context(), func(ctx context.Context, rdb *redis.Client) error {
		keys, err := rdb.Keys(ctx, "freshet:sql:*:marks").Result()
		for _, k := range keys {
			found <- k
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case key := <-found:
		return key
	default:
		t.Fatal("no books")
		return ""
	}
}

// A writer has set its mark and is committing when Redis loses the mark, by an eviction, by a restart from an older copy or by a
// failover to a replica that lacks it; and it dies before it can tell of its commit. What others load meanwhile is not stored, neither by
// a process that has seen Redis before nor by a new one. Then everything is as it was.
//
// Seen to fail without the processes in a generation (but for the eviction), with nobody missing one that is gone, and with
// a new process that stores at once.
func TestMarksLost(t *testing.T) {
	for _, k := range keepers(t) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := newBase(t, "sqlite")
			must(t, b.plain(t), "CREATE TABLE r (id INT PRIMARY KEY, v INT)", "INSERT INTO r VALUES (1, 1)")
			const q = "SELECT v FROM r WHERE id = 1"
			lease := func(o *sqlcache.Options) { o.Lease = 15 * time.Second }
			reader, c := openWith(t, k.client(t), b.connector(t), guard.Plan{}, lease)
			serves(t, reader, c, q)

			marked, on := make(chan struct{}), make(chan struct{})
			dies := guard.Plan{Out: guard.After, Step: func(s string) {
				if s == "marked" {
					close(marked)
					<-on
				}
			}}
			writer, _ := openWith(t, k.client(t), b.connector(t), dies, lease)
			one[int](t, writer, q)
			k.cut(t)
			done := make(chan error, 1)
			go func() {
				_, err := writer.Exec("UPDATE r SET v = 2 WHERE id = 1")
				done <- err
			}()
			select {
			case <-marked:
			case err := <-done:
				t.Fatal(err)
			}
			k.lose(t)
			if err := fence(t, c); err != nil {
				t.Fatal(err)
			}
			late, lc := openWith(t, k.client(t), b.connector(t), guard.Plan{}, lease)
			for range 5 {
				if got := one[int](t, reader, q); got != 1 {
					t.Errorf("read %d before it was committed", got)
				}
				one[int](t, late, q)
			}
			close(on)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := fence(t, c); err != nil {
					t.Fatal(err)
				}
				if got := one[int](t, reader, q); got != 2 {
					t.Errorf("read %d after 2 was committed", got)
				}
				if got := one[int](t, late, q); got != 2 {
					t.Errorf("a new process read %d after 2 was committed", got)
				}
			}
			serves(t, reader, c, q)
			serves(t, late, lc, q)
			if _, err := reader.Exec("UPDATE r SET v = 3 WHERE id = 1"); err != nil {
				t.Fatal(err)
			}
			if err := fence(t, lc); err != nil {
				t.Fatal(err)
			}
			if got := one[int](t, late, q); got != 3 {
				t.Errorf("read %d after 3 was committed and a fence", got)
			}
		})
	}
}

// client is one more process's, without patience for servers that are gone.
func (k keeper) client(t *testing.T) redis.UniversalClient {
	rdb := k.home.client()
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// The race of TestHistory while primaries are killed and cut off, and others become so.
func TestHistoryTopology(t *testing.T) {
	group := redistest.StartSentinels(t, 3, 1)
	cluster := redistest.StartCluster(t, 3, 1)
	restart := func(s *redistest.Server) {
		if s.PID() == 0 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, on := range map[string]struct {
		home    home
		befalls []func()
		heal    func()
	}{
		"Sentinels": {home{Sentinels: group.SentinelAddrs()}, []func(){
			func() { group.Failover(t) },
			func() { awaitOther(t, group.Primary, func(old *redistest.Server) { old.Kill() }) },
			func() { awaitOther(t, group.Primary, func(old *redistest.Server) { group.Isolate(old) }) },
		}, func() {
			group.Heal()
			for _, s := range group.Servers {
				restart(s)
			}
			group.Settle(t)
		}},
		"a Cluster": {home{Cluster: cluster.Addrs()}, []func(){
			func() { cluster.Failover(t, cluster.Replica(t, cluster.Primary(t, booksOf(t, cluster))), "") },
			func() { awaitOther(t, keeps(t, cluster), func(old *redistest.Node) { old.Kill() }) },
			func() { awaitOther(t, keeps(t, cluster), func(old *redistest.Node) { cluster.Isolate(old) }) },
		}, func() {
			cluster.Heal()
			for _, n := range cluster.Nodes() {
				restart(n.Server)
			}
			cluster.Settle(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBase(t, "sqlite")
			// Who has the one write lock may have to wait for a primary, one after the other.
			b.dsn = strings.Replace(b.dsn, "busy_timeout(5000)", "busy_timeout(60000)", 1)
			for _, p := range []protocol{
				{name: "full protocol", maxStaleness: bound},
				{name: "invalidate before commit", maxStaleness: bound, out: guard.Mark | guard.After, finds: []string{"living", "dying"}},
			} {
				r := newRace(t, b, on.home)
				r.lease = time.Second // what is kept out of memory after a failover; a writer may be slow meanwhile
				if len(p.finds) == 0 {
					n := 0
					r.befall = func() {
						on.befalls[n%len(on.befalls)]()
						n++
						r.pause(2 * bound)
						on.heal()
						r.pause(2 * r.lease)
					}
				}
				r.run(p)
			}
		})
	}
}

// keeps tells who has the books.
func keeps(t *testing.T, c *redistest.Cluster) func(testing.TB) *redistest.Node {
	books := booksOf(t, c)
	return func(t testing.TB) *redistest.Node { return c.Primary(t, books) }
}

// awaitOther does something to the primary and waits until there is another.
func awaitOther[P comparable](t *testing.T, primary func(testing.TB) P, do func(old P)) {
	t.Helper()
	old := primary(t)
	do(old)
	for primary(t) == old {
		time.Sleep(20 * time.Millisecond)
	}
}
