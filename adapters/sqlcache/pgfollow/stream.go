package pgfollow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// table is what the server tells of one before it sends the first change of it.
type table struct {
	name string // schema.table
	key  int    // the place of the only column of its primary key; -1: of several, or none that is told
	kind uint32 // that column's type
}

// changes are those of one table in a transaction.
type changes struct {
	whole bool
	keys  map[any]struct{} // of rows that were changed or deleted; added ones have none
}

// mostKeys of a table are remembered; more are the whole of it.
const mostKeys = 100

// The types of keys by which rows are told apart, as pg_type numbers them.
const (
	int8Type, int2Type, int4Type = 20, 21, 23
	uuidType                     = 2950
)

var errShort = errors.New("a message that is too short")

// data is one message of the stream: changes, or a sign of life.
func (s *session) data(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return errShort
	}
	switch b[0] {
	case 'k':
		if len(b) < 18 {
			return errShort
		}
		if len(s.changed) == 0 {
			s.at = max(s.at, binary.BigEndian.Uint64(b[1:]))
		}
		if b[17] == 1 {
			return s.status(false)
		}
		return nil
	case 'w':
		if len(b) < 25 {
			return errShort
		}
		return s.change(ctx, b[25:])
	}
	return nil
}

// change reads one message of pgoutput (Logical Replication Message Formats in PostgreSQL's documentation): what has
// changed, and where a transaction ends.
func (s *session) change(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return errShort
	}
	m := message{b: b[1:]}
	switch b[0] {
	case 'R':
		id := m.uint32()
		t := m.table()
		if m.short {
			return errShort
		}
		s.tables[id] = t
	case 'I', 'U', 'D':
		id := m.uint32()
		if m.short {
			return errShort
		}
		t := s.tables[id]
		keys, known := t.keys(&m, b[0])
		s.note(t.name, keys, known)
	case 'T':
		n := m.uint32()
		m.next(1)
		for range n {
			id := m.uint32()
			if m.short {
				return errShort
			}
			s.note(s.tables[id].name, nil, false)
		}
	case 'C':
		if len(b) < 18 {
			return errShort
		}
		if err := s.commit(ctx); err != nil {
			return err
		}
		s.at = max(s.at, binary.BigEndian.Uint64(b[10:]))
	}
	return nil
}

// note remembers a change to rows, or where they are not known to the whole table. A table that the server has not named
// has the name "".
func (s *session) note(name string, keys []any, known bool) {
	c := s.changed[name]
	if c.keys == nil {
		c.keys = map[any]struct{}{}
	}
	for _, k := range keys {
		c.keys[k] = struct{}{}
	}
	if !known || len(c.keys) > mostKeys {
		c = changes{whole: true, keys: map[any]struct{}{}}
	}
	c.whole = c.whole || s.changed[name].whole
	s.changed[name] = c
}

// commit announces a transaction. What cannot be announced falls here and is announced by the tracker later.
func (s *session) commit(ctx context.Context) error {
	if len(s.changed) == 0 {
		return nil
	}
	err := s.announce(ctx)
	clear(s.changed)
	if errors.Is(err, sqlcache.ErrUnknownTable) {
		err = s.f.cache.Touch(ctx) // newer than the catalog
	}
	s.f.commits.Add(1)
	if err != nil {
		s.unsaid = true
		s.f.opts.Logger.Warn("freshet: pgfollow: a change is announced later", "error", err)
	}
	return ctx.Err()
}

func (s *session) announce(ctx context.Context) error {
	if _, unnamed := s.changed[""]; unnamed {
		return s.f.cache.Touch(ctx)
	}
	var whole []string
	for name, c := range s.changed {
		if c.whole {
			whole = append(whole, name)
			continue
		}
		keys := make([]any, 0, len(c.keys))
		for k := range c.keys {
			keys = append(keys, k)
		}
		if err := s.f.cache.TouchRows(ctx, name, keys...); err != nil {
			return err
		}
	}
	if whole == nil {
		return nil
	}
	return s.f.cache.Touch(ctx, whole...)
}

// keys reads which rows a message is about, old and new; known is false where that is not to be told.
func (t table) keys(m *message, kind byte) (keys []any, known bool) {
	if t.key < 0 {
		return nil, false
	}
	if kind == 'I' {
		return nil, true
	}
	for tuple := m.byte(); ; tuple = m.byte() {
		key, ok := t.keyOf(m)
		if !ok {
			return nil, false
		}
		keys = append(keys, key)
		if tuple == 'N' || kind == 'D' {
			return keys, true
		}
	}
}

// keyOf reads a row to its end and returns its key.
func (t table) keyOf(m *message) (key any, ok bool) {
	for i := range int(m.uint16()) {
		var value []byte
		switch m.byte() {
		case 'n', 'u':
		case 't':
			value = m.next(int(m.uint32()))
		default:
			return nil, false
		}
		if i != t.key || value == nil {
			continue
		}
		switch t.kind {
		case int2Type, int4Type, int8Type:
			n, err := strconv.ParseInt(string(value), 10, 64)
			key, ok = n, err == nil
		case uuidType:
			key, ok = string(value), true
		}
	}
	return key, ok && !m.short
}

// message is one of pgoutput's, read from its front.
type message struct {
	b     []byte
	short bool // something was missing
}

func (m *message) next(n int) []byte {
	if n < 0 || n > len(m.b) {
		m.b, m.short = nil, true
		return nil
	}
	b := m.b[:n]
	m.b = m.b[n:]
	return b
}

func (m *message) byte() byte {
	if b := m.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (m *message) uint16() uint16 {
	if b := m.next(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (m *message) uint32() uint32 {
	if b := m.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (m *message) text() string {
	n := bytes.IndexByte(m.b, 0)
	s := string(m.next(n))
	m.next(1)
	return s
}

// table reads a relation: its name, and by which column its rows are told apart. That is sure of a replica identity that
// is the primary key ('d'): any other names columns too.
func (m *message) table() table {
	schema, name := m.text(), m.text()
	if schema == "" {
		schema = "pg_catalog"
	}
	t := table{name: schema + "." + name, key: -1}
	byKey, n := m.byte() == 'd', 0
	for i := range int(m.uint16()) {
		isKey := m.byte()&1 == 1
		m.text()
		kind := m.uint32()
		m.next(4)
		if isKey {
			t.key, t.kind = i, kind
			n++
		}
	}
	if n != 1 || !byKey {
		t.key = -1
	}
	return t
}
