package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const (
	nobody      = "nobody listens"
	probePrefix = "probe:"
	probeEvery  = 5 * time.Millisecond
	mostProbes  = 1 << 16
	batch       = 500 // SETs a pipeline, at full load
	paceEvery   = 2 * time.Millisecond
	giveUp      = time.Second // without an event after the writers ended, what is missing is lost
)

// probes are writes of their own, one at a time, each to a key of its own: how
// long after one has returned is it heard of?
type probes struct {
	start       time.Time
	wrote, came [mostProbes]atomic.Int64 // nanoseconds since start, 0: not yet
	n           int                      // the prober's alone, until it has ended
}

func (p *probes) arrived(number string) {
	if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < mostProbes {
		p.came[i].Store(max(1, int64(time.Since(p.start))))
	}
}

func (p *probes) run(ctx context.Context, rdb *redis.Client) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for ; p.n < mostProbes; p.n++ {
		if err := rdb.Set(context.WithoutCancel(ctx), probePrefix+strconv.Itoa(p.n), "value", 0).Err(); err != nil {
			return err
		}
		p.wrote[p.n].Store(max(1, int64(time.Since(p.start))))
		select {
		case <-ctx.Done():
			p.n++
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// lags are of the probes that were heard of, sorted.
func (p *probes) lags() (lags []time.Duration) {
	for i := range p.n {
		if came := p.came[i].Load(); came > 0 {
			lags = append(lags, time.Duration(max(0, came-p.wrote[i].Load())))
		}
	}
	slices.Sort(lags)
	return lags
}

// writer writes the same pipeline again and again.
func writer(ctx context.Context, addr string, first int, perSecond float64, sent *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	size := batch
	if perSecond > 0 {
		size = max(1, int(perSecond*paceEvery.Seconds()))
	}
	var pipeline bytes.Buffer
	for i := range size {
		fmt.Fprintf(&pipeline, "*3\r\n%s%s%s", bulk("SET"), bulk(fmt.Sprintf("product:%08d", first+i)), bulk("value"))
	}
	r := bufio.NewReader(conn)
	next := time.Now()
	for ctx.Err() == nil {
		if _, err := conn.Write(pipeline.Bytes()); err != nil {
			return err
		}
		sent.Add(int64(size)) // the last is counted too: it is waited for
		for range size {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return err
			}
			if line[0] != '+' {
				return fmt.Errorf("SET: %s", bytes.TrimSpace(line))
			}
		}
		if perSecond > 0 {
			next = next.Add(time.Duration(float64(size) / perSecond * float64(time.Second)))
			time.Sleep(time.Until(next))
		}
	}
	return nil
}

// following is what one side did at the real server.
type following struct {
	took        time.Duration
	sets        int64 // probes included
	heard       int64 // while the writers ran
	lost        int64 // never heard of
	gaps        uint64
	client      time.Duration // CPU of this process, writers included
	server      time.Duration // CPU of the server
	lags, stale []time.Duration
}

// live is a following for each round and side; the first is nobody's.
type live struct {
	rate   int
	kinds  []kind
	rounds [][]following
	err    error
}

func (o options) fromServer(ctx context.Context, server *redistest.Server, rate int, out *report.Out) (l live) {
	l.rate = rate
	l.kinds = append(l.kinds, kind{name: nobody})
	for _, k := range o.kinds {
		if !k.bytes {
			l.kinds = append(l.kinds, k)
		}
	}
	bar := out.Progress(l.title(), o.rounds*len(l.kinds))
	defer bar.Done()
	for range o.rounds {
		var round []following
		for _, k := range l.kinds {
			f, err := o.followServer(ctx, k, server.Addr(), rate)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				l.err = fmt.Errorf("%s: %w", k.name, err)
				return l
			}
			round = append(round, f)
			bar.Add(1)
		}
		l.rounds = append(l.rounds, round)
	}
	return l
}

func (l live) title() string {
	if l.rate == 0 {
		return "as many SETs as the server takes"
	}
	return fmt.Sprintf("%d SETs a second", l.rate)
}

func (o options) followServer(ctx context.Context, k kind, addr string, rate int) (f following, err error) {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	p := &probes{start: time.Now()}
	h := newHeard(0, p)
	s := &side{close: func() error { return nil }}
	if k.open != nil {
		if s, err = k.open(ctx, addr, h, true); err != nil {
			return f, err
		}
	}
	defer func() { err = errors.Join(err, s.close()) }()
	server, err := serverCPU(ctx, rdb)
	if err != nil {
		return f, err
	}
	var sent atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, o.writers+1)
	until, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	already := h.n.Load()
	client, start := processCPU(), time.Now()
	for i := range o.writers {
		wg.Go(func() { errs <- writer(until, addr, i*batch, float64(rate)/float64(o.writers), &sent) })
	}
	wg.Go(func() { errs <- p.run(until, rdb) })
	if s.staleness != nil {
		wg.Go(func() {
			for until.Err() == nil {
				f.stale = append(f.stale, s.staleness())
				time.Sleep(probeEvery)
			}
		})
	}
	wg.Wait()
	f.took, f.client, f.heard = time.Since(start), processCPU()-client, h.n.Load()-already
	for range o.writers + 1 {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return f, err
	}
	after, err := serverCPU(ctx, rdb)
	if err != nil {
		return f, orCtx(ctx, err)
	}
	f.server, f.sets = after-server, sent.Load()+int64(p.n)
	if k.open != nil {
		f.lost = f.sets - (h.drain(ctx, already+f.sets) - already)
	}
	if s.gaps != nil {
		f.gaps = s.gaps()
	}
	f.lags = p.lags()
	slices.Sort(f.stale)
	return f, nil
}

// drain waits until want events were heard, or none comes any more.
func (h *heard) drain(ctx context.Context, want int64) int64 {
	last, since := h.n.Load(), time.Now()
	for last < want && time.Since(since) < giveUp && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
		if n := h.n.Load(); n != last {
			last, since = n, time.Now()
		}
	}
	return last
}

// serverCPU is what the server has used so far.
func serverCPU(ctx context.Context, rdb *redis.Client) (sum time.Duration, err error) {
	info, err := rdb.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	found := false
	for line := range strings.Lines(info) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				seconds, err := strconv.ParseFloat(v, 64)
				if err != nil {
					return 0, err
				}
				found, sum = true, sum+time.Duration(seconds*float64(time.Second))
			}
		}
	}
	if !found {
		return 0, io.ErrUnexpectedEOF
	}
	return sum, nil
}
