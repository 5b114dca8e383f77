package herd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// origin is what all processes load from. It counts every load that reaches it.
type origin struct {
	url    string
	takes  time.Duration
	server *http.Server
	served chan error

	mu      sync.Mutex
	running int               // guarded by mu, as is what follows
	idle    chan struct{}     // closed when running falls to zero
	tallies map[string]*tally // by burst: a load that was given up early may arrive in the next one
}

// tally is the loads of one burst: those that reached the origin, and of them
// those whose client hung up before their end.
type tally struct{ begun, stopped int }

func openOrigin(takes time.Duration) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o := &origin{url: "http://" + l.Addr().String() + "/", takes: takes, served: make(chan error, 1), idle: make(chan struct{}), tallies: make(map[string]*tally)}
	o.server = &http.Server{Handler: o}
	go func() { o.served <- o.server.Serve(l) }()
	return o, nil
}

// ServeHTTP is one load. The head of its answer says that it has begun, and it
// ends early when the client hangs up.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil { // only then is a client's end noticed
		return
	}
	key := r.URL.Query().Get("key")
	t := o.begin(burstOf(key))
	timer := time.NewTimer(o.takes)
	defer timer.Stop()
	err := http.NewResponseController(w).Flush()
	if err == nil {
		select {
		case <-timer.C:
			_, err = io.WriteString(w, valueOf(key))
		case <-r.Context().Done():
			err = r.Context().Err()
		}
	}
	o.end(t, err != nil)
}

// valueOf is what the origin has for key.
func valueOf(key string) string { return "value of " + key }

// burstOf is what a key's name begins with: the burst it belongs to.
func burstOf(key string) string { return key[:max(0, strings.LastIndexByte(key, '/'))] }

func (o *origin) begin(burst string) *tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tallies[burst]
	if t == nil {
		t = new(tally)
		o.tallies[burst] = t
	}
	t.begun++
	o.running++
	return t
}

func (o *origin) end(t *tally, stopped bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if stopped {
		t.stopped++
	}
	if o.running--; o.running == 0 {
		close(o.idle)
		o.idle = make(chan struct{})
	}
}

// settle waits until no load runs.
func (o *origin) settle(ctx context.Context) error {
	o.mu.Lock()
	running, idle := o.running, o.idle
	o.mu.Unlock()
	if running == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// of is the tally of a burst that is over.
func (o *origin) of(burst string) tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.tallies[burst]; t != nil {
		return *t
	}
	return tally{}
}

func (o *origin) close() error {
	err := o.server.Close()
	if served := <-o.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
