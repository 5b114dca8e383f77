package notify

import (
	"context"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkTopology is what it costs to know that the primaries are the primaries: a fence of each kind of source beside
// a PING, and the CPU time that one question takes of the voter it is put to.
func BenchmarkTopology(b *testing.B) {
	server := redistest.Start(b)
	sentinels := redistest.StartSentinels(b, 3, 1)
	cluster := redistest.StartCluster(b, 3, 0)
	one := server.Client(b)
	for _, c := range []struct {
		name  string
		rdb   redis.UniversalClient
		opts  Options
		voter *redis.Client
	}{
		{"server", one, Options{}, nil},
		{"sentinels", sentinels.Client(b), Options{Sentinel: sentinels.FailoverOptions()}, sentinels.Sentinels[0].Client(b)},
		{"cluster", cluster.Client(b), Options{}, cluster.Nodes()[0].Client(b)},
	} {
		c.opts.AuditEvery, c.opts.Heartbeat = -1, never
		l := listen(b, c.rdb, c.opts)
		b.Run("fence/"+c.name, func(b *testing.B) {
			for b.Loop() {
				if err := l.Fence(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
		if c.voter != nil {
			b.Run("poll/"+c.name, func(b *testing.B) {
				before := serverCPU(b, c.voter)
				for b.Loop() {
					if err := l.Fence(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((serverCPU(b, c.voter)-before)*1e6/float64(b.N), "voter-µs/op")
			})
		}
		l.Close()
	}
	b.Run("PING", func(b *testing.B) {
		for b.Loop() {
			if err := one.Ping(context.Background()).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
