package size

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/internal/trace"
	"github.com/gofreshet/freshet/bench/internal/workload"
	"github.com/redis/go-redis/v9"
)

type liveOptions struct {
	url  string
	span time.Duration
	most int
	yes  bool
}

const (
	// manyCommands are sampled whole; of more, what leaves about so many.
	manyCommands = 500_000
	// maxBacklog is what the server may hold back for us before we let go: a
	// listener that cannot follow makes it grow without bound.
	maxBacklog   = 8 << 20
	lookAtServer = 250 * time.Millisecond
)

// listen samples what a running server is asked for.
func listen(ctx context.Context, o options, out *report.Out, answer io.Reader) (*sample, error) {
	opts, err := redis.ParseURL(o.live.url)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w", err)
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	before, err := commandsPerSecond(ctx, rdb)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w", err)
	}
	rate := o.rate
	if rate == 0 {
		rate = min(1, manyCommands/max(1, before*o.live.span.Seconds()))
	}
	if err := consent(o.live, opts.Addr, before, out, answer); err != nil {
		return nil, err
	}
	m, err := openMonitor(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("-redis: MONITOR at %s: %w", opts.Addr, err)
	}
	s := newStream(opts.Addr, rate, o.cut)
	took, err := m.follow(ctx, rdb, o.live, strconv.Itoa(opts.DB), s, out)
	if err != nil {
		return nil, fmt.Errorf("-redis: MONITOR at %s: %w", opts.Addr, err)
	}
	out.Note("Heard %d commands on keys in %v (%.0f a second; the server said %.0f of all kinds before); MONITOR shows no expiries, so keys that expire count as if they lived on.",
		s.commands, took.Round(time.Millisecond), float64(s.commands)/took.Seconds(), before)
	return s.sample(), nil
}

func commandsPerSecond(ctx context.Context, rdb *redis.Client) (float64, error) {
	info, err := rdb.Info(ctx, "stats").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "instantaneous_ops_per_sec:"); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, errors.New("INFO stats does not say instantaneous_ops_per_sec")
}

// consent says what listening costs, and wants a yes.
func consent(o liveOptions, addr string, perSecond float64, out *report.Out, answer io.Reader) error {
	if o.yes {
		return nil
	}
	out.Ask(`MONITOR makes %s send every command it executes, with keys and values, to this program: it serves %.0f
commands a second now, and may serve half of what it could while MONITOR runs. That lasts %v or %d commands,
whichever comes first, and ends at once when the server has to hold back %d MB for us. Only counts and the
names of prefixes are kept. Go on? [y/N] `, addr, perSecond, o.span, o.most, maxBacklog>>20)
	line, _ := bufio.NewReader(answer).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("not asked for: answer y, or give -yes")
	}
	return nil
}

// monitor is a connection in MONITOR. go-redis's own is not for this: it keeps
// a processor busy and gives the connection back to its pool.
type monitor struct {
	conn net.Conn
	r    *bufio.Reader
	id   string // for CLIENT LIST
}

func openMonitor(ctx context.Context, opts *redis.Options) (*monitor, error) {
	conn, err := redis.NewDialer(opts)(ctx, opts.Network, opts.Addr)
	if err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, r: bufio.NewReaderSize(conn, 1<<20)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := m.start(opts); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) start(opts *redis.Options) (err error) {
	if err := m.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if opts.Password != "" {
		args := []string{"AUTH", opts.Password}
		if opts.Username != "" {
			args = []string{"AUTH", opts.Username, opts.Password}
		}
		if _, err := m.do(args...); err != nil {
			return err
		}
	}
	if m.id, err = m.do("CLIENT", "ID"); err != nil {
		return err
	}
	_, err = m.do("MONITOR")
	return errors.Join(err, m.conn.SetDeadline(time.Time{}))
}

// do sends a command whose answer is one line.
func (m *monitor) do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(m.conn, b.String()); err != nil {
		return "", err
	}
	line, err := m.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" || line[0] == '-' {
		return "", errors.New(strings.TrimPrefix(line, "-"))
	}
	return line[1:], nil
}

// follow reads until the time is over, enough was heard, the server holds back
// too much, or ctx ends, which is no error: what was heard is heard. It closes
// the connection.
func (m *monitor) follow(ctx context.Context, rdb *redis.Client, o liveOptions, db string, s *stream, out *report.Out) (time.Duration, error) {
	bar := out.Progress("listening", int(o.span/time.Millisecond))
	defer bar.Done()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.span)
	stop := context.AfterFunc(ctx, func() { m.conn.Close() })
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	defer stop()
	defer m.conn.Close()
	var behind error // written by the watcher before it cancels
	watching.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookAtServer):
			}
			bar.Add(int(lookAtServer / time.Millisecond))
			if held, err := backlog(ctx, rdb, m.id); err == nil && held > maxBacklog {
				behind = fmt.Errorf("let go: the server held back %d MB for us; sample a calmer hour or a replica", held>>20)
				cancel()
				return
			}
		}
	})
	for s.commands < o.most {
		line, err := m.r.ReadString('\n')
		if err != nil && ctx.Err() == nil {
			return 0, err
		}
		if err != nil {
			break
		}
		if where, args, ok := trace.ParseMonitor(strings.TrimRight(strings.TrimPrefix(line, "+"), "\r\n")); ok && where == db {
			s.take(args)
		}
	}
	took := time.Since(start)
	cancel()
	watching.Wait()
	return took, behind
}

// backlog is what the server holds back for client id, in bytes.
func backlog(ctx context.Context, rdb *redis.Client, id string) (int, error) {
	list, err := rdb.Do(ctx, "CLIENT", "LIST", "ID", id).Text()
	if err != nil {
		return 0, err
	}
	for field := range strings.FieldsSeq(list) {
		if v, ok := strings.CutPrefix(field, "omem="); ok {
			return strconv.Atoi(v)
		}
	}
	return 0, errors.New("CLIENT LIST has no omem")
}

// stream samples commands as they come.
type stream struct {
	name            string
	rate            float64
	seed            maphash.Seed
	commands, reads int // commands that name keys, and keys read
	ids             map[string]uint64
	names           []string
	ops             []workload.Op
	prefixes        *prefixes
}

func newStream(name string, rate float64, c cut) *stream {
	return &stream{name: name, rate: rate, seed: maphash.MakeSeed(), ids: make(map[string]uint64), prefixes: newPrefixes(c)}
}

func (s *stream) take(args []string) {
	write, keys := trace.Accesses(args)
	if len(keys) > 0 {
		s.commands++
	}
	for _, k := range keys {
		s.prefixes.count(k, write)
		if !write {
			s.reads++
		}
		if !chosen(maphash.String(s.seed, k), s.rate) {
			continue
		}
		id, ok := s.ids[k]
		if !ok {
			id = uint64(len(s.names))
			s.ids[k], s.names = id, append(s.names, k)
		}
		s.ops = append(s.ops, workload.Op{Key: id, Fall: write})
	}
}

func (s *stream) sample() *sample {
	out := &sample{name: s.name, rate: s.rate, reads: s.reads, prefixes: s.prefixes,
		text: func(id uint64) string { return s.names[id] }}
	out.finish(s.ops)
	return out
}
