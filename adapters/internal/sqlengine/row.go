package sqlengine

import (
	"cmp"
	"database/sql/driver"
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A statement that names rows of one table by its primary key is told from those that are about the whole table. A write
// falls as an item: the table's tag is the whole of it, and everything that was read of the table falls with that. A
// write of such rows is the items someRows(table) and oneRow(table, row) of each. What read the whole table falls with
// the first too, what read named rows with each of theirs. Whoever adds a row may not name it, so an answer that lacks
// some of its rows falls with the first as well. Marks are set for items too: what does not fall with a write may be
// stored while it is committed.

// rowMark parts a table's tag from what of it is meant. No name of a table has a zero byte.
const rowMark = "\x00"

func someRows(table string) string        { return table + rowMark }
func oneRow(table string, row Row) string { return table + rowMark + row.text() }

// tableOf is the table of an item.
func tableOf(item string) string {
	table, _, _ := strings.Cut(item, rowMark)
	return table
}

// tablesOf are the tables of items, each once.
func tablesOf(items []string) []string {
	tables := make([]string, 0, len(items))
	for _, it := range items {
		tables = append(tables, tableOf(it))
	}
	slices.Sort(tables)
	return slices.Compact(tables)
}

// mostRows of a transaction are told of one by one; one that writes more has written their tables.
const mostRows = 128

// compact sorts items, each once, and leaves only whole tables where there are whole ones or too many rows.
func compact(items []string) []string {
	whole := map[string]bool{}
	for _, it := range items {
		if len(items) > mostRows || !strings.Contains(it, rowMark) {
			whole[tableOf(it)] = true
		}
	}
	kept := make([]string, 0, len(items))
	for _, it := range items {
		if table := tableOf(it); !whole[table] {
			kept = append(kept, it)
		}
	}
	for table := range whole {
		kept = append(kept, table)
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}

// keyKind is the type of a primary key by which rows can be told apart: its values have one text each.
type keyKind uint8

const (
	noKey keyKind = iota // none, or one of another type, or a write to one row may change others of the table
	integers
	uuids
)

// rowKey is a table's primary key of one column.
type rowKey struct {
	column string
	kind   keyKind
}

// Row is the value of a primary key. The zero Row is not known.
type Row struct {
	kind   keyKind
	number int64
	uuid   string // in its usual form, in lower case
}

func (r Row) text() string {
	if r.kind == integers {
		return strconv.FormatInt(r.number, 10)
	}
	return r.uuid
}

// RowOf is the row whose primary key a statement was given as v. It knows integers, and UUIDs in their usual form.
// Values of other types are for the driver to understand.
func RowOf(v any) Row {
	switch v := v.(type) {
	case int64:
		return integer(v)
	case int:
		return integer(int64(v))
	case string:
		return uuid(v)
	case [16]byte:
		b := hex.EncodeToString(v[:])
		return Row{kind: uuids, uuid: b[:8] + "-" + b[8:12] + "-" + b[12:16] + "-" + b[16:20] + "-" + b[20:]}
	case nil:
		return Row{}
	}
	return reflected(v)
}

// reflected is RowOf for named types: those that say their value themselves, and plain integers.
func reflected(v any) Row {
	rv := reflect.ValueOf(v)
	if says, ok := v.(driver.Valuer); ok && rv.Kind() != reflect.Pointer {
		switch value, _ := says.Value(); value := value.(type) {
		case int64:
			return integer(value)
		case string:
			return uuid(value)
		}
		return Row{}
	}
	switch k := rv.Kind(); {
	case rv.NumMethod() > 0: // a driver may ask them
	case k >= reflect.Int && k <= reflect.Int64:
		return integer(rv.Int())
	case k >= reflect.Uint && k <= reflect.Uint64 && rv.Uint() <= math.MaxInt64:
		return integer(int64(rv.Uint()))
	}
	return Row{}
}

func integer(n int64) Row { return Row{kind: integers, number: n} }

func uuid(s string) Row {
	if len(s) != 36 {
		return Row{}
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return Row{}
			}
		default:
			if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return Row{}
			}
		}
	}
	return Row{kind: uuids, uuid: strings.ToLower(s)}
}

// byKey is what makes a statement one about rows that it names.
type byKey struct {
	table  string
	column string
	kind   keyKind
	keys   []keyValue
	args   int      // how many the statement takes
	others []string // of a write: what falls beside the rows
}

// keyValue is what a primary key is compared with.
type keyValue struct {
	row  Row  // the text's own, or
	arg  int  // which argument, from 0
	list bool // that argument is a list of them
}

// Rows are those that st is about when it is given n arguments, of which arg gives each, from 0. There are none for a
// statement about whole tables, and where the arguments do not tell.
func (st *Statement) Rows(n int, arg func(i int) any) []Row {
	s := st.byKey
	if s == nil || n != s.args {
		return nil
	}
	rows := make([]Row, 0, len(s.keys))
	for _, k := range s.keys {
		switch {
		case k.row != (Row{}):
			rows = append(rows, k.row)
		case k.list:
			rows = appendRows(rows, arg(k.arg))
		default:
			rows = append(rows, RowOf(arg(k.arg)))
		}
	}
	if len(rows) > mostRows || slices.ContainsFunc(rows, func(r Row) bool { return r.kind != s.kind }) {
		return nil
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.uuid, b.uuid))
	})
	return slices.Compact(rows)
}

// appendRows appends what [RowOf] says of each value of a list: a plain slice, since any other is sent as it likes, or
// PostgreSQL's text for one.
func appendRows(rows []Row, list any) []Row {
	if s, ok := list.(string); ok && strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		for e := range strings.SplitSeq(s[1:len(s)-1], ",") {
			rows = append(rows, rowIn(strings.Trim(e, `"`)))
		}
		return rows
	}
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice || v.NumMethod() > 0 || v.Type().Elem().Kind() == reflect.Uint8 || v.Len() > mostRows {
		return append(rows, Row{})
	}
	for i := range v.Len() {
		rows = append(rows, RowOf(v.Index(i).Interface()))
	}
	return rows
}

// rowIn is the row whose key has that text.
func rowIn(s string) Row {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return integer(n)
	}
	return uuid(s)
}

// About is st as a write of rows, or st itself where there are none or st is no such write.
func (st *Statement) About(rows []Row) *Statement {
	if st.class != writes || st.byKey == nil || len(rows) == 0 {
		return st
	}
	s := st.byKey
	written := append([]string{someRows(s.table)}, s.others...)
	for _, r := range rows {
		written = append(written, oneRow(s.table, r))
	}
	return &Statement{class: writes, why: st.why, taints: st.taints, atOnce: st.atOnce, written: written}
}

// restsOn are the items that an answer to st, asked for rows, falls with. One that lacks some of them falls with those
// of no rows too.
func (st *Statement) restsOn(rows []Row) []string {
	items := []string{allTables}
	if s := st.byKey; s != nil && len(rows) > 0 {
		items = append(items, s.table)
		for _, r := range rows {
			items = append(items, oneRow(s.table, r))
		}
		return items
	}
	for _, t := range st.tables {
		items = append(items, t, someRows(t))
	}
	return items
}
