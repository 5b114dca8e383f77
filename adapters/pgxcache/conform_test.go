package pgxcache

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// columns are types, each with literals of it. NULL is added to each.
var columns = []string{
	"smallint|1|-32768", "integer|1", "bigint|9223372036854775807", "numeric(20,5)|1.50000|'NaN'", "numeric|123456789012345678901234567890.5",
	"real|1.5|'NaN'|'Infinity'", "double precision|0.1|'-Infinity'", "money|12.34", "boolean|true", "char(5)|'a'", "varchar(10)|'ä'|''", "text|'x'|''",
	`bytea|'\x00ff'|'\x'`, "date|'2024-02-29'|'infinity'", "time|'12:34:56.789'", "timetz|'12:34:56+02'", "timestamp|'2024-02-29 12:34:56.789'",
	"timestamptz|'2024-02-29 12:34:56.789+02'", "interval|'1 year 2 days 03:04:05'", "uuid|'00000000-0000-0000-0000-000000000001'",
	`json|'{"a": 1}'|'null'`, `jsonb|'{"a": [1, null]}'|'null'`, "xml|'<a/>'", "inet|'10.0.0.1/8'", "cidr|'10.0.0.0/8'", "macaddr|'08:00:2b:01:02:03'",
	"bit(3)|B'101'", "varbit(5)|B'11'", "point|'(1,2)'", "line|'{1,2,3}'", "lseg|'[(1,2),(3,4)]'", "box|'(3,4),(1,2)'", "path|'[(1,2),(3,4)]'",
	"polygon|'((1,2),(3,4))'", "circle|'<(1,2),3>'", "tsvector|'a b'", "tsquery|'a & b'", "int4range|'[1,5)'|'empty'", "tstzrange|'[2024-01-01,)'",
	"int4multirange|'{[1,3),[5,8)}'", "integer[]|'{1,2,NULL}'|'{}'", "integer[][]|'{{1,2},{3,4}}'", "text[]|'{a,b}'", "oid|1", `"char"|'a'`, "name|'n'",
	"pg_lsn|'0/1'", "jsonpath|'$.a'", "mood|'sad'|'glad'", "mood[]|'{sad,NULL,glad}'", "price|ROW(1.5, 'sad')", "price[]|ARRAY[ROW(1.5, 'sad')::price]",
	"span|'[1,2]'", "span[]|ARRAY['[1,2]'::span]", "strange|'sad'", "strange[]|'{sad}'", "few|3",
}

// types are the database's own. All but strange and few are registered on every connection.
var types = []string{
	"CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE TYPE strange AS ENUM ('sad')",
	"CREATE TYPE price AS (amount numeric, how mood)", "CREATE DOMAIN few AS integer",
	"CREATE TYPE span AS RANGE (subtype = float8)",
}

func register(ctx context.Context, conn *pgx.Conn) error {
	types, err := conn.LoadTypes(ctx, []string{"mood", "_mood", "price", "_price", "span", "_span"})
	if err != nil {
		return err
	}
	conn.TypeMap().RegisterTypes(types)
	return nil
}

// modes are what may be given before the arguments.
var modes = [][]any{
	nil, {pgx.QueryExecModeCacheStatement}, {pgx.QueryExecModeCacheDescribe}, {pgx.QueryExecModeDescribeExec}, {pgx.QueryExecModeExec}, {pgx.QueryExecModeSimpleProtocol},
	{pgx.QueryResultFormats{pgx.TextFormatCode, pgx.BinaryFormatCode}}, {pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.TextFormatCode}},
	{pgx.QueryResultFormats{pgx.TextFormatCode, pgx.TextFormatCode}},
}

// The same query gives the same with and without the wrapper, from the database and from memory: descriptions, bytes,
// values, what is scanned into what, nulls, errors.
func TestConform(t *testing.T) {
	base := newBase(t, types...)
	for i, col := range columns {
		f := words(col)
		must(t, base, fmt.Sprintf("CREATE TABLE c%d (id INT PRIMARY KEY, v %s)", i, f[0]))
		for j, lit := range append(f[1:], "NULL") {
			must(t, base, fmt.Sprintf("INSERT INTO c%d VALUES (%d, %s)", i, j, lit))
		}
	}
	with := func(c *pgxpool.Config) { c.AfterConnect = register }
	plain := newPool(t, base.Config().ConnString(), with)
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), with))
	for i, col := range columns {
		for m, mode := range modes {
			q := fmt.Sprintf("SELECT v, id FROM c%d ORDER BY id", i)
			args := mode
			if m%2 == 1 {
				q, args = fmt.Sprintf("SELECT v, id FROM c%d WHERE id >= $1 ORDER BY id", i), append(args[:len(args):len(args)], 0)
			}
			want := dump(t, plain, q, args)
			differ(t, fmt.Sprintf("%s, %v, loaded", col, mode), dump(t, db, q, args), want)
			if n := db.hits(func() {
				differ(t, fmt.Sprintf("%s, %v, from memory", col, mode), dump(t, db, q, args), want)
			}); n != uint64(1+len(targets)) {
				t.Errorf("%s, %v: %q is not kept: %v", col, mode, q, db.Explain(q))
			}
		}
	}
	for _, q := range []string{"SELECT FROM c0", "SELECT id FROM c0 WHERE id > 99", "SELECT c0 FROM c0", "SELECT 1 FROM c0", "SELECT count(*) FROM c0"} {
		for range 3 {
			differ(t, q, dump(t, db, q, nil), dump(t, plain, q, nil))
		}
	}
}

type dbtx interface {
	execer
	queryer
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

type priceOf struct {
	Amount pgtype.Numeric
	How    *string
}

// targets are what the first column is scanned into.
var targets = []func() any{
	func() any { return new(any) }, func() any { return new(string) }, func() any { return new(*string) }, func() any { return new([]byte) },
	func() any { return new(int64) }, func() any { return new(*int64) }, func() any { return new(float64) }, func() any { return new(bool) },
	func() any { return new(time.Time) }, func() any { return new(pgtype.Timestamptz) }, func() any { return new(pgtype.Numeric) }, func() any { return new(pgtype.Text) },
	func() any { return new([]string) }, func() any { return new([]*int32) }, func() any { return new([16]byte) }, func() any { return new(map[string]any) },
	func() any { return new(pgtype.UndecodedBytes) }, func() any { return new(pgtype.DriverBytes) }, func() any { return new(priceOf) }, func() any { return new([]priceOf) },
	func() any { return new(pgtype.Range[*float64]) }, func() any { return new(reading) }, func() any { return nil },
}

// reading says its own.
type reading struct{ got any }

func (r *reading) Scan(v any) error { r.got = fmt.Sprintf("%T %v", v, v); return nil }

// dump is all that pgx tells of an answer.
func dump(t testing.TB, db dbtx, query string, args []any) string {
	t.Helper()
	var out strings.Builder
	rows, err := db.Query(t.Context(), query, args...)
	if err != nil {
		fmt.Fprintf(&out, "%T %v, %v\n", err, err, rows.Err())
		return out.String()
	}
	for n := 0; rows.Next(); n++ {
		if n == 0 {
			fmt.Fprintf(&out, "%+v\n", rows.FieldDescriptions())
		}
		fmt.Fprintf(&out, "%q ", rows.RawValues())
		values, err := rows.Values()
		for _, v := range values {
			fmt.Fprintf(&out, "%T %s ", v, show(reflect.ValueOf(v)))
		}
		fmt.Fprintln(&out, err)
	}
	rows.Close()
	fmt.Fprintln(&out, rows.Err(), rows.CommandTag(), rows.Next())
	for _, target := range targets {
		if rows, err = db.Query(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			dest, id := target(), 0
			if len(rows.FieldDescriptions()) < 2 {
				err = rows.Scan(dest)
			} else {
				err = rows.Scan(dest, &id)
			}
			if d, ok := dest.(*any); ok {
				dest = *d
			}
			fmt.Fprintf(&out, "%T %s %d %T %v\n", dest, show(reflect.ValueOf(dest)), id, err, err)
		}
		fmt.Fprintln(&out, rows.Err(), rows.CommandTag())
	}
	return out.String()
}

// show is %v, with what pointers point to.
func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return "&" + show(v.Elem())
	case reflect.Slice, reflect.Array:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, show(v.Index(i)))
		}
		return fmt.Sprint(v.Kind() == reflect.Slice && v.IsNil(), parts)
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return at.Format(time.RFC3339Nano) + " " + at.Location().String()
		}
		var parts []string
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				parts = append(parts, show(v.Field(i)))
			}
		}
		return fmt.Sprint(parts)
	}
	if !v.IsValid() {
		return "nothing"
	}
	return fmt.Sprintf("%#v", v)
}

var address = regexp.MustCompile("0x[0-9a-f]{8,}")

// differ reports where two dumps do, but for addresses in errors.
func differ(t *testing.T, what, got, want string) {
	t.Helper()
	plain := func(s string) []string { return strings.Split(address.ReplaceAllString(s, "0x"), "\n") }
	g, w := plain(got), plain(want)
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s, line %d:\n%s\nwant\n%s", what, i, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s: %d lines, want %d", what, len(g), len(w))
	}
}

// Errors are pgx's own, and nothing is kept of them.
func TestErrors(t *testing.T) {
	base := newBase(t, "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(5))", "INSERT INTO t VALUES (1, 'a')")
	db := open(t, base)
	for range 2 {
		for _, q := range []string{"SELECT nope FROM t", "SELEC 1", "SELECT * FROM nope", "SELECT id FROM t WHERE", "SELECT id FROM t WHERE id = $1", "SELECT 1/(id-1) FROM t", ""} {
			differ(t, q, dump(t, db, q, nil), dump(t, base, q, nil))
			want, got := base.QueryRow(t.Context(), q).Scan(new(int)), db.QueryRow(t.Context(), q).Scan(new(int))
			if fmt.Sprint(got) != fmt.Sprint(want) || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("row of %q: %v, want %v", q, got, want)
			}
		}
	}
	for _, q := range []string{"INSERT INTO t VALUES (1, 'b')", "UPDATE nope SET x = 1", "frob"} {
		_, want := base.Exec(t.Context(), q)
		_, got := db.Exec(t.Context(), q)
		if fmt.Sprint(got) != fmt.Sprint(want) || reflect.TypeOf(got) != reflect.TypeOf(want) {
			t.Errorf("%q: %v, want %v", q, got, want)
		}
	}
	for range 2 {
		q := "SELECT id, s FROM t WHERE id = $1"
		for _, dest := range [][]any{{new(int)}, {new(int), new(int)}, {new(int), new(pgtype.DriverBytes)}, {new(pgx.Rows)}} {
			want, got := base.QueryRow(t.Context(), q, 1).Scan(dest...), db.QueryRow(t.Context(), q, 1).Scan(dest...)
			if want == nil || fmt.Sprint(got) != fmt.Sprint(want) || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("scan into %T: %v, want %v", dest, got, want)
			}
		}
		if err := db.QueryRow(t.Context(), q, 2).Scan(new(int), new(string)); !errors.Is(err, pgx.ErrNoRows) {
			t.Error("no rows:", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Query(ctx, "SELECT id FROM t"); !errors.Is(err, context.Canceled) {
		t.Error("a cancelled query:", err)
	}
	db.Close()
	if err := db.QueryRow(t.Context(), "SELECT id FROM t").Scan(new(int)); err == nil {
		t.Error("a closed DB answered")
	}
}
