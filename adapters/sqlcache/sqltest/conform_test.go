package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// columns are a type of the database and literals of it. NULL is added to each.
var columns = map[string][][]string{
	"postgres": {
		{"smallint", "1", "-32768"}, {"integer", "1"}, {"bigint", "9223372036854775807"}, {"numeric(20,5)", "1.50000", "'NaN'"},
		{"numeric", "123456789012345678901234567890.5"}, {"real", "1.5", "'NaN'", "'Infinity'"}, {"double precision", "0.1", "'-Infinity'"}, {"money", "12.34"},
		{"boolean", "true"}, {"char(5)", "'a'"}, {"varchar(10)", "'ä'", "''"}, {"text", "'x'"}, {"bytea", `'\x00ff'`, `'\x'`},
		{"date", "'2024-02-29'", "'infinity'"}, {"time", "'12:34:56.789'"}, {"timetz", "'12:34:56+02'"}, {"timestamp", "'2024-02-29 12:34:56.789'"},
		{"timestamptz", "'2024-02-29 12:34:56.789+02'"}, {"interval", "'1 year 2 days 03:04:05'"}, {"uuid", "'00000000-0000-0000-0000-000000000001'"},
		{"json", `'{"a": 1}'`}, {"jsonb", `'{"a": [1, null]}'`}, {"xml", "'<a/>'"}, {"inet", "'10.0.0.1/8'"}, {"cidr", "'10.0.0.0/8'"}, {"macaddr", "'08:00:2b:01:02:03'"},
		{"bit(3)", "B'101'"}, {"varbit(5)", "B'11'"}, {"point", "'(1,2)'"}, {"line", "'{1,2,3}'"}, {"lseg", "'[(1,2),(3,4)]'"}, {"box", "'(3,4),(1,2)'"}, {"path", "'[(1,2),(3,4)]'"},
		{"polygon", "'((1,2),(3,4))'"}, {"circle", "'<(1,2),3>'"}, {"tsvector", "'a b'"}, {"tsquery", "'a & b'"}, {"int4range", "'[1,5)'"}, {"tstzrange", "'[2024-01-01,)'"},
		{"int4multirange", "'{[1,3),[5,8)}'"}, {"integer[]", "'{1,2,NULL}'"}, {"text[]", "'{a,b}'"}, {"oid", "1"}, {"\"char\"", "'a'"}, {"name", "'n'"}, {"pg_lsn", "'0/1'"}, {"jsonpath", "'$.a'"},
	},
	"mysql": {
		{"tinyint", "1"}, {"tinyint unsigned", "255"}, {"smallint", "-1"}, {"mediumint", "1"}, {"int", "1"}, {"bigint", "-9223372036854775808"}, {"bigint unsigned", "18446744073709551615"},
		{"decimal(20,5)", "1.5"}, {"float", "1.5"}, {"double", "0.1"}, {"bit(8)", "b'101'"}, {"boolean", "true"}, {"char(5)", "'a'"}, {"varchar(10)", "'ä'", "''"}, {"tinytext", "'x'"}, {"text", "'x'"},
		{"mediumtext", "'x'"}, {"longtext", "'x'"}, {"binary(3)", "'a'"}, {"varbinary(5)", "x'00ff'"}, {"tinyblob", "x'00'"}, {"blob", "x'00ff'"}, {"mediumblob", "x'00'"}, {"longblob", "x'00'"},
		{"enum('a','b')", "'b'"}, {"set('a','b')", "'a,b'"}, {"date", "'2024-02-29'"}, {"time", "'12:34:56'", "'-100:00:00'"}, {"time(6)", "'12:34:56.789'"}, {"datetime", "'2024-02-29 12:34:56'"},
		{"datetime(6)", "'2024-02-29 12:34:56.789'"}, {"timestamp null", "'2024-02-29 12:34:56'"}, {"year", "2024"}, {"json", `'{"a": 1}'`}, {"point", "POINT(1, 2)"}, {"geometry", "POINT(1, 2)"},
	},
	"mariadb": {{"uuid", "'00000000-0000-0000-0000-000000000001'"}, {"inet6", "'::1'"}}, // and what MySQL has
	"sqlite": {
		{"INTEGER", "1", "9223372036854775807"}, {"REAL", "0.1", "9e999"}, {"TEXT", "'x'", "''", "1"}, {"BLOB", "x'00ff'", "x''"}, {"NUMERIC", "1", "1.5", "'a'"}, {"", "1", "'a'", "x'00'"},
		{"BOOLEAN", "1"}, {"DATE", "'2024-02-29'"}, {"DATETIME", "'2024-02-29 12:34:56'"}, {"TIMESTAMP", "'2024-02-29 12:34:56+02:00'", "1700000000"}, {"VARCHAR(10)", "'ä'"}, {"DECIMAL(10,2)", "1.5"}, {"JSON", `'{"a":1}'`},
	},
}

// The same query gives the same with and without the wrapper, from the database and from memory: rows, Go types,
// nulls, column types.
func TestColumnTypes(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		var tables []string
		columns := slices.Concat(columns[b.dialect], columns[b.product(t)])
		for i, col := range columns {
			name := fmt.Sprintf("c%d", i)
			must(t, plain, fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY, v %s)", name, col[0]))
			for j, lit := range append(col[1:], "NULL") {
				must(t, plain, fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", name, j, lit))
			}
			tables = append(tables, name)
		}
		db, c := open(t, b)
		for i, name := range tables {
			for _, q := range []string{"SELECT v, id FROM " + name + " ORDER BY id", "SELECT id, v FROM " + name + " WHERE id = " + b.param()} {
				var args []any
				if strings.Contains(q, "WHERE") {
					args = []any{0}
				}
				want := dump(t, plain, q, args...)
				if got := dump(t, db, q, args...); got != want {
					t.Errorf("%s, loaded:\n%s\nwant\n%s", columns[i][0], got, want)
				}
				if x := c.Explain(q); !x.Cached {
					t.Errorf("%s: %q: %v", columns[i][0], q, x)
					continue
				}
				remembered(t, c, 1, func() {
					if got := dump(t, db, q, args...); got != want {
						t.Errorf("%s, from memory:\n%s\nwant\n%s", columns[i][0], got, want)
					}
				})
			}
		}
	})
}

// dump is all that database/sql tells of an answer.
func dump(t testing.TB, db *sql.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		return "error: " + err.Error()
	}
	defer rows.Close()
	var out strings.Builder
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range types {
		l, hasL := c.Length()
		p, s, hasP := c.DecimalSize()
		n, hasN := c.Nullable()
		fmt.Fprintln(&out, c.Name(), c.DatabaseTypeName(), c.ScanType(), l, hasL, p, s, hasP, n, hasN)
	}
	for rows.Next() {
		dest := make([]any, len(types))
		for i := range dest {
			dest[i] = new(any)
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		for _, d := range dest {
			v := *d.(*any)
			if at, ok := v.(time.Time); ok {
				v = at.Format(time.RFC3339Nano) + at.Location().String()
			}
			fmt.Fprintf(&out, "%v:%#v ", reflect.TypeOf(v), v)
		}
		fmt.Fprintln(&out)
	}
	if err := rows.Err(); err != nil {
		fmt.Fprintln(&out, "error:", err)
	}
	return out.String()
}

// Errors are the driver's own, and nothing is kept of them.
func TestErrors(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		must(t, plain, "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(5))", "INSERT INTO t VALUES (1, 'a')")
		db, _ := open(t, b)
		for _, q := range []string{"SELECT nope FROM t", "SELEC 1", "SELECT * FROM nope", "SELECT id FROM t WHERE"} {
			want, got := dump(t, plain, q), dump(t, db, q)
			if got != want {
				t.Errorf("%q: %q, want %q", q, got, want)
			}
		}
		for _, q := range []string{"INSERT INTO t VALUES (1, 'b')", "UPDATE nope SET x = 1", "frob"} {
			_, want := plain.Exec(q)
			_, got := db.Exec(q)
			if fmt.Sprint(got) != fmt.Sprint(want) || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("%q: %v, want %v", q, got, want)
			}
		}
		for _, args := range [][]any{{}, {1, 2}} {
			q := "UPDATE t SET s = 'a' WHERE id = " + b.param()
			_, want := plain.Exec(q, args...)
			_, got := db.Exec(q, args...)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q with %d arguments: %v, want %v", q, len(args), got, want)
			}
			q = "SELECT s FROM t WHERE id = " + b.param()
			want, got = plain.QueryRow(q, args...).Scan(new(string)), db.QueryRow(q, args...).Scan(new(string))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q with %d arguments: %v, want %v", q, len(args), got, want)
			}
		}
		if _, err := db.Prepare("SELECT nope FROM t"); err == nil && b.dialect != "sqlite" {
			t.Error("a statement that cannot be prepared was")
		}
		st, err := db.Prepare("SELECT s FROM t WHERE id = " + b.param())
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		for range 2 {
			var s string
			if err := st.QueryRow(1).Scan(&s); err != nil || s != "a" {
				t.Error(s, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.QueryContext(ctx, "SELECT s FROM t"); err == nil {
			t.Error("a cancelled query succeeded")
		}
	})
}

// A hit needs no connection: memory answers with all of them in use. A caller's changes to bytes stay the caller's.
func TestHitsWithoutConnections(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		blob := map[string]string{"postgres": "bytea", "mysql": "blob", "sqlite": "blob"}[b.dialect]
		must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v "+blob+")", "INSERT INTO t VALUES (1, 'abc')", "CREATE TABLE other (id INT)")
		db, c := open(t, b, func(o *sqlcache.Options) { o.MaxConns = 2; o.CatalogEvery = time.Hour })
		q := "SELECT v FROM t WHERE id = 1"
		one[[]byte](t, db, q)
		var txs []*sql.Tx
		for range 2 {
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			txs = append(txs, tx)
		}
		if n := hits(c, func() {
			rows, err := db.Query(q)
			if err != nil {
				t.Fatal(err)
			}
			rows.Next()
			var raw sql.RawBytes
			if err := rows.Scan(&raw); err != nil || string(raw) != "abc" {
				t.Error(string(raw), err)
			}
			raw[0] = 'X'
			rows.Close()
			if got := string(one[[]byte](t, db, q)); got != "abc" {
				t.Errorf("a caller changed what is kept: %q", got)
			}
		}); n != 2 {
			t.Errorf("%d hits", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := db.QueryRowContext(ctx, "SELECT id FROM other").Scan(new(int)); err == nil || err == sql.ErrNoRows {
			t.Error("a query ran beyond MaxConns:", err)
		}
		for _, tx := range txs {
			tx.Rollback()
		}
	})
}

// Dedicated connections pass by, with their session; text transactions are transactions; large answers stream.
func TestSessions(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
		db, c := open(t, b, func(o *sqlcache.Options) { o.MaxRows = 5 })
		q := "SELECT v FROM t WHERE id = 1"
		one[int](t, db, q)
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		must(t, conn, "CREATE TEMPORARY TABLE mine (v INT)", "INSERT INTO mine VALUES (7)")
		var v int
		if n := hits(c, func() {
			conn.QueryRowContext(t.Context(), "SELECT v FROM mine").Scan(&v)
			conn.QueryRowContext(t.Context(), q).Scan(new(int))
		}); n != 0 || v != 7 {
			t.Errorf("%d hits, %d from the temporary table", n, v)
		}
		conn.Close()

		one[int](t, db, q)
		conn, _ = db.Conn(t.Context())
		must(t, conn, "BEGIN", "UPDATE t SET v = 2 WHERE id = 1")
		if b.dialect != "sqlite" {
			if got := one[int](t, db, q); got != 1 {
				t.Errorf("uncommitted: %d", got)
			}
		}
		must(t, conn, "COMMIT")
		conn.Close()
		if got := one[int](t, db, q); got != 2 {
			t.Errorf("after COMMIT as a text: %d", got)
		}

		tx, _ := db.Begin()
		must(t, tx, "SAVEPOINT a", "UPDATE t SET v = 3 WHERE id = 1", "ROLLBACK TO SAVEPOINT a", "UPDATE t SET v = 4 WHERE id = 1", "RELEASE SAVEPOINT a")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, db, q); got != 4 {
			t.Errorf("after savepoints: %d", got)
		}
		for i := 2; i < 20; i++ {
			must(t, db, fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", i, i))
		}
		for range 2 {
			rows, err := db.Query("SELECT id, v FROM t ORDER BY id")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				n++
			}
			rows.Close()
			if n != 19 {
				t.Errorf("%d rows", n)
			}
		}
		if e := c.Explain("SELECT id, v FROM t ORDER BY id"); e.Cached {
			t.Errorf("an oversize answer is said to be kept: %+v", c.Stats())
		}
		conn, _ = db.Conn(t.Context())
		err = conn.Raw(func(dc any) error {
			inner, err := sqlcache.Raw(dc)
			if inner == nil || strings.Contains(reflect.TypeOf(inner).String(), "sqlcache") {
				t.Errorf("Raw gave %T", inner)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		conn.Close()
	})
}

// An answer beyond the caps is not read to its end, which may never come, before its caller sees a row. With the query
// not cancelled all but SQLite's drivers wait for a thousand billion rows.
func TestHugeIsNotDrained(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE n (i INT)", "INSERT INTO n VALUES (0)")
		for range 10 {
			must(t, b.plain(t), "INSERT INTO n SELECT i + 1 FROM n")
		}
		db, c := open(t, b, func(o *sqlcache.Options) { o.MaxRows, o.MaxConns = 10, 1 })
		q := "SELECT a.i FROM n a, n b, n c" // MySQL joins the first two before it gives a row
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		rows, err := db.QueryContext(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if !rows.Next() {
				t.Fatal("no row:", rows.Err())
			}
		}
		cancel()
		rows.Close()
		if e := c.Explain(q); e.Cached {
			t.Error(e)
		}
		serves(t, db, c, "SELECT count(*) FROM n")
	})
}
