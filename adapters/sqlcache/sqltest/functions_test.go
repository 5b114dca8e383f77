package sqltest

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"
)

// samples are what functions are called with, by the name of the type in PostgreSQL. They come from a table of one row, so that
// nothing is reckoned beforehand.
var samples = map[string]string{
	"int4": "i", "int8": "i::int8", "int2": "i::int2", "numeric": "n", "float8": "n::float8", "float4": "n::float4", "bool": "i = 1", "text": "s",
	"varchar": "s::varchar", "bpchar": "s::char(9)", "name": "s::name", "cstring": "'10'::cstring", "bytea": "s::bytea", "date": "at::date", "timestamp": "at::timestamp",
	"timestamptz": "at", "time": "at::time", "interval": "at - '2001-01-01'", "json": "to_json(s)", "jsonb": "to_jsonb(s)", "uuid": "md5(s)::uuid",
	"inet": "'10.0.0.1/8'::inet", "cidr": "'10.0.0.0/8'::cidr", "_int4": "ARRAY[i]", "_text": "ARRAY[s]", "point": "point(i, i)", "box": "box(point(i, i))",
	"polygon": "polygon(box(point(i, i)))", "money": "n::money", "bit": "B'101'", "varbit": "B'101'::varbit", "tsvector": "to_tsvector(s)", "tsquery": "plainto_tsquery(s)",
	"oid": "i::oid", "xml": "s::xml", "int4range": "int4range(i, 9)", "regclass": "'sample'::regclass", "regconfig": "'english'::regconfig", "jsonpath": "'$'::jsonpath",
	"anyelement": "at", "anynonarray": "at", "anyarray": "ARRAY[at]", "anyrange": "tstzrange(at, NULL)", "any": "at", "record": "sample", "xid": "'700'::xid",
	"anycompatible": "at", "anycompatiblearray": "ARRAY[at]", "anycompatiblerange": "tstzrange(at, NULL)", "_float8": "ARRAY[n::float8]",
}

// postgresCalls calls every function of the server's that can be given such arguments, each once.
func postgresCalls(t *testing.T, db *sql.DB) (calls []string) {
	rows, err := db.QueryContext(t.Context(), `SELECT quote_ident(p.proname), p.prokind::text, coalesce(a.aggkind::text, ''), coalesce(a.aggnumdirectargs, 0),
		coalesce((SELECT string_agg(t.typname, ' ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS u(o, n) JOIN pg_type t ON t.oid = u.o), '')
		FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind <> 'p' ORDER BY p.oid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
next:
	for rows.Next() {
		var name, kind, aggregate, types string
		var direct int
		if err := rows.Scan(&name, &kind, &aggregate, &direct, &types); err != nil {
			t.Fatal(err)
		}
		var args []string
		for _, typ := range strings.Fields(types) {
			if samples[typ] == "" {
				continue next
			}
			args = append(args, samples[typ])
		}
		call := name + "(" + strings.Join(args, ", ") + ")"
		switch {
		case kind == "w":
			call += " OVER (ORDER BY i)"
		case aggregate == "o" || aggregate == "h":
			call = name + "(" + strings.Join(args[:direct], ", ") + ") WITHIN GROUP (ORDER BY " + strings.Join(args[direct:], ", ") + ")"
		}
		calls = append(calls, "SELECT ("+call+")::text FROM sample")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

// plainly are arguments for servers that do not say what their functions take.
var plainly = []string{"", "i", "s", "at", "j", "g", "i, i", "s, s", "s, i", "i, s", "at, i", "at, s", "at, at", "s, '$'", "j, '$'", "j, j", "g, g", "n, i", "s, s, s", "s, i, i",
	"i, i, i", "at, INTERVAL 1 DAY", "at, '%Y-%m'", "DAY, i, at", "at, '+00:00', '+05:00'", "s, i, i, s", "s USING utf8mb4", "at AS CHAR", "s AS DATE", "DATE, 'EUR'"}

// namedCalls calls every function that the server knows by each of queries, in all ways of plainly.
func namedCalls(t *testing.T, db *sql.DB, queries ...string) (calls []string) {
	known := map[string]bool{}
	for _, q := range queries {
		rows, err := db.QueryContext(t.Context(), q)
		if err != nil {
			t.Logf("NOT ASKED: %s: %v", q, err)
			continue
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			if name = strings.ToLower(name); !known[name] && !strings.ContainsFunc(name, func(r rune) bool { return r != '_' && (r < '0' || r > '9' && r < 'a' || r > 'z') }) {
				known[name] = true
				for _, args := range plainly {
					calls = append(calls, "SELECT "+name+"("+args+") FROM sample")
				}
				calls = append(calls, "SELECT "+name+" FROM sample")
			}
		}
		rows.Close()
	}
	return calls
}

// Every function that a server knows is called, where that would be kept, in two sessions at two moments: the answers must be
// the same. In MySQL the second is in another year. Seen to fail with any of now, uuid, random and connection_id among those
// that are pure.
func TestFunctionsKept(t *testing.T) {
	const row = "INSERT INTO sample (i, n, s, at) VALUES (3, 1.5, '10', '2021-03-04 05:06:07')"
	setUp := map[string][]string{
		"postgres": {"CREATE TABLE sample (i INT, n NUMERIC, s TEXT, at TIMESTAMPTZ)", row},
		"mysql": {"CREATE TABLE sample (i INT, n DECIMAL(9, 3), s VARCHAR(20), at DATETIME, j JSON, g GEOMETRY)", row,
			"UPDATE sample SET j = '{\"a\": 1}', g = ST_GeomFromText('POINT(1 2)')"},
		"sqlite": {"CREATE TABLE sample (i INT, n REAL, s TEXT, at TEXT, j TEXT, g BLOB)", row},
	}
	bases(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		must(t, plain, setUp[b.dialect]...)
		var calls []string
		switch b.dialect {
		case "postgres":
			calls = postgresCalls(t, plain)
		case "mysql":
			calls = namedCalls(t, plain, "SELECT name FROM mysql.help_topic", "SELECT WORD FROM information_schema.KEYWORDS",
				"SELECT `FUNCTION` FROM information_schema.SQL_FUNCTIONS")
		default:
			calls = namedCalls(t, plain, "SELECT name FROM pragma_function_list", "SELECT name FROM pragma_module_list")
		}
		_, c := open(t, b)
		var kept []string
		for _, q := range calls {
			if c.Explain(q).Cached {
				kept = append(kept, q)
			}
		}
		session := func() *sql.Conn {
			conn, err := plain.Conn(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		first := session()
		at, answers := time.Now(), map[string]string{}
		for _, q := range kept {
			if said, ok := cell(first, q); ok {
				answers[q] = said
			}
		}
		time.Sleep(time.Until(at.Add(1100 * time.Millisecond))) // not to see the same second
		second := session()
		if b.dialect == "mysql" {
			must(t, second, "SET timestamp = 1000000000")
		}
		for q, was := range answers {
			if is, _ := cell(second, q); is != was {
				t.Errorf("%s is kept, and was %q, is %q", q, was, is)
			}
		}
		t.Logf("%d calls, of which %d are kept and %d have an answer", len(calls), len(kept), len(answers))
		if few := map[string]int{"postgres": 900, "mysql": 400, "sqlite": 100}[b.dialect]; len(answers) < few {
			t.Errorf("too few to prove anything: not %d", few)
		}
	})
}

// cell is the first of an answer; ok is false for an error.
func cell(conn *sql.Conn, query string) (_ string, ok bool) {
	var s sql.NullString
	err := conn.QueryRowContext(context.Background(), query).Scan(&s)
	return s.String, err == nil
}
