package notify

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// Close does not wait for answers: not while the primaries are looked for, and not while voters are asked.
// Seen to fail where the connections to voters are closed by who waits for them.
func TestCloseWhileNobodyAnswers(t *testing.T) {
	const long = 50 * time.Second // longer than the test may take
	hung := Options{Heartbeat: 20 * time.Millisecond, PongTimeout: long, AuditEvery: 20 * time.Millisecond}
	in := func(t *testing.T, what string, f func()) {
		t.Helper()
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		select {
		case <-done:
		case <-time.After(patience):
			t.Errorf("%s hangs", what)
			<-done
		}
	}
	t.Run("looking", func(t *testing.T) {
		leak.Check(t)
		rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{silent(t)}, ReadTimeout: long})
		t.Cleanup(func() { rdb.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		in(t, "Listen", func() {
			if _, err := Listen(ctx, rdb, hung); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
	t.Run("voting", func(t *testing.T) {
		leak.Check(t)
		c := redistest.StartCluster(t, 3, 0)
		l := listen(t, c.Client(t, func(o *redis.ClusterOptions) { o.ReadTimeout = long }), hung)
		for _, n := range c.Nodes() {
			n.Door().Having("cluster").Hold(faultproxy.ToClient)
		}
		unproven(t, l)
		in(t, "Close", func() { l.Close() })
	})
}
