package pgxcache

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// kept are pgx.Rows over a result. Like a connection's they hold a row in one buffer, which the next row overwrites and
// which is nobody else's: what a caller does to its bytes stays with him.
type kept struct {
	r      *result
	read   int // rows so far
	row    []byte
	values [][]byte // of the current row, in row; nil before the first
	plans  []pgtype.ScanPlan
	dests  []reflect.Type // that plans are for
	fields []pgconn.FieldDescription
	err    error
	closed bool

	decoding *decoding // nil: not needed yet, or given back
	lent     bool      // it is the caller's as well

	fewValues [few][]byte
	fewPlans  [few]pgtype.ScanPlan
	fewDests  [few]reflect.Type
}

// few columns need no slices of their own.
const few = 8

var _ pgx.Rows = (*kept)(nil)

// failed are the rows of a query that was not sent.
func failed(err error) *kept { return &kept{r: &result{}, err: err, closed: true} }

func (k *kept) Close() {
	if k.closed {
		return
	}
	k.closed = true
	k.values, k.plans, k.dests = nil, nil, nil
	if k.decoding != nil && !k.lent {
		k.decoding.done()
		k.decoding = nil
	}
}

func (k *kept) fatal(err error) error {
	if k.err == nil {
		k.err = err
		k.Close()
	}
	return err
}

func (k *kept) Err() error          { return k.err }
func (k *kept) Conn() *pgx.Conn     { return nil }
func (k *kept) RawValues() [][]byte { return k.values }

func (k *kept) CommandTag() pgconn.CommandTag {
	if !k.closed {
		return pgconn.CommandTag{}
	}
	return k.r.tag
}

// FieldDescriptions are a copy: callers share the result.
func (k *kept) FieldDescriptions() []pgconn.FieldDescription {
	if k.fields == nil {
		k.fields = slices.Clone(k.r.fields)
	}
	return k.fields
}

// TypeMap is the caller's to keep: like a connection's it is of use after the rows are closed.
func (k *kept) TypeMap() *pgtype.Map {
	if k.r.decoder == nil {
		return nil
	}
	k.lent = true
	return k.types()
}

// types is the map that these rows are decoded with.
func (k *kept) types() *pgtype.Map {
	if k.decoding == nil {
		k.decoding = k.r.decoder.take(k.r.types)
	}
	return k.decoding.types
}

func (k *kept) Next() bool {
	if k.closed {
		return false
	}
	r, n := k.r, len(k.r.fields)
	if k.read == r.rows {
		k.Close()
		return false
	}
	if k.values == nil {
		k.row = make([]byte, r.widest)
		if k.values = k.fewValues[:]; n > few {
			k.values = make([][]byte, n)
		}
		k.values = k.values[:n:n]
	}
	at := k.read * n // the row's first value
	k.read++
	start := uint32(0)
	if at > 0 {
		start = r.ends[at-1]
	}
	from := uint32(0)
	for i := range k.values {
		end := r.ends[at+i] - start
		if k.values[i] = k.row[from:end:end]; r.nulls != nil && r.nulls[at+i] {
			k.values[i] = nil
		}
		from = end
	}
	copy(k.row, r.data[start:start+from])
	return true
}

func (k *kept) Scan(dest ...any) error {
	fields := k.r.fields
	if len(fields) != len(k.values) {
		return k.fatal(fmt.Errorf("number of field descriptions must equal number of values, got %d and %d", len(fields), len(k.values)))
	}
	if len(dest) == 1 {
		if s, ok := dest[0].(pgx.RowScanner); ok {
			if err := s.ScanRow(k); err != nil {
				return k.fatal(err)
			}
			return nil
		}
	}
	if len(fields) != len(dest) {
		return k.fatal(fmt.Errorf("number of field descriptions must equal number of destinations, got %d and %d", len(fields), len(dest)))
	}
	if k.plans == nil {
		if n := len(fields); n <= few {
			k.plans, k.dests = k.fewPlans[:n], k.fewDests[:n]
		} else {
			k.plans, k.dests = make([]pgtype.ScanPlan, n), make([]reflect.Type, n)
		}
	}
	for i, d := range dest {
		if d == nil {
			continue
		}
		if t := reflect.TypeOf(d); k.dests[i] != t {
			k.plans[i], k.dests[i] = k.types().PlanScan(fields[i].DataTypeOID, fields[i].Format, d), t
		}
		if err := k.plans[i].Scan(k.values[i], d); err != nil {
			return k.fatal(pgx.ScanArgError{ColumnIndex: i, FieldName: fields[i].Name, Err: err})
		}
	}
	return nil
}

func (k *kept) Values() ([]any, error) {
	if k.closed {
		return nil, errors.New("rows is closed")
	}
	values := make([]any, 0, len(k.values))
	for i, raw := range k.values {
		v, err := k.value(&k.r.fields[i], raw)
		if err != nil {
			return nil, k.fatal(err)
		}
		values = append(values, v)
	}
	return values, nil
}

// value decodes as a connection's rows do.
func (k *kept) value(f *pgconn.FieldDescription, raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	m := k.types()
	if t, ok := m.TypeForOID(f.DataTypeOID); ok {
		return t.Codec.DecodeValue(m, f.DataTypeOID, f.Format, raw)
	}
	switch f.Format {
	case pgx.TextFormatCode:
		return string(raw), nil
	case pgx.BinaryFormatCode:
		return slices.Clone(raw), nil
	}
	return nil, errors.New("unknown format code")
}

// first is a pgx.Row over rows.
type first struct{ rows pgx.Rows }

func (f first) Scan(dest ...any) error {
	defer f.rows.Close() // also when a destination panics
	if err := f.rows.Err(); err != nil {
		return err
	}
	for _, d := range dest {
		if _, ok := d.(*pgtype.DriverBytes); ok {
			return errors.New("cannot scan into *pgtype.DriverBytes from QueryRow")
		}
	}
	if !f.rows.Next() {
		if err := f.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	f.rows.Scan(dest...)
	f.rows.Close()
	return f.rows.Err()
}
