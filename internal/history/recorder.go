package history

import (
	"sync"
	"time"
)

// Recorder collects a history while it happens. Its methods may be called from any goroutine.
type Recorder struct {
	start time.Time

	mu    sync.Mutex
	logs  []*Log
	loads []Load
	rest  History // what is rare: gaps, faults, settlements
}

// NewRecorder starts the run's clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now is the time since the run's start, from the monotonic clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Log returns a log for one goroutine: what is most frequent takes no lock.
func (r *Recorder) Log() *Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &Log{r: r, reader: len(r.logs)}
	r.logs = append(r.logs, l)
	return l
}

// LoadBegin is called by a loader before it asks the truth. The id belongs into the value that it returns.
func (r *Recorder) LoadBegin(key string) (id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads = append(r.loads, Load{Key: key, Start: r.Now()})
	return uint64(len(r.loads))
}

// Gap adds a gap.
func (r *Recorder) Gap(g Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest.Gaps = append(r.rest.Gaps, g)
}

// Settle says that no write that has ended with an unknown outcome will take effect from now on: the server that
// they were sent to is dead, say.
func (r *Recorder) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest.Settled = append(r.rest.Settled, r.Now())
}

// Fault adds something done to the run, from start until now.
func (r *Recorder) Fault(name string, start time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest.Faults = append(r.rest.Faults, Fault{Name: name, Start: start, End: r.Now()})
}

// History returns what all logs hold. The goroutines that write to them have ended.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.rest
	h.Loads = r.loads
	for _, l := range r.logs {
		for _, op := range l.writes {
			h.Writes = append(h.Writes, op.Write)
		}
		h.Reads = append(h.Reads, l.reads...)
		h.Fences = append(h.Fences, l.fences...)
		h.ReadErrors += l.readErrors
		h.FenceErrors += l.fenceErrors
	}
	return &h
}

// Log is one goroutine's part of the history. It is for that goroutine alone.
type Log struct {
	r      *Recorder
	reader int

	writes                  []*Op
	reads                   []Read
	fences                  []Fence
	readErrors, fenceErrors int
}

// Op is a write under way.
type Op struct {
	Write
	r *Recorder
}

// BeginWrite is called before the write. A version is larger than all that the key had before; Absent is a delete.
func (l *Log) BeginWrite(key string, version uint64) *Op {
	return l.begin(Write{Key: key, Version: version})
}

// BeginExpiring is BeginWrite of a version that expires ttl after it takes effect.
func (l *Log) BeginExpiring(key string, version uint64, ttl time.Duration) *Op {
	return l.begin(Write{Key: key, Version: version, TTL: ttl})
}

// BeginAll is called before an operation that leaves every key Absent: a flush, a restart that loses the data. No
// other write is under way.
func (l *Log) BeginAll() *Op { return l.begin(Write{All: true}) }

func (l *Log) begin(w Write) *Op {
	op := &Op{Write: w, r: l.r}
	l.writes = append(l.writes, op)
	op.Start = l.r.Now()
	op.End = op.Start // until Done; a write that is never done is one of an unknown outcome
	return op
}

// Done is called when the write has returned.
func (op *Op) Done(o Outcome) {
	op.End = op.r.Now()
	op.Outcome = o
}

// Observation is what a read gave. See [Read] for its fields.
type Observation struct {
	Version uint64
	Load    uint64
	Hit     bool
	Bound   time.Duration
}

// Read calls read and logs what it saw. An error is counted and returned.
func (l *Log) Read(instance, key string, read func() (Observation, error)) error {
	start := l.r.Now()
	o, err := read()
	end := l.r.Now()
	if err != nil {
		l.readErrors++
		return err
	}
	l.reads = append(l.reads, Read{
		Reader: l.reader, Instance: instance, Key: key,
		Version: o.Version, Load: o.Load, Hit: o.Hit, Bound: o.Bound, Start: start, End: end,
	})
	return nil
}

// Fence calls fence and logs it. An error is counted and returned.
func (l *Log) Fence(instance string, fence func() error) error {
	start := l.r.Now()
	if err := fence(); err != nil {
		l.fenceErrors++
		return err
	}
	l.fences = append(l.fences, Fence{Instance: instance, Start: start, End: l.r.Now()})
	return nil
}
