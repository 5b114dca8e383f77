package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/redis/go-redis/v9"
)

// recordedEvents is the length of the recording: a megabyte, more than any
// buffer on the way.
const recordedEvents = 10_000

// record has a real server tell of a mix of writes, and keeps what it said.
func record(ctx context.Context, addr string, seed uint64) (*recording, error) {
	s, err := subscribe(addr)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	wrote := make(chan error, 1)
	go func() { wrote <- mix(ctx, rdb, rand.New(rand.NewPCG(seed, 0))) }()
	if err := s.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, errors.Join(err, <-wrote)
	}
	var raw bytes.Buffer
	f := &frames{r: bufio.NewReader(io.TeeReader(s.r, &raw))}
	rec := &recording{}
	for at := 0; len(rec.ends) < recordedEvents; {
		_, size, err := f.next()
		if err != nil {
			return nil, errors.Join(err, <-wrote)
		}
		at += size
		rec.ends = append(rec.ends, at)
	}
	rec.bytes = raw.Bytes()[:rec.ends[recordedEvents-1]]
	return rec, <-wrote
}

// mix does recordedEvents writes or a few more, each of which is one event.
func mix(ctx context.Context, rdb *redis.Client, rng *rand.Rand) error {
	for done := 0; done < recordedEvents; {
		pipe := rdb.Pipeline()
		for ; pipe.Len() < 100; done++ {
			id := fmt.Sprintf("%08d", rng.IntN(1_000_000))
			switch rng.IntN(10) {
			case 0:
				pipe.HSet(ctx, "cart:"+id, "item", 1)
			case 1:
				pipe.Incr(ctx, "views:"+id)
			case 2:
				pipe.SAdd(ctx, "tags:"+id, done)
			default:
				pipe.Set(ctx, "product:"+id, "value", 0)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cost is what a side did for a recording.
type cost struct {
	took          time.Duration
	cpu           time.Duration // of this whole process
	allocs, bytes float64       // for each event
	events        int
}

func (c cost) perSecond() float64 { return float64(c.events) / c.took.Seconds() }
func (c cost) perCore() float64   { return float64(c.events) / c.cpu.Seconds() }
func (c cost) micros() float64    { return c.cpu.Seconds() * 1e6 / float64(c.events) }

// recorded is a cost for each round and side.
type recorded struct {
	kinds  []kind
	rounds [][]cost
	events int
	err    error
}

func (o options) fromRecording(ctx context.Context, rec *recording, out *report.Out) (r recorded) {
	r.kinds, r.events = o.kinds, o.events
	bar := out.Progress("recording", o.rounds*len(o.kinds))
	defer bar.Done()
	for range o.rounds {
		var round []cost
		for _, k := range o.kinds {
			c, err := follow(ctx, k, rec, o.events)
			if err != nil {
				r.err = fmt.Errorf("%s: %w", k.name, err)
				return r
			}
			round = append(round, c)
			bar.Add(1)
		}
		r.rounds = append(r.rounds, round)
	}
	return r
}

// patience is for a side that has stopped reading, not for a slow machine.
const patience = time.Minute

// follow plays n events to a side and returns what they cost it.
func follow(ctx context.Context, k kind, rec *recording, n int) (c cost, err error) {
	p, err := newPlayer()
	if err != nil {
		return c, err
	}
	warm := min(n, 2*len(rec.ends))
	count := func(events int) int {
		if !k.bytes {
			return events
		}
		whole := events / len(rec.ends) * len(rec.bytes)
		if rest := events % len(rec.ends); rest > 0 {
			whole += rec.ends[rest-1]
		}
		return whole
	}
	h := newHeard(count(warm)+count(n), nil)
	s, err := k.open(ctx, p.addr(), h, false)
	if err != nil {
		return c, errors.Join(err, p.close())
	}
	defer func() { err = errors.Join(err, s.close(), p.close()) }()
	// A player that waits for a reader that is stuck is waited for by closing its connections.
	stop := context.AfterFunc(ctx, func() { p.cut() })
	defer stop()
	if err := p.play(rec, warm); err != nil {
		return c, orCtx(ctx, err)
	}
	for limit := time.Now().Add(patience); h.n.Load() < int64(count(warm)); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(limit) {
			return c, orCtx(ctx, fmt.Errorf("heard %d of %d", h.n.Load(), count(warm)))
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := processCPU(), time.Now()
	if err := p.play(rec, n); err != nil {
		return c, orCtx(ctx, err)
	}
	select {
	case <-h.done:
	case <-ctx.Done():
		return c, ctx.Err()
	case <-time.After(patience):
		return c, fmt.Errorf("heard %d of %d", h.n.Load(), h.target)
	}
	c = cost{took: time.Since(start), cpu: processCPU() - cpu, events: n}
	runtime.ReadMemStats(&after)
	c.allocs = float64(after.Mallocs-before.Mallocs) / float64(n)
	c.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
	return c, nil
}

func orCtx(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
