package pgfollow

import (
	"context"
	"encoding/binary"
	"errors"
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
// changed, and where a transaction begins and ends.
func (s *session) change(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return errShort
	}
	m := message{b: b[1:]}
	switch b[0] {
	case 'B':
		m.next(16)
		s.xid = m.uint32()
	case 'R':
		id, t := m.uint32(), m.table()
		if !m.short {
			s.tables[id] = t
		}
	case 'I', 'U', 'D':
		t, verb := s.tables[m.uint32()], b[0]
		if m.byte(); m.short {
			return errShort
		}
		c := s.of(t)
		c.Inserted, c.Updated, c.Deleted = c.Inserted || verb == 'I', c.Updated || verb == 'U', c.Deleted || verb == 'D'
		if t != nil && verb != 'I' {
			c.note(&m, b[5], verb)
		}
		return nil // a row that is cut short is the whole table
	case 'T':
		n := m.uint32()
		m.next(1)
		for range n {
			id := m.uint32()
			if m.short {
				break
			}
			c := s.of(s.tables[id])
			c.Truncated, c.Whole = true, true
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
	if m.short {
		return errShort
	}
	return nil
}
