package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// kind is one way to hear events. To compare another, add it to kinds.
type kind struct {
	name string
	open func(ctx context.Context, addr string, h *heard, live bool) (*side, error)
	// bytes: it counts bytes, not events, and can follow a recording alone.
	bytes bool
	// yardstick: nobody's library, but what reading could cost.
	yardstick bool
}

// side is a kind at work.
type side struct {
	close     func() error
	staleness func() time.Duration // the age of its proof; nil: it has none
	gaps      func() uint64        // how often it says that it lost events; nil: it does not say
}

const (
	socket  = "socket unparsed"
	inPlace = "parsed in place"
	bare    = "go-redis Receive"
	sifting = "go-redis sifted"
	tracker = "freshet tracker"
)

func kinds() []kind {
	return []kind{
		{name: socket, open: openSocket, bytes: true, yardstick: true},
		{name: inPlace, open: openFrames, yardstick: true},
		{name: bare, open: openReceive},
		{name: "go-redis Channel", open: openChannel},
		{name: sifting, open: openSifted, yardstick: true},
		{name: "rueidis", open: openRueidis},
		{name: "freshet listener", open: openListener},
		{name: tracker, open: openTracker},
	}
}

// heard counts what a side was told.
type heard struct {
	n      atomic.Int64
	target int64
	done   chan struct{} // closed when n reaches target
	probes *probes       // nil: none are sent
}

func newHeard(target int, p *probes) *heard {
	return &heard{target: int64(target), done: make(chan struct{}), probes: p}
}

// key takes note of one event of a key, on one goroutine.
func (h *heard) key(k string) {
	if h.probes != nil && strings.HasPrefix(k, probePrefix) {
		h.probes.arrived(k[len(probePrefix):])
	}
	h.add(1)
}

func (h *heard) channel(c string) {
	if len(c) >= len(pattern)-1 {
		h.key(c[len(pattern)-1:])
	}
}

func (h *heard) add(n int64) {
	if after := h.n.Add(n); h.target > 0 && after >= h.target && after-n < h.target {
		close(h.done)
	}
}

// loop runs one reader until close.
func loop(closer func() error, read func() error) *side {
	var wg sync.WaitGroup
	wg.Go(func() {
		for read() == nil {
		}
	})
	return &side{close: func() error { err := closer(); wg.Wait(); return err }}
}

func openSocket(_ context.Context, addr string, h *heard, _ bool) (*side, error) {
	s, err := subscribe(addr)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	return loop(s.Close, func() error {
		n, err := s.r.Read(buf)
		h.add(int64(n))
		return err
	}), nil
}

func openFrames(_ context.Context, addr string, h *heard, _ bool) (*side, error) {
	s, err := subscribe(addr)
	if err != nil {
		return nil, err
	}
	f := &frames{r: s.r}
	probeChannel := []byte(strings.TrimSuffix(pattern, "*") + probePrefix)
	return loop(s.Close, func() error {
		c, _, err := f.next()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(c, probeChannel) {
			h.channel(string(c))
		} else {
			h.add(1)
		}
		return nil
	}), nil
}

func goRedis(ctx context.Context, o *redis.Options) (*redis.Client, *redis.PubSub, error) {
	rdb := redis.NewClient(o)
	sub := rdb.PSubscribe(ctx, pattern)
	if _, err := sub.Receive(ctx); err != nil {
		return nil, nil, errors.Join(err, sub.Close(), rdb.Close())
	}
	return rdb, sub, nil
}

func openReceive(ctx context.Context, addr string, h *heard, _ bool) (*side, error) {
	rdb, sub, err := goRedis(ctx, &redis.Options{Addr: addr})
	if err != nil {
		return nil, err
	}
	return receive(rdb, sub, h), nil
}

func receive(rdb *redis.Client, sub *redis.PubSub, h *heard) *side {
	var closed atomic.Bool
	return loop(func() error { closed.Store(true); return errors.Join(sub.Close(), rdb.Close()) }, func() error {
		m, err := sub.ReceiveMessage(context.Background())
		switch {
		case err == nil:
			h.channel(m.Channel)
		case closed.Load():
			return io.EOF
		default:
			time.Sleep(10 * time.Millisecond) // it connects again by itself
		}
		return nil
	})
}

func openChannel(ctx context.Context, addr string, h *heard, _ bool) (*side, error) {
	rdb, sub, err := goRedis(ctx, &redis.Options{Addr: addr})
	if err != nil {
		return nil, err
	}
	messages := sub.Channel()
	return loop(func() error { return errors.Join(sub.Close(), rdb.Close()) }, func() error {
		m, ok := <-messages
		if !ok {
			return io.EOF
		}
		h.channel(m.Channel)
		return nil
	}), nil
}

func openRueidis(ctx context.Context, addr string, h *heard, _ bool) (*side, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		return nil, err
	}
	confirmed := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) {
		select {
		case <-confirmed:
		default:
			close(confirmed)
		}
	})
	s := loop(func() error { cancel(); c.Close(); return nil }, func() error {
		err := c.Receive(hooked, c.B().Psubscribe().Pattern(pattern).Build(), func(m rueidis.PubSubMessage) { h.channel(m.Channel) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})
	select {
	case <-confirmed:
		return s, nil
	case <-time.After(5 * time.Second):
		return nil, errors.Join(errors.New("rueidis: the subscription was not confirmed"), s.close())
	}
}

// listening are the defaults; what plays a recording cannot be audited.
func listening(live bool) notify.Options {
	if live {
		return notify.Options{}
	}
	return notify.Options{AuditEvery: -1}
}

func openListener(ctx context.Context, addr string, h *heard, live bool) (*side, error) {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	o := listening(live)
	o.Hooks.Event = func(ev *notify.Event) {
		if ev.Kind == notify.Change {
			h.key(ev.Key)
		}
	}
	l, err := notify.Listen(ctx, rdb, o)
	if err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	return &side{
		close: func() error { return errors.Join(l.Close(), rdb.Close()) },
		gaps:  func() uint64 { return l.Stats().Gaps },
	}, nil
}

func openTracker(ctx context.Context, addr string, h *heard, live bool) (*side, error) {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t, err := invalidate.Connect(ctx, rdb, invalidate.Options{
		Notify: listening(live),
		Hooks:  invalidate.Hooks{Invalidated: func(n invalidate.Name, _ string) { h.key(n.Text()) }},
	})
	if err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	return &side{
		close:     func() error { return errors.Join(t.Close(), rdb.Close()) },
		staleness: t.Staleness,
		gaps:      func() uint64 { return t.Stats().Gaps },
	}, nil
}
