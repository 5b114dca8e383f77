package pgfollow

import (
	"bytes"
	"encoding/binary"
)

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

// table is what the server tells of one before it sends the first change of it.
type table struct {
	schema, name string
	identity     byte // by what its rows are told apart: 'd' the primary key, 'i' another index, 'f' all columns, 'n' nothing
	columns      []column
	key          int // the place of the only column of its primary key; -1: of several, or none that is told
}

type column struct {
	name string
	kind uint32 // as pg_type numbers it
	told bool   // of rows as they were before
}

// table reads a relation. By which column its rows are told apart is sure of a replica identity that is the primary key:
// any other names columns too.
func (m *message) table() *table {
	t := &table{schema: m.text(), name: m.text(), identity: m.byte(), key: -1}
	if t.schema == "" {
		t.schema = "pg_catalog"
	}
	keys := 0
	for i := range int(m.uint16()) {
		c := column{told: m.byte()&1 == 1, name: m.text(), kind: m.uint32()}
		m.next(4)
		if t.columns = append(t.columns, c); c.told {
			t.key = i
			keys++
		}
	}
	if keys != 1 || t.identity != 'd' {
		t.key = -1
	}
	return t
}

// value is that of one column: 't' with its text, 'n' for NULL, 'u' for one that an update left as it was and is not sent.
type value struct {
	kind byte
	text []byte
}

// row reads one.
func (m *message) row() []value {
	n := int(m.uint16())
	if n > len(m.b) {
		m.short = true
		return nil
	}
	row := make([]value, n)
	for i := range row {
		switch row[i].kind = m.byte(); row[i].kind {
		case 't':
			row[i].text = m.next(int(m.uint32()))
		case 'n', 'u':
		default:
			m.short = true
		}
	}
	return row
}
