package sqlcache

import (
	"database/sql/driver"
	"io"
	"reflect"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// column is what the driver said of one.
type column struct {
	database          string
	scan              reflect.Type
	length            int64
	precision, scale  int64
	nullable          bool
	hasLength, hasDec bool
	hasNullable       bool
}

func columnsOf(rows driver.Rows, n int) []column {
	cols := make([]column, n)
	for i := range cols {
		c := &cols[i]
		c.scan = reflect.TypeFor[any]()
		if r, ok := rows.(driver.RowsColumnTypeScanType); ok {
			c.scan = r.ColumnTypeScanType(i)
		}
		if r, ok := rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
			c.database = r.ColumnTypeDatabaseTypeName(i)
		}
		if r, ok := rows.(driver.RowsColumnTypeLength); ok {
			c.length, c.hasLength = r.ColumnTypeLength(i)
		}
		if r, ok := rows.(driver.RowsColumnTypeNullable); ok {
			c.nullable, c.hasNullable = r.ColumnTypeNullable(i)
		}
		if r, ok := rows.(driver.RowsColumnTypePrecisionScale); ok {
			c.precision, c.scale, c.hasDec = r.ColumnTypePrecisionScale(i)
		}
	}
	return cols
}

// result is an answer kept whole. It is never changed after it is made.
type result struct {
	names  []string
	types  []column
	values []driver.Value // row by row; its []byte are the result's own
	bytes  int64
	blobs  []int // columns that hold []byte in some row
}

func (r *result) Size() int64 { return r.bytes }

func (r *result) Len() int { return len(r.values) / max(1, len(r.names)) }

const valueOverhead = 16 // an interface

// collect reads rows to their end, within the caps, and closes them. Only a clean end counts. Beyond the caps stop is called
// first.
func collect(rows driver.Rows, stop func(), maxRows int, maxBytes int64) (ans sqlengine.Answer, err error) {
	defer func() {
		if ans == sqlengine.TooLarge {
			stop()
		}
		if cerr := rows.Close(); cerr != nil && err == nil && ans != sqlengine.TooLarge {
			ans, err = nil, cerr
		}
	}()
	names := rows.Columns()
	r := &result{names: append([]string(nil), names...), bytes: 256}
	blob := make([]bool, len(names))
	dest := make([]driver.Value, len(names))
	for n := 0; ; n++ {
		err := rows.Next(dest)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			r.types = columnsOf(rows, len(names))
		}
		for i, v := range dest {
			r.bytes += valueOverhead
			switch v := v.(type) {
			case []byte:
				r.bytes += int64(len(v)) + 24
				if v != nil {
					blob[i] = true
					dest[i] = append(make([]byte, 0, len(v)), v...)
				}
			case string:
				r.bytes += int64(len(v)) + 16
			case time.Time:
				r.bytes += 24
			default:
				r.bytes += 8
			}
		}
		r.values = append(r.values, dest...)
		if n+1 > maxRows || r.bytes > maxBytes {
			return sqlengine.TooLarge, nil
		}
	}
	if more, ok := rows.(driver.RowsNextResultSet); ok && more.HasNextResultSet() {
		return sqlengine.TooLarge, nil
	}
	if r.types == nil {
		r.types = columnsOf(rows, len(names))
	}
	for i, b := range blob {
		if b {
			r.blobs = append(r.blobs, i)
		}
	}
	for i := range r.types {
		r.bytes += int64(len(r.names[i])) + 96
	}
	return r, nil
}

// kept are driver.Rows over a result.
type kept struct {
	r  *result
	at int // of the next row's first value
}

func (k *kept) Columns() []string { return k.r.names }
func (k *kept) Close() error      { k.at = len(k.r.values); return nil }

// Next hands out copies of bytes: who scans into sql.RawBytes, or keeps what a Scanner is given, has its own.
func (k *kept) Next(dest []driver.Value) error {
	n := len(k.r.names)
	if k.at >= len(k.r.values) {
		return io.EOF
	}
	row := k.r.values[k.at : k.at+n]
	k.at += n
	copy(dest, row)
	if len(k.r.blobs) == 0 {
		return nil
	}
	size := 0
	for _, i := range k.r.blobs {
		if b, ok := row[i].([]byte); ok {
			size += len(b)
		}
	}
	all := make([]byte, 0, size)
	for _, i := range k.r.blobs {
		if b, ok := row[i].([]byte); ok && b != nil {
			start := len(all)
			all = append(all, b...)
			dest[i] = all[start:len(all):len(all)]
		}
	}
	return nil
}

func (k *kept) ColumnTypeScanType(i int) reflect.Type   { return k.r.types[i].scan }
func (k *kept) ColumnTypeDatabaseTypeName(i int) string { return k.r.types[i].database }
func (k *kept) ColumnTypeLength(i int) (int64, bool) {
	c := &k.r.types[i]
	return c.length, c.hasLength
}
func (k *kept) ColumnTypeNullable(i int) (nullable, ok bool) {
	c := &k.r.types[i]
	return c.nullable, c.hasNullable
}
func (k *kept) ColumnTypePrecisionScale(i int) (p, s int64, ok bool) {
	c := &k.r.types[i]
	return c.precision, c.scale, c.hasDec
}

// streamed are the driver's own rows, and what is to be done when they are closed.
type streamed struct {
	driver.Rows
	done   func(error) error
	closed bool
	failed error
}

func (s *streamed) Next(dest []driver.Value) error {
	err := s.Rows.Next(dest)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return err
}

func (s *streamed) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.Rows.Close()
	if s.failed == nil {
		s.failed = err
	}
	if derr := s.done(s.failed); err == nil {
		err = derr
	}
	return err
}

func (s *streamed) HasNextResultSet() bool {
	r, ok := s.Rows.(driver.RowsNextResultSet)
	return ok && r.HasNextResultSet()
}

func (s *streamed) NextResultSet() error {
	if r, ok := s.Rows.(driver.RowsNextResultSet); ok {
		return r.NextResultSet()
	}
	return io.EOF
}

func (s *streamed) ColumnTypeScanType(i int) reflect.Type {
	if r, ok := s.Rows.(driver.RowsColumnTypeScanType); ok {
		return r.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

func (s *streamed) ColumnTypeDatabaseTypeName(i int) string {
	if r, ok := s.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return r.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

func (s *streamed) ColumnTypeLength(i int) (int64, bool) {
	if r, ok := s.Rows.(driver.RowsColumnTypeLength); ok {
		return r.ColumnTypeLength(i)
	}
	return 0, false
}

func (s *streamed) ColumnTypeNullable(i int) (nullable, ok bool) {
	if r, ok := s.Rows.(driver.RowsColumnTypeNullable); ok {
		return r.ColumnTypeNullable(i)
	}
	return false, false
}

func (s *streamed) ColumnTypePrecisionScale(i int) (p, sc int64, ok bool) {
	if r, ok := s.Rows.(driver.RowsColumnTypePrecisionScale); ok {
		return r.ColumnTypePrecisionScale(i)
	}
	return 0, 0, false
}
