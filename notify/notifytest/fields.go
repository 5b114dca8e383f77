package notifytest

import (
	"maps"
	"time"
)

// fieldTTLs holds the deadline of every hash field that has one. They are few:
// a look at all of them at each tick costs nothing. Redis has them since 7.4;
// events and classes are those of Redis, where Valkey's differ.
type fieldTTLs map[dbKey]map[string]time.Time

func (f fieldTTLs) set(k dbKey, field string, at time.Time) {
	if f[k] == nil {
		f[k] = make(map[string]time.Time)
	}
	f[k][field] = at
}

func (f fieldTTLs) move(from, to dbKey, keep bool) {
	fields := f[from]
	if !keep {
		delete(f, from)
	}
	delete(f, to)
	if fields != nil {
		f[to] = maps.Clone(fields)
	}
}

func (f fieldTTLs) keep(rename func(db int) (now int, ok bool)) {
	kept := make(fieldTTLs)
	for k, fields := range f {
		if db, ok := rename(k.db); ok {
			kept[dbKey{db, k.key}] = fields
		}
	}
	clear(f)
	maps.Copy(f, kept)
}

func (f fieldTTLs) shift(d time.Duration) {
	for _, fields := range f {
		for field, at := range fields {
			fields[field] = at.Add(-d)
		}
	}
}

// reapFields removes the fields that are due. A hash is told of once, however
// many went, and goes with its last field.
func (s *Server) reapFields(now time.Time) {
	for k, fields := range s.fields {
		db, gone := s.mini.DB(k.db), false
		for field, at := range fields {
			if at.After(now) {
				continue
			}
			delete(fields, field)
			// Whatever deleted the hash or its field left the deadline here.
			if db.HPersist(k.key, field) {
				db.HDel(k.key, field)
				gone = true
			}
		}
		if len(fields) == 0 {
			delete(s.fields, k)
		}
		if gone {
			s.notify('h', "hexpired", k)
			if left, _ := db.HKeys(k.key); len(left) == 0 {
				db.Del(k.key)
				s.notify('g', "del", k)
			}
		}
	}
}

// fieldTTL answers HTTL and HPTTL. miniredis knows which fields have a TTL,
// but its own do not move.
func fieldTTL(s *Server, x *session, args []string) {
	x.pass(args)
	answer := x.take()
	r, fields := parseReply(answer), afterFields(args, 1)
	if r.kind != '*' || len(r.elems) != len(fields) {
		x.peer.WriteRaw(string(answer))
		return
	}
	x.peer.WriteLen(len(fields))
	for i, field := range fields {
		left := r.elems[i].n
		if at, ok := s.fields[dbKey{x.db, args[1]}][field]; ok && left >= 0 {
			left = int(max(0, time.Until(at).Milliseconds()))
			if upper(args[0]) == "HTTL" {
				left = (left + 999) / 1000
			}
		}
		x.peer.WriteInt(left)
	}
}

// settleFields takes the deadlines of fields just written from miniredis.
func (c *call) settleFields(fields []string) {
	k := dbKey{c.db, c.key()}
	for _, field := range fields {
		delete(c.s.fields[k], field)
		r := c.ask("HPTTL", c.key(), "FIELDS", "1", field)
		if len(r.elems) == 1 && r.elems[0].n >= 0 {
			c.s.fields.set(k, field, time.Now().Add(time.Duration(r.elems[0].n)*time.Millisecond))
		}
	}
}

// persistFields takes the TTL from fields that are set or deleted; miniredis
// would keep it, and for the next field of that name as well.
func (c *call) persistFields(fields []string) {
	k := dbKey{c.db, c.key()}
	for _, field := range fields {
		if _, ok := c.s.fields[k][field]; ok {
			delete(c.s.fields[k], field)
			c.ask("HPERSIST", c.key(), "FIELDS", "1", field)
		}
	}
}

func hset(c *call) {
	c.persistFields(everyOther(c.args[1:]))
	c.send('h', "hset", c.key())
}

// hexpire sets some fields' TTL; zero removes the field at once.
func hexpire(c *call) {
	var set []string
	for i, field := range afterFields(c.args, 1) {
		if i < len(c.reply.elems) && c.reply.elems[i].n == 1 {
			set = append(set, field)
		}
	}
	switch {
	case len(set) == 0:
	case atoi(c.args[2]) <= 0:
		c.deleteFields(set)
	default:
		c.settleFields(set)
		c.send('h', "hexpire", c.key())
	}
}

func hpersist(c *call) {
	for i, field := range afterFields(c.args, 1) {
		if i < len(c.reply.elems) && c.reply.elems[i].n == 1 {
			delete(c.s.fields[dbKey{c.db, c.key()}], field)
			defer c.send('h', "hpersist", c.key())
			break
		}
	}
}

func hsetex(c *call) {
	if !c.reply.some() {
		return
	}
	c.send('h', "hset", c.key())
	if c.option(2, "KEEPTTL") {
		return
	}
	fields := afterFields(c.args, 2)
	switch at, past := c.ttlOption(2); {
	case past:
		c.deleteFields(fields)
	case at > 0:
		c.settleFields(fields)
		c.send('h', "hexpire", c.key())
	default:
		c.persistFields(fields)
	}
}

func (c *call) deleteFields(fields []string) {
	for _, field := range fields {
		c.ask("HPERSIST", c.key(), "FIELDS", "1", field)
	}
	c.ask(append([]string{"HDEL", c.key()}, fields...)...)
	c.removed('h', "hdel", c.key())
}
