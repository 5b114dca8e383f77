package notify

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkEvents applies events from a loopback socket as fast as they can be read: one op is one event through go-redis, the
// parser, the hook and, in the second and third case, a reader's queue. The sender writes prepared bytes and costs little.
func BenchmarkEvents(b *testing.B) {
	for _, c := range []struct {
		name   string
		reader *Reader
	}{
		{"hook", nil},
		{"reader", &Reader{}},
		{"glob", &Reader{Pattern: "product:*:1?5"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			stub, rdb := newStubOver(b, nil, func() (net.Conn, net.Conn) {
				client, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				server, err := listener.Accept()
				if err != nil {
					b.Fatal(err)
				}
				return client, server
			})
			var told atomic.Int64
			done := make(chan struct{}, 1)
			l := listen(b, rdb, Options{AuditEvery: never, Heartbeat: never, PongTimeout: never, Hooks: Hooks{Event: func(ev *Event) {
				if ev.Kind == Change && told.Add(1) == int64(b.N) {
					done <- struct{}{}
				}
			}}})
			if c.reader != nil {
				stop, err := l.Handle(*c.reader, func(context.Context, Event) {})
				if err != nil {
					b.Fatal(err)
				}
				defer stop()
			}
			const chunk = 1000
			var bytes strings.Builder
			for i := range chunk {
				fmt.Fprintf(&bytes, ">4\r\n%s%s%s%s", bulk("pmessage"), bulk("__keyspace@0__:*"), bulk(fmt.Sprintf("__keyspace@0__:product:%08d", i)), bulk("set"))
			}
			event := bytes.Len() / chunk // all are of one length
			b.ReportAllocs()
			b.ResetTimer()
			for n := b.N; n > 0; n -= chunk {
				stub.say(bytes.String()[:min(n, chunk)*event])
			}
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFence is a round trip to a real server on loopback; beside is a plain PING of a go-redis client, and shared
// is many fences at once.
func BenchmarkFence(b *testing.B) {
	srv := redistest.Start(b)
	rdb := srv.Client(b)
	l := listen(b, rdb, Options{})
	ctx := context.Background()
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Fence(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("shared", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := l.Fence(ctx); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("PING", func(b *testing.B) {
		for b.Loop() {
			if err := rdb.Ping(ctx).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseChannel(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := ParseChannel("__keyspace@0__:product:12345678"); !ok {
			b.Fatal("not parsed")
		}
	}
}

// BenchmarkServer measures what a listener costs its server: the CPU time of the server's process for one op. The figures in the
// package comment come from here.
func BenchmarkServer(b *testing.B) {
	measure := func(b *testing.B, rdb *redis.Client, op func(n int)) {
		before := serverCPU(b, rdb)
		op(b.N)
		b.ReportMetric((serverCPU(b, rdb)-before)*1e6/float64(b.N), "server-µs/op")
	}
	for _, c := range []struct {
		name  string
		flags string
		opts  *Options
		many  int
	}{
		{"SET/off", "", nil, 0},
		{"SET/K", "KA", nil, 0},
		{"SET/E", "EA", nil, 0},
		{"SET/KE", "KEA", nil, 0},
		{"SET/keyspace", "KA", &Options{}, 1},
		{"SET/keyevent", "EA", &Options{Channels: Keyevent}, 1},
		{"SET/keyspace/KE", "KEA", &Options{}, 1},
		{"SET/keyspace/prefix", "KA", &Options{Prefixes: []string{"product:"}}, 1},
		{"SET/keyspace/other", "KA", &Options{Prefixes: []string{"other:"}}, 1},
		{"SET/keyspace/10others", "KA", &Options{Prefixes: []string{"o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9"}}, 1},
		{"SET/keyspace/20listeners", "KA", &Options{}, 20},
		{"SET/keyevent/20listeners", "EA", &Options{Channels: Keyevent}, 20},
	} {
		b.Run(c.name, func(b *testing.B) {
			srv := redistest.Start(b, "--notify-keyspace-events", c.flags)
			rdb := srv.Client(b)
			ctx := context.Background()
			for range c.many {
				c.opts.AuditEvery = never
				defer listen(b, rdb, *c.opts).Close()
			}
			b.ResetTimer()
			measure(b, rdb, func(n int) {
				for n > 0 {
					pipe := rdb.Pipeline()
					for ; n > 0 && pipe.Len() < 16; n-- {
						pipe.Set(ctx, "product:12345678", "value", 0)
					}
					if _, err := pipe.Exec(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
	for _, c := range []struct {
		name  string
		rules []string
		opts  Options
	}{
		{"", nil, Options{}},
		{"16dbs", nil, Options{DBs: []int{AllDBs}}},
		{"canary", []string{"-config"}, Options{}},
	} {
		srv := redistest.Start(b, "--notify-keyspace-events", "KA")
		srv.AddUser(b, "app", append([]string{"on", ">secret", "~*", "&*", "+@all"}, c.rules...)...)
		rdb := srv.Client(b)
		c.opts.AuditEvery = never
		l := listen(b, srv.Client(b, as("app")), c.opts)
		b.Run("audit/"+c.name, func(b *testing.B) {
			measure(b, rdb, func(n int) {
				for range n {
					if err := l.primaries[0].session.audit(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
		if c.name == "" {
			b.Run("heartbeat", func(b *testing.B) {
				measure(b, rdb, func(n int) {
					for range n {
						if err := l.Fence(context.Background()); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
		l.Close()
	}
}

// serverCPU is what the server has used so far, in seconds.
func serverCPU(b testing.TB, rdb *redis.Client) float64 {
	b.Helper()
	var sum float64
	for line := range strings.Lines(rdb.Info(testContext(b), "cpu").Val()) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				s, err := strconv.ParseFloat(v, 64)
				if err != nil {
					b.Fatal(err)
				}
				sum += s
			}
		}
	}
	return sum
}
