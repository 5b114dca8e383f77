package workload

import (
	"container/heap"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// Falls says what makes keys fall beside the reads.
//
// Time is virtual: Rate reads make a second. Before each read a write comes so
// often that Writes is its share of all requests; it goes to the key of a read
// drawn from those within writeReach on either side, so hot keys are written
// most, and when they are hot. A key lives in the origin from its first read
// after it was absent (the read fills it, as cache-aside does) or from its last
// write, and expires TTL later: all caches hear of it at that moment. So the
// falls are the same for every engine, and an optimum exists.
type Falls struct {
	Writes float64       // share of all requests, 0 up to below 1
	TTL    time.Duration // 0: keys live for ever
	Rate   float64       // reads a second
}

const writeReach = 5000

// Validate names the field and the mend.
func (f Falls) Validate() error {
	switch {
	case !(f.Writes >= 0 && f.Writes < 1):
		return errors.New("-writes: want a share of all requests, 0 up to below 1, as 0.05")
	case f.TTL < 0:
		return errors.New("-ttl: want a positive duration, or 0 for none")
	case f.TTL > 0 && !(f.Rate > 0 && f.Rate <= 1e9):
		return errors.New("-rate: want reads a second above 0, for -ttl to mean something")
	}
	return nil
}

// Mix is w with f's falls between its reads.
func Mix(w *Workload, f Falls, seed uint64) *Workload {
	if f.Writes == 0 && f.TTL == 0 {
		return w
	}
	m := mixer{f: f, rng: rand.New(rand.NewPCG(seed, 0x4d1f)), ends: map[uint64]int{}}
	if f.TTL > 0 {
		m.life = max(1, int(math.Round(f.TTL.Seconds()*f.Rate)))
	}
	m.ops = make([]Op, 0, len(w.Ops)+len(w.Ops)/8)
	for i, op := range w.Ops {
		for m.rng.Float64() < f.Writes { // a geometric number, of mean Writes/(1-Writes)
			m.write(w.nearby(i, m.rng))
		}
		if op.Fall {
			m.write(op.Key)
			continue
		}
		m.read(op.Key)
	}
	mixed := counted(w.Name, m.ops)
	mixed.Expiries = m.expired
	mixed.Writes -= m.expired
	return mixed
}

// nearby draws the key of an operation around i.
func (w *Workload) nearby(i int, rng *rand.Rand) uint64 {
	low, high := max(0, i-writeReach), min(len(w.Ops), i+writeReach)
	return w.Ops[low+rng.IntN(high-low)].Key
}

type mixer struct {
	f       Falls
	rng     *rand.Rand
	ops     []Op
	now     int            // reads so far
	life    int            // TTL in reads; 0: none
	ends    map[uint64]int // by key, the read before which it expires
	queue   expiries       // of ends, some overtaken by later writes
	expired int
}

func (m *mixer) read(key uint64) {
	for len(m.queue) > 0 && m.queue[0].at <= m.now {
		e := heap.Pop(&m.queue).(expiry)
		if m.ends[e.key] == e.at {
			delete(m.ends, e.key)
			m.expired++
			m.ops = append(m.ops, Op{e.key, true})
		}
	}
	if _, lives := m.ends[key]; m.life > 0 && !lives {
		m.fill(key)
	}
	m.ops = append(m.ops, Op{Key: key})
	m.now++
}

func (m *mixer) write(key uint64) {
	m.ops = append(m.ops, Op{key, true})
	if m.life > 0 {
		m.fill(key)
	}
}

func (m *mixer) fill(key uint64) {
	m.ends[key] = m.now + m.life
	heap.Push(&m.queue, expiry{m.now + m.life, key})
}

type expiry struct {
	at  int
	key uint64
}

type expiries []expiry

func (q expiries) Len() int { return len(q) }
func (q expiries) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].key < q[j].key
}
func (q expiries) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *expiries) Push(x any)   { *q = append(*q, x.(expiry)) }
func (q *expiries) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
