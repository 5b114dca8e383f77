package pgxcache

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// result is an answer kept whole, as the server sent it. It is never changed after it is made.
type result struct {
	fields  []pgconn.FieldDescription
	types   []*pgtype.Type // of the columns, those that a user registered
	decoder *decoder
	data    []byte   // every value, row by row
	ends    []uint32 // where each value ends in data; its start is the end of the one before
	nulls   []bool   // nil: none
	rows    int
	widest  int // bytes of the longest row
	tag     pgconn.CommandTag
}

const resultOverhead = 512

// Size counts the fields at what their names and descriptions take.
func (r *result) Size() int64 {
	n := resultOverhead + len(r.data) + 4*len(r.ends) + len(r.nulls)
	for i := range r.fields {
		n += 64 + len(r.fields[i].Name)
	}
	return int64(n)
}

// Len is the number of rows.
func (r *result) Len() int { return r.rows }

// late is an error that pgx tells by Rows.Err, and not when the query is sent.
type late struct{ error }

func (l late) Unwrap() error { return l.error }

// collect reads rows to their end, within the caps. Only a clean end counts. Beyond the caps the query is cancelled, which
// costs the connection: to read on could take minutes.
func collect(rows pgx.Rows, cancel func(), opts *sqlengine.Options) (sqlengine.Answer, error) {
	defer rows.Close()
	r := &result{}
	for rows.Next() {
		start := len(r.data)
		for _, v := range rows.RawValues() {
			if v == nil {
				if r.nulls == nil {
					r.nulls = make([]bool, len(r.ends), max(len(r.ends)+1, 8))
				}
			} else {
				r.data = append(r.data, v...)
			}
			if r.nulls != nil {
				r.nulls = append(r.nulls, v == nil)
			}
			r.ends = append(r.ends, uint32(len(r.data)))
			if int64(len(r.data)) > opts.MaxResultBytes {
				cancel()
				return sqlengine.TooLarge, nil
			}
		}
		r.widest = max(r.widest, len(r.data)-start)
		if r.rows++; r.rows > opts.MaxRows {
			cancel()
			return sqlengine.TooLarge, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, late{err}
	}
	r.fields = slices.Clone(rows.FieldDescriptions())
	r.tag = rows.CommandTag()
	r.data, r.ends, r.nulls = slices.Clip(r.data), slices.Clip(r.ends), slices.Clip(r.nulls)
	if r.Size() > opts.MaxResultBytes {
		return sqlengine.TooLarge, nil
	}
	return r, nil
}

// fetch asks on l for the whole of an answer, and how l would decode it.
func (l *link) fetch(ctx context.Context, opts *sqlengine.Options, sql string, args []any) (sqlengine.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := l.pgx().Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	ans, err := collect(rows, cancel, opts)
	r, ok := ans.(*result)
	if !ok {
		return ans, err
	}
	m := l.pgx().TypeMap()
	if private(m, r.fields) {
		return sqlengine.Private, nil
	}
	r.types = registered(m, r.fields)
	if l.known.decoder == nil || !l.known.decoder.knows(r.types) {
		l.known.decoder = newDecoder(m)
	}
	r.decoder = l.known.decoder
	return r, nil
}
