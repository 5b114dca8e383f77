package sqltest

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
)

const (
	bound = 400 * time.Millisecond
	late  = 4 * time.Millisecond // what each answer of the database takes, at most
)

// protocol is how the processes of a race write and read, and what must be found: reads of these tables, or in these
// processes, that break a promise. None may be found where none is named.
type protocol struct {
	name         string
	out          guard.Set
	maxStaleness time.Duration // of the process whose subscription stalls
	finds        []string
}

// Two processes read and write rows with versions, each with a pool, a tracker and a memory of its own; queries take
// milliseconds, and writers stand still between commit and touch for longer than the bound. A third reads, and hears what
// Redis says only now and then: its subscription is stalled again and again. Two more processes write, and are killed at
// random points, again and again.
//
// Nobody reads what is older than the bound, or than a fence. With a step of the protocol taken out, or with no bound in
// the stalled process, the same race shows stale reads of the rows of those that live and those that are killed.
func TestHistory(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		t.Parallel()
		for _, p := range []protocol{
			{name: "full protocol", maxStaleness: bound},
			{name: "invalidate before commit", maxStaleness: bound, out: guard.Mark | guard.After, finds: []string{"living", "dying"}},
			{name: "naive after commit", maxStaleness: bound, out: guard.Mark | guard.Before, finds: []string{"living", "dying"}},
			{name: "no bound", maxStaleness: time.Hour, finds: []string{"stalled"}},
		} {
			r := newRace(t, b, home{Addr: redisServer.Addr()})
			r.proxy = faultproxy.New(t, redisServer.Addr())
			r.run(p)
		}
	})
}

// race is one run of them, as seen by the test.
type race struct {
	t      *testing.T
	b      base
	home   home
	lease  time.Duration
	start  time.Duration
	proxy  *faultproxy.Proxy // between the stalled process and Redis; nil: there is none
	befall func()            // happens to Redis, again and again; nil: nothing
	ending chan struct{}

	mu     sync.Mutex
	seen   history.History
	newest map[string]int    // by row, its newest write in seen
	hits   map[string]uint64 // by process, from memory
	killed map[string]int    // by the step that the writer had come to
}

func newRace(t *testing.T, b base, at home) *race {
	plain := b.plain(t)
	must(t, plain, "DROP TABLE IF EXISTS living", "DROP TABLE IF EXISTS dying",
		"CREATE TABLE living (id INT PRIMARY KEY, v INT)", "CREATE TABLE dying (id INT PRIMARY KEY, v INT)",
		"INSERT INTO living VALUES (0, 0), (1, 0), (2, 0)", "INSERT INTO dying VALUES (0, 0), (1, 0)")
	return &race{t: t, b: b, home: at, lease: lease, start: now(), ending: make(chan struct{}),
		newest: map[string]int{}, hits: map[string]uint64{}, killed: map[string]int{}}
}

func (r *race) run(p protocol) {
	var living []*process
	names := []string{"first", "second"}
	if r.proxy != nil {
		names = append(names, "stalled")
	}
	for i, name := range names {
		pt := r.part(p, &racer{Name: name, Readers: 3, Bound: bound, First: 1, Still: bound + 300*time.Millisecond})
		if name == "stalled" { // it does not write: what it wrote itself it would know
			pt.Redis.Addr, pt.MaxStaleness = r.proxy.Addr(), p.maxStaleness
		} else {
			pt.Race.Writes = &record{"living", i}
		}
		pr, err := pt.start(r.t, func(out io.Reader) { r.hear(name, out, func(string) {}) })
		if err != nil {
			r.t.Fatal(err)
		}
		living = append(living, pr)
	}
	for !r.serving(names, 1) {
		r.pause(10 * time.Millisecond)
		if now()-r.start > time.Minute {
			r.t.Fatalf("they do not begin to read from memory: %v", r.hits)
		}
	}
	var faults sync.WaitGroup
	for i := range 2 {
		faults.Go(func() { r.killAgain(p, record{"dying", i}) })
	}
	if r.proxy != nil {
		faults.Go(r.stallAgain)
	}
	befell := 0
	for begin := now(); !r.enough(p, names, now()-begin) || r.befall != nil && befell < leastBefalls; {
		if r.befall != nil {
			r.befall()
			befell++
		}
		r.pause(250 * time.Millisecond)
	}
	close(r.ending)
	faults.Wait()
	for _, pr := range living {
		pr.stop(r.t)
	}
	report, err := r.check(history.I1, history.I2)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("%s: from memory %v, writers killed after %v, Redis befallen %d times; %v", p.name, r.hits, r.killed, befell, report)
	if len(p.finds) == 0 && len(report.Violations) > 0 {
		r.t.Errorf("%s: %d stale reads", p.name, len(report.Violations))
	}
	if len(p.finds) == 0 && !r.serving(names, manyHits) {
		r.t.Errorf("%s: hardly anything was read from memory, so little was raced for", p.name)
	}
	if !found(report, p.finds) {
		r.t.Errorf("%s: not convicted in %v: the checker finds nothing", p.name, p.finds)
	}
	if report.Broken[history.Corrupt] > 0 {
		r.t.Error("a version was read that nobody had written")
	}
}

func (r *race) part(p protocol, do *racer) part {
	do.Start, do.Param = r.start, r.b.param()
	do.Reads = []record{{"living", 0}, {"living", 1}, {"living", 2}, {"dying", 0}, {"dying", 1}} // nobody writes living 2
	return part{Dialect: r.b.dialect, DSN: r.b.dsn, Redis: r.home, Out: p.out, Lease: r.lease, MaxStaleness: bound, Race: do}
}

// killAgain has one process after another write to a row, and kills each.
func (r *race) killAgain(p protocol, own record) {
	name := fmt.Sprint("writer of ", own)
	for first := uint64(1); ; first += 1_000_000 {
		var last string
		begun := make(chan struct{})
		pr, err := r.part(p, &racer{Name: name, Writes: &own, First: first, Pause: 30 * time.Millisecond}).start(r.t, func(out io.Reader) {
			r.hear(name, out, func(step string) {
				if last == "" {
					close(begun)
				}
				last = step
			})
		})
		if err != nil {
			r.t.Error(err)
			return
		}
		select {
		case <-begun:
			r.pause(rand.N(200 * time.Millisecond))
		case <-pr.done:
		case <-r.ending:
		}
		if !pr.kill() {
			r.t.Errorf("%s ended by itself: %v\n%s", name, pr.cmd.ProcessState, pr.errors.String())
			return
		}
		r.mu.Lock()
		if last != "" { // the race did not end before it began
			r.killed[last]++
		}
		r.mu.Unlock()
		if r.pause(rand.N(2 * bound)) {
			return
		}
	}
}

// stallAgain keeps from the stalled process what Redis says, for up to three bounds: with and without a gap after it.
func (r *race) stallAgain() {
	subscription := r.proxy.Having("psubscribe")
	for {
		subscription.Hold(faultproxy.ToClient)
		r.pause(rand.N(3 * bound))
		subscription.Release(faultproxy.ToClient)
		if r.pause(rand.N(2 * bound)) {
			return
		}
	}
}

// pause waits for d, or less: it is true when the race is ending.
func (r *race) pause(d time.Duration) bool {
	select {
	case <-r.ending:
		return true
	case <-time.After(d):
		return false
	}
}

// hear takes what a racer says until it says no more.
func (r *race) hear(name string, out io.Reader, step func(string)) {
	dec := gob.NewDecoder(out)
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				r.t.Errorf("%s: %v", name, err)
			}
			return
		}
		r.mu.Lock()
		switch {
		case e.Step != "":
			step(e.Step)
		case e.Read != nil:
			r.past(e.Read.End)
			r.seen.Reads = append(r.seen.Reads, *e.Read)
		case e.Fence != nil:
			r.past(e.Fence.End)
			r.seen.Fences = append(r.seen.Fences, *e.Fence)
		case e.Write != nil:
			r.past(e.Write.End)
			i, ok := r.newest[e.Write.Key]
			if ok && r.seen.Writes[i].Version == e.Write.Version { // now it is done
				r.seen.Writes[i] = *e.Write
				break
			}
			r.newest[e.Write.Key] = len(r.seen.Writes)
			r.seen.Writes = append(r.seen.Writes, *e.Write)
		case e.Error != "":
			r.t.Error(e.Error)
		default:
			r.hits[name] = e.Hits
		}
		r.mu.Unlock()
	}
}

// past refuses what is said to have been later than now: all processes have one clock.
func (r *race) past(at time.Duration) {
	if n := now() - r.start; at > n {
		r.t.Errorf("heard at %v of %v: the processes' clocks differ", n, at)
	}
}

// serving reports whether each of names has read so often from memory.
func (r *race) serving(names []string, hits uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool { return r.hits[name] < hits })
}

const manyHits, leastBefalls = 200, 4

// enough reports whether a race has lasted long enough: until it has found what it should, or seen some writers killed.
func (r *race) enough(p protocol, names []string, d time.Duration) bool {
	if d > time.Minute {
		return true
	}
	r.mu.Lock()
	killed := 0
	for _, n := range r.killed {
		killed += n
	}
	r.mu.Unlock()
	if len(p.finds) == 0 {
		return d > 4*time.Second && killed >= 6 && r.serving(names, manyHits)
	}
	report, err := r.check()
	return err == nil && found(report, p.finds)
}

// check judges what has been heard so far. Before the end some of it is still under way: a read of what is not yet known
// to be written then counts as corrupt.
func (r *race) check(tested ...history.Kind) (*history.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return history.Check(&r.seen, history.Options{Require: tested})
}

// found reports whether each of names is a table or a process of a read that broke a promise.
func found(report *history.Report, names []string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(report.Violations, func(v history.Violation) bool {
			return (v.Kind == history.I1 || v.Kind == history.I2) && (strings.HasPrefix(v.Read.Key, name) || v.Read.Instance == name)
		}) {
			return false
		}
	}
	return true
}
