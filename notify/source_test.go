package notify

import (
	"net"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// silent is the address of a server that takes connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// One address that is silent does not keep the others from being asked.
// Seen to fail where everybody is awaited before anybody is asked whom the first have named.
func TestSilentSeed(t *testing.T) {
	leak.Check(t)
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t, 3, 0)
		rdb := c.Client(t, func(o *redis.ClusterOptions) { o.Addrs = []string{silent(t), c.Addrs()[0]} })
		fenced(t, listen(t, rdb, Options{}))
	})
	t.Run("sentinels", func(t *testing.T) {
		g := redistest.StartSentinels(t, 3, 0)
		o := g.FailoverOptions()
		o.SentinelAddrs = []string{silent(t), o.SentinelAddrs[0]}
		rdb := redis.NewFailoverClient(o)
		t.Cleanup(func() { rdb.Close() })
		fenced(t, listen(t, rdb, Options{Sentinel: o}))
	})
}
