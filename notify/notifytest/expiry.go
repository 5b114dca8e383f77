package notifytest

import (
	"container/heap"
	"strconv"
	"time"
)

// dbKey is a key in a database.
type dbKey struct {
	db  int
	key string
}

// expiry holds the deadline of every key that has one. miniredis's own TTLs
// stand still: they say how long a key had to live when it was written, and
// the deadline is taken from them then.
type expiry struct {
	deadlines map[dbKey]time.Time
	queue     deadlineQueue // nearest first; may hold deadlines that are no longer so
}

func newExpiry() expiry { return expiry{deadlines: make(map[dbKey]time.Time)} }

func (e *expiry) set(k dbKey, at time.Time) {
	e.deadlines[k] = at
	heap.Push(&e.queue, deadline{k, at})
	if len(e.queue) > 64+4*len(e.deadlines) { // mostly outlived: start afresh
		e.rebuild()
	}
}

func (e *expiry) drop(k dbKey) { delete(e.deadlines, k) }

// move hands from's deadline, or that it has none, to to.
func (e *expiry) move(from, to dbKey, keep bool) {
	at, ok := e.deadlines[from]
	if !keep {
		e.drop(from)
	}
	if ok {
		e.set(to, at)
	} else {
		e.drop(to)
	}
}

func (e *expiry) keep(f func(db int) (now int, ok bool)) {
	kept := make(map[dbKey]time.Time)
	for k, at := range e.deadlines {
		if db, ok := f(k.db); ok {
			kept[dbKey{db, k.key}] = at
		}
	}
	e.deadlines = kept
	e.rebuild()
}

func (e *expiry) shift(d time.Duration) {
	for k, at := range e.deadlines {
		e.deadlines[k] = at.Add(-d)
	}
	e.rebuild()
}

func (e *expiry) rebuild() {
	e.queue = e.queue[:0]
	for k, at := range e.deadlines {
		e.queue = append(e.queue, deadline{k, at})
	}
	heap.Init(&e.queue)
}

// due takes the key whose deadline is the earliest, if it has passed.
func (e *expiry) due(now time.Time) (dbKey, bool) {
	for len(e.queue) > 0 && !e.queue[0].at.After(now) {
		d := heap.Pop(&e.queue).(deadline)
		if at, ok := e.deadlines[d.dbKey]; ok && at.Equal(d.at) {
			e.drop(d.dbKey)
			return d.dbKey, true
		}
	}
	return dbKey{}, false
}

type deadline struct {
	dbKey
	at time.Time
}

type deadlineQueue []deadline

func (q deadlineQueue) Len() int           { return len(q) }
func (q deadlineQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q deadlineQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *deadlineQueue) Push(x any)        { *q = append(*q, x.(deadline)) }
func (q *deadlineQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	*q = (*q)[:last]
	return d
}

// reap removes every key that is due and announces it. It runs before each
// command, so nobody ever reads an expired key, and at each tick. It does not
// run within EXEC or a script, where time stands still as in Redis.
func (s *Server) reap() {
	now := time.Now()
	s.reapFields(now)
	for {
		k, ok := s.expiry.due(now)
		if !ok {
			return
		}
		if s.mini.DB(k.db).Del(k.key) {
			s.notify('x', "expired", k)
		}
	}
}

// keepTTLs keeps the deadlines of the databases for which f is ok, under the
// number that f gives.
func (s *Server) keepTTLs(f func(db int) (now int, ok bool)) {
	s.expiry.keep(f)
	s.fields.keep(f)
}

// settle brings the deadlines of the keys that a command wrote in line with
// miniredis. renewed are those whose TTL the command set.
func (c *call) settle(keys []string) {
	for _, key := range keys {
		k := dbKey{c.db, key}
		ttl := c.ask("PTTL", key).n
		_, known := c.s.expiry.deadlines[k]
		switch {
		case ttl == -1 || ttl == -2:
			c.s.expiry.drop(k)
		case c.past && c.renewed[key]:
			c.s.expiry.set(k, time.Now())
		case !known || c.renewed[key]:
			c.s.expiry.set(k, time.Now().Add(time.Duration(ttl)*time.Millisecond))
		}
	}
}

// ttl answers TTL, PTTL, EXPIRETIME and PEXPIRETIME.
func ttl(s *Server, x *session, args []string) {
	at, ok := time.Time{}, false
	if len(args) == 2 {
		at, ok = s.expiry.deadlines[dbKey{x.db, args[1]}]
	}
	if !ok {
		x.pass(args) // no such key, no TTL, or no such call: miniredis knows
		return
	}
	left := max(0, time.Until(at).Milliseconds())
	switch command := upper(args[0]); command {
	case "TTL":
		x.peer.WriteInt(int(left+500) / 1000)
	case "PTTL":
		x.peer.WriteInt(int(left))
	case "EXPIRETIME":
		x.peer.WriteInt(int(at.UnixMilli()+500) / 1000)
	case "PEXPIRETIME":
		x.peer.WriteInt(int(at.UnixMilli()))
	}
}

// refresh tells miniredis how long a key still has to live, for the commands
// that compare with it.
func (c *call) refresh(key string) {
	if at, ok := c.s.expiry.deadlines[dbKey{c.db, key}]; ok {
		left := max(1, time.Until(at).Milliseconds())
		c.ask("PEXPIRE", key, strconv.FormatInt(left, 10))
	}
}
