package pgfollow

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// changes are those of one table in a transaction.
type changes struct {
	sqlengine.Change
	table *table           // nil for one that the server has not named
	keys  map[any]struct{} // of rows that were changed or deleted; added ones have none
	moved map[string]bool  // columns, in lower case, that an update changed
	lost  bool             // which ones is not known
}

// mostKeys of a table are remembered; more are the whole of it.
const mostKeys = 100

// The types of keys by which rows are told apart, and others whose text is the value, as pg_type numbers them.
const (
	int8Type, int2Type, int4Type = 20, 21, 23
	uuidType                     = 2950
	boolType, textType           = 16, 25
	bpcharType, varcharType      = 1042, 1043
)

// of are the changes of t in the transaction that is being sent.
func (s *session) of(t *table) *changes {
	var name [2]string
	if t != nil {
		name = [2]string{t.schema, t.name}
	}
	c := s.changed[name]
	if c == nil {
		c = &changes{Change: sqlengine.Change{Schema: name[0], Table: name[1]}, table: t, keys: map[any]struct{}{}, moved: map[string]bool{}}
		s.changed[name] = c
	}
	if c.table != t { // altered meanwhile
		c.table, c.lost = t, true
	}
	return c
}

// note remembers an update or a deletion: m is at the first of its rows, which is before it ('K', 'O') or after it ('N').
func (c *changes) note(m *message, first, verb byte) {
	var before, after []value
	if first == 'N' {
		after = m.row()
	} else if before = m.row(); verb == 'U' {
		m.byte()
		after = m.row()
	}
	if m.short {
		c.Whole, c.lost = true, true
		return
	}
	for _, row := range [][]value{before, after} {
		if row == nil || c.Whole {
			continue
		}
		key, ok := c.table.keyOf(row)
		if ok {
			c.keys[key] = struct{}{}
		}
		c.Whole = !ok || len(c.keys) > mostKeys
	}
	if verb == 'U' {
		c.compare(before, after)
	}
}

// compare notes which columns an update has changed. Without a row before it there are none among those that are told:
// that is sent where one of them changes, and always where all of them are told.
func (c *changes) compare(before, after []value) {
	switch columns := c.table.columns; {
	case before == nil && c.table.identity != 'f':
	case len(before) != len(columns), len(after) != len(columns):
		c.lost = true
	default:
		for i, column := range columns {
			if column.told && !same(column.kind, before[i], after[i]) {
				c.moved[strings.ToLower(column.name)] = true
			}
		}
	}
}

// same reports whether a value is surely the same after an update.
func same(kind uint32, before, after value) bool {
	switch kind {
	case int2Type, int4Type, int8Type, uuidType, boolType, textType, bpcharType, varcharType:
		return after.kind == 'u' || before.kind == after.kind && bytes.Equal(before.text, after.text)
	}
	return after.kind == 'u'
}

// kept are the columns that no update changed. Of two that differ only in case both were not.
func (c *changes) kept() map[string]bool {
	kept := map[string]bool{}
	if c.lost {
		return kept
	}
	for _, column := range c.table.columns {
		name := strings.ToLower(column.name)
		before, twice := kept[name]
		kept[name] = column.told && !c.moved[name] && (before || !twice)
	}
	return kept
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

// announce says what fell. Where the publication is not known of the transaction, nothing is thought to be told beside what
// was: not what else changed, nor that a row which was added was not there before and kept back by a filter. What is said of
// columns that were kept is said of a table with partitions too, whose rows may be told apart by others: a write to such a
// table counts as one of every kind anyway.
func (s *session) announce(ctx context.Context) error {
	if s.changed[[2]string{}] != nil {
		return s.f.cache.Touch(ctx)
	}
	told, trusts := sqlengine.Told{}, s.trusts()
	if trusts {
		told = sqlengine.Told{Of: s.pub.tells, All: s.pub.all}
	}
	list := make([]sqlengine.Change, 0, len(s.changed))
	for _, c := range s.changed {
		c.Keys = slices.Collect(maps.Keys(c.keys))
		c.Whole = c.Whole || !trusts || !s.pub.lists(c.Schema, c.Table)
		c.Kept = c.kept()
		list = append(list, c.Change)
	}
	return s.f.cache.TouchChanges(ctx, list, told)
}

// keyOf is the primary key of a row.
func (t *table) keyOf(row []value) (key any, ok bool) {
	if t.key < 0 || t.key >= len(row) || row[t.key].kind != 't' {
		return nil, false
	}
	text := string(row[t.key].text)
	switch t.columns[t.key].kind {
	case int2Type, int4Type, int8Type:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	case uuidType:
		return text, true
	}
	return nil, false
}
