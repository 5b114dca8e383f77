package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// The checker's own picture of Redis, put to the test: without any cache no read is ever old, whatever happens to the
// server, and a fence needs to do nothing. Each rule of the timeline convicts Redis here when it claims too much.
func TestRedisItselfIsSound(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	p := faultproxy.New(t, s.Addr())
	client := func(addr string) *redis.Client {
		return s.Client(t, func(o *redis.Options) {
			o.Addr, o.MaxRetries, o.ContextTimeoutEnabled = addr, -1, true
		})
	}
	direct, proxied := client(s.Addr()), client(p.Addr())
	rec := NewRecorder()
	read := func(rdb *redis.Client) func(context.Context, string) (Observation, error) {
		return func(ctx context.Context, key string) (o Observation, err error) {
			o.Load = rec.LoadBegin(key)
			o.Version, err = rdb.Get(ctx, key).Uint64()
			if errors.Is(err, redis.Nil) {
				err = nil
			}
			return o, err
		}
	}
	nothing := func(context.Context) error { return nil }
	moment := func() { time.Sleep(60 * time.Millisecond) } // longer than an operation may take
	h, err := Run(t.Context(), Config{
		Seed: 3, Recorder: rec, Duration: 3 * time.Second, OpTimeout: 30 * time.Millisecond, TTL: 5 * time.Millisecond,
		WritePause: time.Millisecond, ReadPause: time.Millisecond, FencePause: time.Millisecond, FaultPause: 100 * time.Millisecond,
		Write: func(ctx context.Context, key string, version uint64, ttl time.Duration) error {
			return proxied.Set(ctx, key, version, ttl).Err()
		},
		Delete:    func(ctx context.Context, key string) error { return proxied.Del(ctx, key).Err() },
		Instances: []Instance{{Name: "direct", Read: read(direct), Fence: nothing}, {Name: "proxied", Read: read(proxied)}},
		Faults: []Step{
			{Name: "flush", Absent: true, Do: func(ctx context.Context, _ *rand.Rand) error {
				return direct.FlushAll(context.WithoutCancel(ctx)).Err()
			}},
			{Name: "kill and restart", Absent: true, Settles: true, Do: func(context.Context, *rand.Rand) error {
				s.Kill()
				p.Cut(faultproxy.RST) // nothing that waits in the proxy reaches the new process
				return s.Restart()
			}},
			{Name: "pause", Do: func(context.Context, *rand.Rand) error {
				s.Pause()
				moment()
				return s.Resume()
			}},
			{Name: "hold", Do: func(context.Context, *rand.Rand) error {
				p.Hold(faultproxy.ToServer) // writes fail, and take effect when it is over
				moment()
				p.Release(faultproxy.ToServer)
				return nil
			}},
			{Name: "cut", Do: func(context.Context, *rand.Rand) error { p.Cut(faultproxy.RST); return nil }},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(h, Options{Require: []Kind{I1, Source}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Err() != nil || r.UnknownWrites == 0 {
		t.Error(r)
	}
}
