package httpcache

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// flights are the running exchanges whose response others may wait for.
type flights struct {
	mu    sync.Mutex
	byKey map[flightKey]*flight
}

// flightKey tells requests apart that are known to select different variants.
type flightKey struct {
	key   key
	known int
	vary  string
}

// flight is one exchange that others wait for. Its leader is the request whose goroutine runs the handler.
type flight struct {
	flights *flights
	key     flightKey
	began   time.Time // before the record's stamp was read

	headed chan struct{} // closed when share and selecting are known
	done   chan struct{} // closed when entry is

	share     bool       // the header proves that others may have it
	selecting []selector // what it varies by
	entry     *entry     // nil: nothing that could be shared came of it

	// Under flights.mu.
	waiters  int
	left     bool // the leader's client has gone
	isHeaded bool
	landed   bool
	cancel   context.CancelFunc // of the handler's context
}

// outcome of waiting.
type outcome int

const (
	again outcome = iota // there may be another flight
	alone                // do not wait here
	left                 // the client has gone
)

// board finds the flight for a request or starts one.
func (fs *flights) board(l *look, request http.Header) (f *flight, mine bool) {
	k := flightKey{key: l.key, known: l.known}
	if l.entry != nil {
		var b strings.Builder
		for i := range l.entry.selecting {
			s := &l.entry.selecting[i]
			b.WriteString(normalise(s.name, request[s.name]))
			b.WriteByte('\n')
		}
		k.vary = b.String()
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.byKey[k]; f != nil {
		f.waiters++
		return f, false
	}
	f = &flight{flights: fs, key: k, began: time.Now(), headed: make(chan struct{}), done: make(chan struct{})}
	if fs.byKey == nil {
		fs.byKey = make(map[flightKey]*flight)
	}
	fs.byKey[k] = f
	return f, true
}

// context is the handler's: it ends when the leader's client has gone and nobody waits (R5).
func (f *flight) context(leader context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(leader))
	f.flights.mu.Lock()
	f.cancel = cancel
	f.flights.mu.Unlock()
	stop := context.AfterFunc(leader, func() {
		f.flights.mu.Lock()
		defer f.flights.mu.Unlock()
		f.left = true
		f.abandon()
	})
	return ctx, func() { stop(); cancel() }
}

// leave is for who boarded a flight of another's and waits no more.
func (f *flight) leave() {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	f.waiters--
	f.abandon()
}

// abandon is called with flights.mu held.
func (f *flight) abandon() {
	if f.left && f.waiters == 0 {
		f.leaveBoard()
		f.cancel()
	}
}

// leaveBoard is called with flights.mu held.
func (f *flight) leaveBoard() {
	if f.flights.byKey[f.key] == f {
		delete(f.flights.byKey, f.key)
	}
}

// waited reports whether anybody waits.
func (f *flight) waited() bool {
	if f == nil {
		return false
	}
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	return f.waiters > 0 && !f.landed
}

// head tells those who wait whether the response may be shared.
func (f *flight) head(share bool, selecting []selector) {
	if f == nil {
		return
	}
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	f.headLocked(share, selecting)
}

func (f *flight) headLocked(share bool, selecting []selector) {
	if f.isHeaded {
		return
	}
	f.isHeaded, f.share, f.selecting = true, share, selecting
	if !share {
		f.leaveBoard()
	}
	close(f.headed)
}

// land ends the flight. The entry is in the store by then.
func (f *flight) land(e *entry) {
	if f == nil {
		return
	}
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	if f.landed {
		return
	}
	f.landed = true
	f.leaveBoard()
	if e == nil {
		f.headLocked(false, nil)
	} else {
		f.headLocked(true, e.selecting)
	}
	f.entry = e
	close(f.done)
}

// good is R4: whether e may be given to who asked at asked. Either the handler began after that, whatever has fallen
// since, or all that e rests on still holds.
func (f *flight) good(e *entry, asked time.Time, bound time.Duration) bool {
	if !f.began.Before(asked) {
		return e.valid.LoadedFor(asked, bound)
	}
	return e.valid.ProvenFor(asked, bound)
}

// await waits for what r may be given of f.
func (f *flight) await(r *http.Request, most time.Duration) (*entry, outcome) {
	defer f.leave()
	timer := time.NewTimer(most)
	defer timer.Stop()
	for _, stage := range []chan struct{}{f.headed, f.done} {
		select {
		case <-stage:
		case <-timer.C:
			return nil, alone
		case <-r.Context().Done():
			return nil, left
		}
		if stage == f.headed {
			if !f.share {
				return nil, alone
			}
			for i := range f.selecting {
				if !f.selecting[i].matches(r.Header) {
					return nil, alone
				}
			}
		}
	}
	if f.entry == nil {
		return nil, again
	}
	return f.entry, again
}
