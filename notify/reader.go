package notify

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

const defaultQueue = 1024

// Reader says what one consumer wants, and how much may wait for it. Gaps, flushes and Synced come to all.
type Reader struct {
	Pattern string   // Redis glob on the key; "" is all
	Names   []string // event names ("set", "expired", ...); nil is all
	Queue   int      // events that may wait; default 1024. Beyond it the oldest are dropped and a Gap takes their place
}

// Validate names the first field that cannot work with any subscription, and the mend.
func (r *Reader) Validate() error {
	if r.Queue < 0 {
		return fmt.Errorf("notify: Reader.Queue is %d: give at least 1, or 0 for %d", r.Queue, defaultQueue)
	}
	if r.Names != nil && len(r.Names) == 0 {
		return fmt.Errorf("notify: Reader.Names is empty: name an event, or leave it nil for all")
	}
	for _, name := range r.Names {
		switch name {
		case "":
			return fmt.Errorf("notify: Reader.Names holds an empty name: leave Names nil for all events")
		case keymiss:
			return fmt.Errorf("notify: Reader.Names holds %q, which is a read and is not delivered: leave it out", name)
		}
	}
	if _, err := compileGlob(r.Pattern); err != nil && r.Pattern != "" {
		return fmt.Errorf("notify: Reader.Pattern %q %w", r.Pattern, err)
	}
	return nil
}

// open checks r and starts a queue for it.
func (l *Listener) open(r Reader) (*queue, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if r.Queue == 0 {
		r.Queue = defaultQueue
	}
	q := newQueue(r.Queue)
	if r.Names != nil {
		q.names = make(map[string]struct{}, len(r.Names))
		for _, name := range r.Names {
			q.names[name] = struct{}{}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if r.Pattern != "" {
		g, err := compileGlob(r.Pattern)
		if err != nil {
			return nil, err // Validate has seen to it
		}
		if l.prefixes != nil && !slices.ContainsFunc(l.prefixes, g.canBegin) {
			return nil, fmt.Errorf("notify: Reader.Pattern %q matches no key that is subscribed: the prefixes are %q; Subscribe another first",
				r.Pattern, l.prefixes)
		}
		q.glob = g
	}
	old := *l.queues.Load()
	queues := append(slices.Clip(old), q)
	l.queues.Store(&queues)
	return q, nil
}

// drop ends q and takes it from the receive loop.
func (l *Listener) drop(q *queue) {
	l.mu.Lock()
	queues := slices.DeleteFunc(slices.Clone(*l.queues.Load()), func(other *queue) bool { return other == q })
	l.queues.Store(&queues)
	l.mu.Unlock()
	q.close()
}

// Handle calls fn with each event r asks for, in order, on a goroutine of its own. A panic of fn is logged and counted,
// and the next event is delivered. fn's ctx ends with stop or Close. stop waits for a running call, unless it is
// called from within a handler (any of this process), where it only sees to it that no further call begins; after it
// has returned elsewhere, fn is not called again.
func (l *Listener) Handle(r Reader, fn func(context.Context, Event)) (stop func(), err error) {
	if fn == nil {
		return nil, fmt.Errorf("notify: Handle: fn is nil: give it a function")
	}
	q, err := l.open(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(l.ctx)
	h := &handler{l: l, fn: fn}
	ended := make(chan struct{})
	if !l.start(func() {
		defer close(ended)
		defer l.drop(q)
		for {
			ev, err := q.next(ctx)
			if err != nil {
				return
			}
			h.call(ctx, ev)
		}
	}) {
		cancel()
		l.drop(q)
		return nil, ErrClosed
	}
	return func() {
		cancel()
		if !inHandler() {
			<-ended
		}
	}, nil
}

type handler struct {
	l  *Listener
	fn func(context.Context, Event)
}

//go:noinline
func (h *handler) call(ctx context.Context, ev Event) {
	defer func() {
		if p := recover(); p != nil {
			h.l.panics.Add(1)
			h.l.log.error("handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	h.fn(ctx, ev)
}

// inHandler reports whether the caller was called, however deep, by a handler: it must then not wait for handlers.
func inHandler() bool {
	pcs := make([]uintptr, 64)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for more := n > 0; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if strings.HasSuffix(f.Function, "/notify.(*handler).call") {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// Events yields what r asks for until ctx ends, the listener closes, or the loop breaks. The error is terminal and
// comes once, last (ctx's, or ErrClosed, or what is wrong with r): a gap is an Event, so `if err != nil { return err }`
// is right. The queue opens when the loop begins.
func (l *Listener) Events(ctx context.Context, r Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		q, err := l.open(r)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer l.drop(q)
		for {
			ev, err := q.next(ctx)
			if !yield(ev, err) || err != nil {
				return
			}
		}
	}
}

// Open is Events for those who poll, with the queue open from the call. Close the Stream when done with it.
func (l *Listener) Open(r Reader) (*Stream, error) {
	q, err := l.open(r)
	if err != nil {
		return nil, err
	}
	return &Stream{l: l, q: q}, nil
}

// Stream is a reader that is polled. Its methods may be called from any goroutine.
type Stream struct {
	l    *Listener
	q    *queue
	once sync.Once
}

// Next waits for the next event. Its error is ctx's, after which it may be called again, or ErrClosed.
func (s *Stream) Next(ctx context.Context) (Event, error) { return s.q.next(ctx) }

// Close ends the stream: Next answers ErrClosed. It may be called twice.
func (s *Stream) Close() error {
	s.once.Do(func() { s.l.drop(s.q) })
	return nil
}
