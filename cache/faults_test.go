package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/redis/go-redis/v9"
)

// fault is something that happens to a Redis, and what it needs of the server.
type fault struct {
	name string
	args []string // of the server
	gap  bool     // it costs processes their session
	late bool     // it is looked for, not heard: found within AuditEvery + PongTimeout, by no fence before that
	step func(r *rig) history.Step
}

var faults = []fault{
	{name: "kill subscriptions", gap: true, step: (*rig).killSubscriptions},
	{name: "kill all clients", gap: true, step: (*rig).killAll},
	{name: "hold", step: (*rig).hold},
	{name: "silence", gap: true, step: (*rig).silence},
	{name: "trickle", step: (*rig).trickle},
	{name: "cut", gap: true, step: (*rig).cut},
	{name: "stalled reader", gap: true, args: []string{"--client-output-buffer-limit", "pubsub 1mb 1mb 1"}, step: (*rig).stall},
	{name: "flush", step: (*rig).flush},
	{name: "restart empty", gap: true, args: []string{"--appendonly yes", "--appendfsync no"}, step: (*rig).restartEmpty},
	{name: "restart with data", gap: true, args: []string{"--appendonly yes", "--appendfsync no"}, step: (*rig).restart},
	{name: "pause", gap: true, step: (*rig).pause},
	{name: "debug sleep", gap: true, args: []string{"--enable-debug-command yes"}, step: (*rig).debugSleep},
	{name: "busy script", args: []string{"--lua-time-limit 5"}, step: (*rig).busy},
	{name: "swapdb", gap: true, late: true, args: []string{"--databases 10000"}, step: (*rig).swap},
	{name: "flags off", gap: true, late: true, step: (*rig).flagsOff},
}

// moment is longer than what a session survives, then shorter, then longer again.
func (r *rig) moment(rng *rand.Rand) time.Duration {
	half := r.pace.pongTimeout / 2
	d := time.Duration(rng.Int64N(int64(half))) + time.Millisecond
	if r.moments++; r.moments%2 == 1 {
		d += 3 * half
	}
	return d
}

func (r *rig) do(ctx context.Context, args ...any) error {
	err := r.ops.Do(ctx, args...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func direction(rng *rand.Rand) faultproxy.Direction {
	return [...]faultproxy.Direction{faultproxy.ToClient, faultproxy.ToServer}[rng.IntN(2)]
}

func (r *rig) killSubscriptions() history.Step {
	return history.Step{Name: "CLIENT KILL TYPE pubsub", Do: func(ctx context.Context, _ *rand.Rand) error {
		return r.do(ctx, "CLIENT", "KILL", "TYPE", "pubsub")
	}}
}

func (r *rig) killAll() history.Step {
	return history.Step{Name: "CLIENT KILL of everyone", Do: func(ctx context.Context, _ *rand.Rand) error {
		return errors.Join(r.do(ctx, "CLIENT", "KILL", "TYPE", "pubsub"), r.do(ctx, "CLIENT", "KILL", "TYPE", "normal"))
	}}
}

// hold keeps back what the subscriptions are sent; nothing is lost if it is not for long.
func (r *rig) hold() history.Step {
	return history.Step{Name: "subscription held", Do: func(_ context.Context, rng *rand.Rand) error {
		r.voice.Hold(faultproxy.ToClient)
		time.Sleep(r.moment(rng))
		r.voice.Release(faultproxy.ToClient)
		return nil
	}}
}

func (r *rig) silence() history.Step {
	return history.Step{Name: "subscription's bytes dropped", Do: func(_ context.Context, rng *rand.Rand) error {
		r.voice.Drop(direction(rng))
		time.Sleep(r.moment(rng))
		r.voice.Pass() // for links to come: those that are up have lost bytes
		return nil
	}}
}

func (r *rig) trickle() history.Step {
	return history.Step{Name: "subscription trickles", Do: func(_ context.Context, rng *rand.Rand) error {
		r.voice.Trickle(faultproxy.ToClient, 1+rng.IntN(40), time.Millisecond)
		time.Sleep(r.moment(rng))
		r.voice.Pass()
		return nil
	}}
}

func (r *rig) cut() history.Step {
	return history.Step{Name: "connections cut", Do: func(_ context.Context, rng *rand.Rand) error {
		if rng.IntN(2) == 0 {
			r.proxy.Refuse()
			defer r.proxy.Accept()
			defer time.Sleep(r.moment(rng))
		}
		how := [...]faultproxy.How{faultproxy.RST, faultproxy.FIN}[rng.IntN(2)]
		if rng.IntN(2) == 0 {
			r.voice.Cut(how)
		} else {
			r.proxy.Cut(how)
		}
		return nil
	}}
}

// patience is for the server to cut off whom it will cut off: a payload or two suffice.
const patience = 10 * time.Second

// stall has the server cut off the subscriptions, which do not read: what it had for them is lost.
func (r *rig) stall() history.Step {
	return history.Step{Name: "subscription does not read", Do: func(ctx context.Context, _ *rand.Rand) error {
		r.voice.Hold(faultproxy.ToClient)
		defer r.voice.Release(faultproxy.ToClient)
		stalled, err := r.subscribers(ctx)
		all := len(stalled)
		payload := strings.Repeat("x", 200_000)
		// By time: one that was about to subscribe has nothing queued, and goes when its listener gives up. What an
		// earlier fault cut off from its listener's end may stay.
		for began := time.Now(); time.Since(began) < patience; {
			if len(stalled) == 0 || err != nil {
				return err
			}
			if err := r.do(ctx, "PUBLISH", "__keyspace@0__:"+historyPrefix, payload); err != nil {
				return err
			}
			var now []string
			now, err = r.subscribers(ctx)
			stalled = slices.DeleteFunc(stalled, func(id string) bool { return !slices.Contains(now, id) })
		}
		if all > 1 && len(stalled) == all {
			return errors.New("the server bears with readers that do not read")
		}
		return nil
	}}
}

// subscribers are the ids of the clients that have subscribed.
func (r *rig) subscribers(ctx context.Context) (ids []string, err error) {
	list, err := r.ops.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
	for line := range strings.Lines(list) {
		if id, _, ok := strings.Cut(line, " "); ok {
			ids = append(ids, id)
		}
	}
	return ids, err
}

func (r *rig) flush() history.Step {
	ways := [][]any{
		{"FLUSHALL"}, {"FLUSHDB"}, {"FLUSHALL", "ASYNC"},
		{"EVAL", "redis.call('flushall') return 1", 0}, {"EVAL", "redis.call('flushdb') return 1", 0},
	}
	return history.Step{Name: "flush", Absent: true, Do: func(ctx context.Context, rng *rand.Rand) error {
		n := rng.IntN(len(ways) + 1)
		if n < len(ways) {
			return r.do(ctx, ways[n]...)
		}
		_, err := r.ops.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, historyPrefix+"k0", 0, 0)
			p.FlushDB(ctx)
			return nil
		})
		return err
	}}
}

// restartEmpty is a crash of a server that keeps nothing; it forgets CONFIG SET too.
func (r *rig) restartEmpty() history.Step {
	return history.Step{Name: "kill -9, restart without data", Absent: true, Settles: true, Do: func(context.Context, *rand.Rand) error {
		_ = r.server.Kill()
		if err := os.RemoveAll(filepath.Join(r.server.Dir(), "appendonlydir")); err != nil {
			return err
		}
		return r.server.Restart()
	}}
}

// restart is a crash of a server that keeps what it has acknowledged.
func (r *rig) restart() history.Step {
	return history.Step{Name: "kill -9, restart", Settles: true, Do: func(_ context.Context, rng *rand.Rand) error {
		_ = r.server.Kill()
		time.Sleep(r.moment(rng) / 4)
		return r.server.Restart()
	}}
}

func (r *rig) pause() history.Step {
	return history.Step{Name: "server stopped", Do: func(_ context.Context, rng *rand.Rand) error {
		if err := r.server.Pause(); err != nil {
			return err
		}
		time.Sleep(r.moment(rng))
		return r.server.Resume()
	}}
}

func (r *rig) debugSleep() history.Step {
	return history.Step{Name: "DEBUG SLEEP", Do: func(ctx context.Context, rng *rand.Rand) error {
		return r.do(ctx, "DEBUG", "SLEEP", strconv.FormatFloat(r.moment(rng).Seconds(), 'f', 3, 64))
	}}
}

// busy runs a script so long that the server answers -BUSY to everybody else.
func (r *rig) busy() history.Step {
	return history.Step{Name: "a script runs", Do: func(ctx context.Context, rng *rand.Rand) error {
		return r.do(ctx, "EVAL", busyScript, 0, r.moment(rng).Microseconds())
	}}
}

// busyScript runs for ARGV[1] microseconds.
const busyScript = `local t = redis.call('time') local stop = t[1] * 1000000 + t[2] + ARGV[1]
	repeat t = redis.call('time') until t[1] * 1000000 + t[2] > stop return 1`

// swap puts an empty database, one that was never used, in the place of the one that is cached.
func (r *rig) swap() history.Step {
	return history.Step{Name: "SWAPDB", Absent: true, Do: func(ctx context.Context, _ *rand.Rand) error {
		r.swaps++
		return r.do(ctx, "SWAPDB", 0, r.swaps)
	}}
}

func (r *rig) flagsOff() history.Step {
	return history.Step{Name: "notifications switched off", Do: func(ctx context.Context, _ *rand.Rand) error {
		return r.do(ctx, "CONFIG", "SET", "notify-keyspace-events", "")
	}}
}

func named(name string) fault {
	return faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
}
