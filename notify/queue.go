package notify

import (
	"context"
	"sync"
	"time"
)

// queue is one reader's bounded ring. The receive loop pushes and never waits for who reads (I5): beyond the bound the
// oldest events make room, and a Gap that counts them takes their place.
type queue struct {
	glob  glob                // of the key; nil matches all
	names map[string]struct{} // nil matches all
	limit int
	ready chan struct{} // holds a token while there may be something to read
	done  chan struct{} // closed by close

	mu      sync.Mutex
	closed  bool
	ring    []Event // grows up to limit
	head    int     // the oldest event
	len     int
	dropped int // events lost since the last Gap; they were older than the ring's oldest
	lastAt  time.Time
}

const firstRing = 16

func newQueue(limit int) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1), done: make(chan struct{})}
}

// wants reports whether the reader asked for ev. What is no change concerns everyone.
func (q *queue) wants(ev *Event) bool {
	if ev.Kind != Change {
		return true
	}
	if q.names != nil {
		if _, ok := q.names[ev.Name]; !ok {
			return false
		}
	}
	return q.glob == nil || q.glob.match(ev.Key)
}

// push reports how many events were lost by it, and whether they are the first of a new gap.
func (q *queue) push(ev *Event) (lost int, fresh bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, false
	}
	if q.len == q.limit {
		q.ring[q.head] = Event{}
		q.head = (q.head + 1) % len(q.ring)
		q.len--
		q.dropped++
		q.lastAt = ev.At
		lost, fresh = 1, q.dropped == 1
	}
	if q.len == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.len)%len(q.ring)] = *ev
	q.len++
	q.signal()
	return lost, fresh
}

func (q *queue) grow() {
	ring := make([]Event, min(q.limit, max(firstRing, 2*len(q.ring))))
	n := copy(ring, q.ring[q.head:])
	copy(ring[n:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pop returns the next event, if there is one.
func (q *queue) pop() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return Event{}, false
	}
	if q.dropped > 0 {
		ev := Event{Kind: Gap, Reason: GapOverflow, Dropped: q.dropped, At: q.lastAt}
		q.dropped = 0
		q.signal() // what made the others go is still there
		return ev, true
	}
	if q.len == 0 {
		return Event{}, false
	}
	ev := q.ring[q.head]
	q.ring[q.head] = Event{} // keep no strings alive
	q.head = (q.head + 1) % len(q.ring)
	q.len--
	if q.len > 0 {
		q.signal()
	}
	return ev, true
}

// next waits for an event. Any number of goroutines may wait.
func (q *queue) next(ctx context.Context) (Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		if ev, ok := q.pop(); ok {
			return ev, nil
		}
		select {
		case <-q.ready:
		case <-q.done:
			return Event{}, ErrClosed
		case <-ctx.Done():
		}
	}
}

// close ends every next with ErrClosed and lets go of what is queued. It may be called twice.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	q.ring, q.len = nil, 0
	close(q.done)
}
