package herd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// work is what a worker process does until in ends: callers on order. It does
// not heed interrupts: the process that started it does, and closes in.
func work(in io.Reader, out io.Writer) (err error) {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	var s setup
	if err := orders.Decode(&s); err != nil {
		return fmt.Errorf("herd worker: no setup: %w", err)
	}
	l := newLoader(s.Origin)
	defer l.client.CloseIdleConnections()
	open, err := openAll(s, l)
	defer func() {
		for _, o := range open {
			err = errors.Join(err, o.close())
		}
	}()
	if err != nil {
		return answers.Encode(answer{Error: err.Error()})
	}
	if err := answers.Encode(answer{}); err != nil {
		return err
	}
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("herd worker: %w", err)
		}
		if err := answers.Encode(obey(o, open[o.Side], l)); err != nil {
			return err
		}
	}
}

func openAll(s setup, l *loader) (map[string]*opened, error) {
	open := make(map[string]*opened)
	for _, name := range s.Sides {
		side, ok := sideNamed(name)
		if !ok {
			return open, fmt.Errorf("no side %q", name)
		}
		o, err := side.open(s.Redis, l.load)
		if err != nil {
			return open, fmt.Errorf("%s: %w", name, err)
		}
		open[name] = o
	}
	return open, nil
}

// loader asks the origin.
type loader struct {
	client *http.Client
	url    string
	began  chan struct{} // holds one when a load has reached the origin since it was last emptied
}

func newLoader(url string) *loader {
	// A pool as wide as a herd: connections are not what is measured.
	t := &http.Transport{MaxIdleConnsPerHost: 10_000}
	return &loader{client: &http.Client{Transport: t}, url: url, began: make(chan struct{}, 1)}
}

// load POSTs, since a GET may be sent twice by the transport.
func (l *loader) load(ctx context.Context, key string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"?key="+url.QueryEscape(key), nil)
	if err != nil {
		return "", err
	}
	resp, err := l.client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	select {
	case l.began <- struct{}{}:
	default:
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func obey(o order, side *opened, l *loader) (a answer) {
	if side == nil {
		return answer{Error: fmt.Sprintf("no side %q is open", o.Side)}
	}
	for _, key := range o.Keys {
		h := herd{order: o, key: key, get: side.get}
		h.run(l)
		a.Waits, a.Leaves = append(a.Waits, h.waits...), append(a.Leaves, h.leaves...)
		a.Failed += h.failed
		if h.wrong != nil {
			a.Error = h.wrong.Error()
		}
	}
	if side.gaps != nil {
		a.Gaps = side.gaps()
	}
	return a
}

// herd is the callers of one key.
type herd struct {
	order
	key string
	get func(context.Context, string) (string, error)

	mu            sync.Mutex
	left          time.Time // guarded by mu, as is what follows: when those who give up did
	waits, leaves []float64
	failed        int
	wrong         error
}

// run releases all callers at once. Where some give up the first begins alone,
// so that it is one of those who do, and the others follow when its load runs.
func (h *herd) run(l *loader) {
	select {
	case <-l.began:
	default:
	}
	leaving, leave := context.WithCancel(context.Background())
	defer leave()
	var callers sync.WaitGroup
	defer callers.Wait()
	release := make(chan struct{})
	defer close(release)
	call := func(i int) { callers.Go(func() { <-release; h.call(i, leaving) }) }
	if h.Scenario == calm {
		for i := range h.Callers {
			call(i)
		}
		return
	}
	first := make(chan struct{})
	callers.Go(func() { defer close(first); h.call(0, leaving) })
	select {
	case <-l.began:
	case <-first: // with an error, which is counted
	}
	time.AfterFunc(h.Leave, func() {
		h.mu.Lock()
		h.left = time.Now()
		h.mu.Unlock()
		leave()
	})
	for i := 1; i < h.Callers; i++ {
		call(i)
	}
}

func (h *herd) call(i int, leaving context.Context) {
	ctx, stays := leaving, false
	if h.Scenario == calm || h.Scenario == half && i%2 == 1 {
		ctx, stays = context.Background(), true
	}
	began := time.Now()
	v, err := h.get(ctx, h.key)
	ended := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && v != valueOf(h.key) {
		h.wrong = fmt.Errorf("%s gave %q for %q", h.Side, v, h.key)
	}
	if stays && err != nil {
		h.failed++
	} else if stays {
		h.waits = append(h.waits, milliseconds(ended.Sub(began)))
	} else if !h.left.IsZero() && ended.After(h.left) {
		h.leaves = append(h.leaves, milliseconds(ended.Sub(h.left)))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
