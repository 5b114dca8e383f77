package sqltest

import (
	"database/sql/driver"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// What answers otherwise though no table that it names was written is not kept. Each was, before scan or the catalog knew of
// it.
func TestKeptAnswersRepeat(t *testing.T) {
	const table, row = "CREATE TABLE it (id INT PRIMARY KEY, v INT)", "INSERT INTO it VALUES (1, 1)"
	const later, oracle = "SET timestamp = 1000000000", "SET sql_mode = 'ORACLE'"
	for _, c := range []struct {
		name, dialect, product string
		setUp                  []string
		query, between         string // between is by the same session
	}{
		{"a call behind DISTINCT ON", "postgres", "", []string{table, row}, "SELECT DISTINCT ON (id) random() FROM it", "SELECT 1"},
		{"a call behind an operator's full name", "postgres", "", []string{table, row}, "SELECT 1 OPERATOR(pg_catalog.+) random() FROM it", "SELECT 1"},
		{"such a call in a join", "postgres", "", []string{table, row, "CREATE TABLE many AS SELECT generate_series(1, 999) / 999.0 AS n"},
			"SELECT count(*) FROM it JOIN many ON (n) OPERATOR(pg_catalog.<) random()", "SELECT 1"},
		{"who locked the row last", "postgres", "", []string{table, row, "CREATE TABLE owned (it INT REFERENCES it)"}, "SELECT xmax FROM it", "INSERT INTO owned VALUES (1)"},
		{"the name of a schema", "postgres", "", []string{"CREATE TABLE it (o OID)", "CREATE SCHEMA a", "INSERT INTO it SELECT oid FROM pg_namespace WHERE nspname = 'a'"},
			"SELECT o::regnamespace::text FROM it", "ALTER SCHEMA a RENAME TO b"},
		{"a column of names of roles", "postgres", "", []string{"CREATE DOMAIN who AS REGROLE", "CREATE TABLE owned (by REGROLE, others who[])", "DROP ROLE IF EXISTS renamed", "DROP ROLE IF EXISTS named",
			"CREATE ROLE named", "CREATE VIEW it AS SELECT by::text AS by, others::text AS others FROM owned", "INSERT INTO owned VALUES ('named', '{named}')"}, "SELECT * FROM it", "ALTER ROLE named RENAME TO renamed"},
		{"the name of a database", "postgres", "", []string{"CREATE TABLE it (o OID)", "DROP DATABASE IF EXISTS a", "DROP DATABASE IF EXISTS b", "CREATE DATABASE a",
			"INSERT INTO it SELECT oid FROM pg_database WHERE datname = 'a'"}, "SELECT o::regdatabase::text FROM it", "ALTER DATABASE a RENAME TO b"},
		{"a view of the server's before a table", "postgres", "", []string{"CREATE TABLE tables (n INT)", "SET search_path = information_schema, public"},
			"SELECT count(*) FROM tables", "CREATE TABLE public.more (n INT)"},
		{"a computed column", "mysql", "mariadb", []string{"CREATE TABLE it (id INT, born DATE, age INT AS (TIMESTAMPDIFF(YEAR, born, CURDATE())) VIRTUAL)",
			"INSERT INTO it (id, born) VALUES (1, '1990-01-01')"}, "SELECT age FROM it", later},
		{"a default", "mysql", "mariadb", []string{"CREATE TABLE it (at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)", "INSERT INTO it VALUES (NULL)"}, "SELECT DEFAULT(at) FROM it", later},
		{"a join in brackets", "mysql", "", []string{table, row, "CREATE TEMPORARY TABLE mine (n INT)"}, "SELECT count(*) FROM (it, mine)", "INSERT INTO mine VALUES (1)"},
		{"a function of a package", "mysql", "mariadb", []string{table, row, oracle, "CREATE PACKAGE pk AS FUNCTION lower(x INT) RETURN DOUBLE; END",
			"CREATE PACKAGE BODY pk AS FUNCTION lower(x INT) RETURN DOUBLE AS BEGIN RETURN RAND(); END; END"}, "SELECT pk.lower(id) FROM it", "DO 0"},
		{"SYSDATE without brackets", "mysql", "mariadb", []string{table, row, oracle}, "SELECT SYSDATE FROM it", "DO SLEEP(1.1)"},
		{"how many rows were written", "mysql", "mariadb", []string{table, row, "CREATE TABLE other AS SELECT 1 AS n UNION SELECT 2", oracle},
			"SELECT SQL%ROWCOUNT FROM it", "UPDATE other SET n = n + 1"},
		{"IN a table", "sqlite", "", []string{table, row, "CREATE TEMP TABLE mine (n)"}, "SELECT count(*) FROM it WHERE id NOT IN mine", "INSERT INTO mine VALUES (1)"},
		{"a join in brackets", "sqlite", "", []string{table, row, "CREATE TEMP TABLE mine (n)"}, "SELECT count(*) FROM (it, mine)", "INSERT INTO mine VALUES (1)"},
	} {
		t.Run(c.dialect+"/"+c.name, func(t *testing.T) {
			b := newBase(t, c.dialect)
			if c.product != "" && b.product(t) != c.product {
				t.Logf("NOT RUN: only %s has it", c.product)
				return
			}
			session := b.plain(t)
			session.SetMaxOpenConns(1)
			must(t, session, c.setUp...)
			if strings.Contains(strings.Join(c.setUp, ";"), "search_path") {
				b.dsn += "&search_path=information_schema,public"
			}
			_, oc := open(t, b)
			if x := oc.Explain(c.query); x.Cached {
				t.Errorf("%s: %v", c.query, x)
			}
			before := lines(t, session, c.query)
			if strings.Contains(before, `type "regdatabase" does not exist`) {
				t.Logf("NOT RUN: before PostgreSQL 19: %s", before)
				return
			}
			if strings.Contains(strings.ToLower(before), "error") {
				t.Fatal(before)
			}
			must(t, session, c.between)
			if after := lines(t, session, c.query); after == before {
				t.Errorf("%s is %q before and after %s: this shows nothing", c.query, before, c.between)
			}
		})
	}
}

// Tables of attached databases are others' as well, by other names: what is read of them is not kept, and their own stay
// those of the same database. Seen to fail with the catalog's relations and scope as if there were one file.
func TestAttached(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE it (id INT)", "CREATE TABLE mine (id INT)", "INSERT INTO mine VALUES (1)")
	file := filepath.Join(t.TempDir(), "aside.db")
	aside := base{dialect: "sqlite", dsn: "file:" + file}
	must(t, aside.plain(t), "CREATE TABLE it (id INT)")
	attach := "ATTACH '" + file + "' AS aside"
	by := &atomic.Pointer[string]{}
	by.Store(&attach)
	db, c := openWith(t, redisServer.Client(t), swayed{b.connector(t), by}, guard.Plan{})
	if x := c.Explain("SELECT id FROM aside.it"); x.Cached {
		t.Error(x)
	}
	serves(t, db, c, "SELECT id FROM mine")
	_, alone := open(t, b)
	names, err := c.Names(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	if others, err := alone.Names(t.Context(), "mine"); err != nil || others[0] != names[0] {
		t.Errorf("%v with another database attached, %v without: %v", names, others, err)
	}
}

// A program may put a function of its own in the place of SQLite's. Seen to fail without a look at pragma_function_list.
func TestFunctionReplaced(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE it (v TEXT)", "INSERT INTO it VALUES ('a')")
	calls := atomic.Int64{}
	own := &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		return conn.RegisterFunc("lower", func(string) int64 { return calls.Add(1) }, false)
	}}
	b.open = func(dsn string) (driver.Connector, error) { return plainConnector{own, dsn}, nil }
	db, c := open(t, b)
	if n := hits(c, func() {
		for range 3 {
			one[int64](t, db, "SELECT lower(v) FROM it")
		}
	}); n != 0 {
		t.Errorf("%d answers from memory: %v", n, c.Explain("SELECT lower(v) FROM it"))
	}
	if x := c.Explain("SELECT upper(v) FROM it"); !x.Cached {
		t.Error(x)
	}
}

// A session whose answers are cut off cannot read the catalog. Without a look at sql_select_limit tables, triggers and foreign
// keys beyond it were unknown, and with 0 there was a panic.
func TestCatalogCutOff(t *testing.T) {
	for _, limit := range []string{"0", "3"} {
		b := newBase(t, "mysql")
		must(t, b.plain(t), "CREATE TABLE it (id INT)")
		b.dsn += "&sql_select_limit=" + limit
		refuses(t, b, "sql_select_limit")
	}
	b := newBase(t, "mysql")
	b.dsn += "&sql_auto_is_null=1"
	refuses(t, b, "sql_auto_is_null")
}

// refuses checks that no connector can be made on b, and that the error says why.
func refuses(t *testing.T, b base, why string) {
	t.Helper()
	db, _, tr, err := connect(t.Context(), redisServer.Client(t), b.connector(t), sqlcache.Options{})
	if err == nil {
		db.Close()
		tr.Close()
	}
	if !errors.Is(err, sqlcache.ErrUnfit) || !strings.Contains(err.Error(), why) {
		t.Errorf("%v, which is no word of %s", err, why)
	}
}

// Where the second byte of a letter may be a quote or a backslash, a text says to the server what it does not say here: such
// sessions are refused. Without that the answers of these were kept.
func TestLettersHideQuotes(t *testing.T) {
	for _, c := range []struct{ dialect, option, query, why string }{
		{"mysql", "&charset=gbk", "SELECT 1 AS \x81`, RAND(), 2 AS \x81` FROM it", "character_set_client"},
		{"postgres", "&client_encoding=SJIS", "SELECT E'\x95\\', random(), ' FROM it --' FROM it", "client_encoding"},
	} {
		b := newBase(t, c.dialect)
		must(t, b.plain(t), "CREATE TABLE it (v INT)", "INSERT INTO it VALUES (1)")
		b.dsn += c.option
		session := b.plain(t)
		first := lines(t, session, c.query)
		if second := lines(t, session, c.query); second == first {
			t.Errorf("%q is %q twice: this shows nothing", c.query, first)
		}
		refuses(t, b, c.why)
	}
}
