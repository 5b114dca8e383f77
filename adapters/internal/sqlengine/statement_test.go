package sqlengine

import (
	"slices"
	"strings"
	"testing"
)

// shop is a catalog like one that a database would give.
func shop(d Dialect) *catalog {
	in := &raw{scope: "s", relations: []rawRelation{
		{schema: "public", name: "users"}, {schema: "public", name: "orders"}, {schema: "public", name: "items"},
		{schema: "public", name: "log"}, {schema: "audit", name: "users"}, {schema: "public", name: "größe"},
		{schema: "public", name: "secret", unkept: "row-level security"},
		{schema: "public", name: "buyers", isView: true, view: " SELECT u.id FROM users u JOIN orders o ON o.uid = u.id"},
		{schema: "public", name: "recent", isView: true, view: " SELECT id FROM orders WHERE at > now()"},
		{schema: "public", name: "evil", isView: true, view: " SELECT mine(id) AS x FROM orders"},
		{schema: "public", name: "nested", isView: true, view: "select id from buyers"},
		{schema: "public", name: "odd", flushes: "a rule"}, {schema: "public", name: "old", atOnce: true},
	}, falls: []edge{{"public", "users", "public", "orders", allVerbs, allVerbs}, {"public", "orders", "public", "items", allVerbs, allVerbs}},
		triggers: []rawTrigger{
			{schema: "public", table: "items", body: "BEGIN INSERT INTO log (x) VALUES (NEW.id); RETURN NEW; END", on: allVerbs}},
		functions: []rawFunction{{name: "mine", purity: anything, own: true}, {name: "fullname", purity: anything, own: true, attribute: true}},
	}
	if d.Name() == "postgres" {
		in.functions = append(in.functions, rawFunction{name: "count"}, rawFunction{name: "lower"}, rawFunction{name: "now", purity: fickle},
			rawFunction{name: "set_config", purity: stateful}, rawFunction{name: "random", purity: fickle})
	}
	return newCatalog(d, in, &Options{})
}

// A case is a statement, the class it must have, and the tables it must read or write.
type sqlCase struct {
	sql    string
	class  class
	tables string // comma-separated; all must be among them
}

var everywhere = []sqlCase{
	{"SELECT * FROM users WHERE id = 1", reads, "public.users,audit.users"},
	{"select count(*) from Users", reads, "public.users"},
	{`SELECT "id" FROM "users"`, reads, "public.users"},
	{"-- a comment\nSELECT 1 FROM /* users */ orders", reads, "public.orders"},
	{"(SELECT id FROM users) UNION (SELECT id FROM orders)", reads, "public.users,public.orders"},
	{"WITH a AS (SELECT id FROM users), b (x) AS (SELECT id FROM a) SELECT * FROM b, orders", reads, "public.users,public.orders"},
	{"SELECT (SELECT max_id FROM items) FROM orders o, users u", reads, "public.items,public.orders,public.users"},
	{"SELECT id FROM buyers", reads, "public.users,public.orders"},
	{"SELECT id FROM nested", reads, "public.users,public.orders"},
	{"SELECT x FROM evil", flushes, "*"},
	{"SELECT * FROM secret", passes, ""},
	{"SELECT * FROM nowhere", passes, ""},
	{"SELECT * FROM users, nowhere", passes, ""},
	{"SELECT * FROM users JOIN nowhere USING (id)", passes, ""},
	{"SELECT 1", passes, ""},
	{"SELECT * FROM users FOR UPDATE", passes, ""},
	{"SELECT * FROM users WHERE at > current_timestamp", passes, ""},
	{"SELECT mine(id) FROM users", flushes, "*"},
	{"SELECT whatever(id) FROM users", flushes, "*"},
	{"SELECT * INTO copy FROM users", flushes, "*"},
	{"INSERT INTO log (x) VALUES (1)", writes, "public.log"},
	{"INSERT INTO users (id, name) SELECT id, name FROM orders", writes, "public.users,audit.users,public.orders,public.items,public.log"},
	{"UPDATE users SET name = 'x' WHERE id = 1", writes, "public.users,public.orders,public.items,public.log"},
	{"DELETE FROM orders WHERE id = 1", writes, "public.orders,public.items,public.log"},
	{"WITH gone AS (DELETE FROM log RETURNING id) SELECT * FROM gone", writes, "public.log"},
	{"INSERT INTO nowhere (users) VALUES (1)", flushes, "*"},
	{"UPDATE nowhere SET orders = 1", flushes, "*"},
	{"INSERT INTO log VALUES (mine(1))", flushes, "*"},
	{"DELETE FROM odd", flushes, "*"},
	{"UPDATE buyers SET id = 1", writes, "public.users,public.orders"},
	{"DELETE FROM log; DELETE FROM items", writes, "public.log,public.items"},
	{"DELETE FROM log; COMMIT", flushes, "*"},
	{"SELECT 1; SELECT * FROM users", passes, ""},
	{"TRUNCATE users", flushes, "*"},
	{"CREATE TABLE t (id int)", flushes, "*"},
	{"DROP TABLE users", flushes, "*"},
	{"CALL anything_at_all()", flushes, "*"},
	{"frobnicate users", flushes, "*"},
	{"SELECT 'a", flushes, "*"},
	{"SELECT 1 /* never ends", flushes, "*"},
	{"BEGIN", begins, ""}, {"COMMIT", commits, ""}, {"ROLLBACK", rollsBack, ""},
	{"SAVEPOINT a", savepoints, ""}, {"ROLLBACK TO SAVEPOINT a", savepoints, ""}, {"RELEASE SAVEPOINT a", savepoints, ""},
	{"BEGIN NOT ATOMIC SELECT 1", flushes, "*"},
	{"COMMIT AND CHAIN", commits, ""}, {"ROLLBACK AND CHAIN", rollsBack, ""}, {"COMMIT RELEASE", flushes, "*"},
	{"EXPLAIN ANALYZE DELETE FROM users", flushes, "*"},
	{"EXPLAIN DELETE FROM users", passes, ""},
	{"DESC ANALYZE SELECT made(1) FROM users", flushes, "*"},
	{"", passes, ""}, {";;", passes, ""},
	{`SELECT * FROM "größe"`, reads, "public.größe"},
	{`SELECT * FROM "GRÖSSE"`, passes, ""}, // how such names are folded is the server's business
	{`SELECT * FROM users WHERE "GRÖSSE" = 1`, reads, "public.users,public.größe"},
}

var only = map[string][]sqlCase{
	"postgres": {
		{"SELECT E'\\'' FROM users", reads, "public.users"},
		{"SELECT 'a\\' FROM users --'", flushes, "*"}, // two readings
		{"SELECT $$ it's $$, $1 FROM users", reads, "public.users"},
		{"SELECT $x$ $$ $x$ FROM users", reads, "public.users"},
		{"SELECT /* /* nested */ users */ 1 FROM orders", reads, "public.orders"},
		{"SELECT U&\"us\\0065rs\" FROM users", flushes, "*"},
		{"SELECT id FROM recent", passes, ""},
		{"SELECT date 'today' FROM users", passes, ""},
		{"SELECT u.fullname FROM users u", flushes, "*"},
		{"SELECT set_config('a', 'b', false) FROM users", passes, ""},
		{"SELECT extract(year FROM at) FROM users", reads, "public.users"},
		{"SELECT id FROM users WHERE a IS NOT DISTINCT FROM b", reads, "public.users"},
		{"SELECT * FROM users FOR NO KEY UPDATE", passes, ""},
		{"SELECT * FROM users TABLESAMPLE system (1)", passes, ""},
		{"TABLE users", reads, "public.users"}, {"TABLE nowhere", passes, ""},
		{"INSERT INTO log (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = excluded.x", writes, "public.log"},
		{"MERGE INTO log USING items ON true WHEN MATCHED THEN UPDATE SET x = 1", writes, "public.log,public.items"},
		{"COPY users FROM STDIN", flushes, "*"}, {"DO $$ begin end $$", flushes, "*"},
		{"SELECT " + strings.Repeat("x", 64) + " FROM users", flushes, "*"},
		{"SET search_path = x", passes, ""},
		{"WAIT FOR LSN '0/1' WITH (MODE 'primary_flush', TIMEOUT 10)", passes, ""},
		{"SELECT * FROM users AS u(a, b)", reads, "public.users"},
		{"LOCK TABLE users IN SHARE MODE", passes, ""}, {"NOTIFY users, 'x'", passes, ""}, {"VACUUM (ANALYZE) users", passes, ""},
		{"DECLARE c NO SCROLL CURSOR WITH HOLD FOR (SELECT * FROM users)", passes, ""}, {"FETCH 2 FROM c", passes, ""},
		{`DECLARE "for" CURSOR FOR SELECT mine(id) FROM users`, flushes, "*"}, {"DECLARE c CURSOR FOR EXECUTE p", flushes, "*"},
		{"DECLARE c CURSOR FOR", flushes, "*"}, {"DECLARE", flushes, "*"},
		{"DECLARE c CURSOR FOR WITH gone AS (DELETE FROM log RETURNING id) SELECT * FROM gone", writes, "public.log"},
		{"FETCH 2 FROM c; DELETE FROM log", writes, "public.log"},
	},
	"mysql": {
		{"SELECT * FROM `users`", reads, "public.users"},
		{"SELECT * FROM users # orders", reads, "public.users"},
		{"SELECT * FROM $new", passes, ""}, {"SELECT $x, users.id FROM users", reads, "public.users"},
		{"SELECT SQL_CALC_FOUND_ROWS * FROM users LIMIT 1", passes, ""},
		{"SELECT 1--1 FROM users", reads, "public.users"},
		{"SELECT /*! SQL_NO_CACHE */ * FROM users", flushes, "*"},
		{"SELECT /*M! 1 */ * FROM users", flushes, "*"},
		{"SELECT 'it\\'s' FROM users", flushes, "*"}, {`SELECT 'C:\\dir\\' FROM users WHERE a = ' FROM orders '`, reads, "public.users"},
		{`SELECT 'C:\\dir\\\' FROM users`, flushes, "*"},
		{"SELECT @x FROM users", passes, ""}, {"SELECT @x := 1 FROM users", passes, ""},
		{"SELECT * FROM users LOCK IN SHARE MODE", passes, ""},
		{"SELECT * FROM users INTO OUTFILE 'x'", flushes, "*"},
		{"INSERT log VALUES (1)", writes, "public.log"}, {"INSERT nowhere VALUES (1)", flushes, "*"},
		{"REPLACE INTO log VALUES (1)", writes, "public.log"}, {"REPLACE LOW_PRIORITY log VALUES (1)", writes, "public.log"},
		{"SELECT REPLACE(name, 'a', 'b') FROM users", reads, "public.users"},
		{"SELECT GET_LOCK('a', 1) FROM users", passes, ""}, {"SELECT NOW() FROM users", passes, ""},
		{"INSERT INTO log (x) VALUES (1) ON DUPLICATE KEY UPDATE x = VALUES(x)", writes, "public.log"},
		{"DELETE a FROM log a JOIN items b ON a.x = b.id", writes, "public.log,public.items"},
		{"SELECT CONVERT(name USING utf8mb4) FROM users", reads, "public.users"},
		{"SET STATEMENT x=1 FOR DELETE FROM users", flushes, "*"}, {"LOCK TABLES users READ", flushes, "*"}, {"ANALYZE TABLE users", flushes, "*"},
		{"START TRANSACTION WITH CONSISTENT SNAPSHOT", begins, ""},
		{"SET autocommit = 0", flushes, "*"}, {"SET @@autocommit=1", flushes, "*"}, {"SET x = 1, @@session.autocommit = 1", flushes, "*"},
	},
	"sqlite": {
		{"SELECT datetime('now'), id FROM users", passes, ""}, {"SELECT time('now') FROM users", passes, ""},
		{"SELECT id FROM users WHERE at < datetime()", passes, ""}, {"SELECT id FROM users WHERE at < DateTime ('now', '-1 day')", passes, ""},
		{"SELECT year(at) FROM users", flushes, "*"}, {"SELECT text(id) FROM users", flushes, "*"},
		{"SELECT CAST(id AS varchar(10)), replace(a, 'x', 'y'), json(b) FROM users WHERE a LIKE ('x') AND NOT (b) IN (1)", reads, "public.users"},
		{"SELECT * FROM [users]", reads, "public.users"}, {"SELECT * FROM `users`", reads, "public.users"},
		{"SELECT * FROM 'users'", reads, "public.users"},
		{"SELECT * FROM users WHERE id = :id AND a = @b AND c = $d", reads, "public.users"},
		{"SELECT date('now') FROM users", passes, ""},
		{"INSERT OR REPLACE INTO log VALUES (1)", writes, "public.log"},
		{"WITH a AS (SELECT 1) REPLACE INTO log SELECT * FROM a", writes, "public.log"},
		{"PRAGMA table_info(users)", passes, ""}, {"PRAGMA writable_schema = 1", flushes, "*"},
		{"ATTACH 'x' AS y", flushes, "*"}, {"VACUUM", flushes, "*"},
		{"BEGIN IMMEDIATE", begins, ""}, {"END TRANSACTION", commits, ""},
	},
}

func TestStatements(t *testing.T) {
	for _, d := range []Dialect{Postgres(), MySQL(), SQLite()} {
		cat := shop(d)
		for _, c := range slices.Concat(everywhere, only[d.Name()]) {
			st := cat.analyse(c.sql)
			if st.class != c.class {
				t.Errorf("%s: %q is class %d (%s), want %d", d.Name(), c.sql, st.class, st.why, c.class)
				continue
			}
			have := st.tables
			if st.class >= writes {
				have = st.written
			}
			for want := range strings.SplitSeq(c.tables, ",") {
				if want != "" && !slices.Contains(have, want) {
					t.Errorf("%s: %q has %v, not %s", d.Name(), c.sql, have, want)
				}
			}
		}
	}
}

// A connection to SQLite is closed after what changes it for others, and kept with what only whoever did it counts on.
func TestChangesOfSession(t *testing.T) {
	cat := shop(SQLite())
	for sql, want := range map[string]struct{ taints, stays bool }{
		"PRAGMA foreign_keys = OFF": {stays: true}, "PRAGMA main.busy_timeout(100)": {stays: true}, "PRAGMA foreign_keys": {},
		"PRAGMA case_sensitive_like = 1": {taints: true}, "PRAGMA table_info(foreign_keys)": {},
		"PRAGMA recursive_triggers = 1; PRAGMA foreign_keys = 0": {taints: true, stays: true},
		"CREATE TABLE t (id INT); PRAGMA foreign_keys = 0":       {stays: true},
		"CREATE TABLE t (id INT)":                                {}, "DROP TABLE users": {}, "INSERT INTO nowhere(id) VALUES (1)": {}, "VACUUM": {},
		"CREATE TEMP TABLE t (id INT)": {taints: true}, "CREATE TABLE temp.t (id INT)": {taints: true}, `CREATE TRIGGER "temp".t AFTER INSERT ON users BEGIN SELECT 1; END`: {taints: true},
		"CREATE VIRTUAL TABLE t USING x": {taints: true}, "ATTACH 'x' AS y": {taints: true}, "SELECT load_extension('x')": {taints: true}, "frobnicate": {taints: true},
	} {
		if st := cat.analyse(sql); st.taints != want.taints || st.stays != want.stays {
			t.Errorf("%q: taints %t, stays %t (%s)", sql, st.taints, st.stays, st.why)
		}
	}
}

// What is called a pure read must stay one, and lose no table, when white space and comments are put between its tokens.
func FuzzLex(f *testing.F) {
	for _, list := range only {
		for _, c := range list {
			f.Add(c.sql)
		}
	}
	for _, c := range everywhere {
		f.Add(c.sql)
	}
	cats := []*catalog{shop(Postgres()), shop(MySQL()), shop(SQLite())}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, cat := range cats {
			tokens, doubt := lex(sql, cat.dialect.syntax())
			st := cat.analyse(sql)
			if doubt != "" && st.class != flushes {
				t.Fatalf("%s: doubt (%s) and class %d", cat.dialect.Name(), doubt, st.class)
			}
			if st.class == reads && len(st.tables) == 0 {
				t.Fatalf("%s: kept without a table", cat.dialect.Name())
			}
			for _, tok := range tokens {
				if st.class == reads && tok.is("delete") {
					t.Fatalf("%s: %q is a read", cat.dialect.Name(), sql)
				}
			}
			again := cat.analyse(" /* x */ " + sql + "\n")
			if doubt == "" && again.class != st.class {
				t.Fatalf("%s: %q is class %d, with a comment before it %d", cat.dialect.Name(), sql, st.class, again.class)
			}
		}
	})
}

func TestOptionsTables(t *testing.T) {
	in := &raw{relations: []rawRelation{{schema: "main", name: "a"}, {schema: "main", name: "b"}}}
	cat := newCatalog(SQLite(), in, &Options{Tables: []string{"A"}})
	if st := cat.analyse("SELECT 1 FROM a"); st.class != reads {
		t.Error(st.why)
	}
	if st := cat.analyse("SELECT 1 FROM a, b"); st.class != passes {
		t.Error("a table that was not declared is kept")
	}
	if st := cat.analyse("DELETE FROM b"); st.class != writes {
		t.Error("a write to a table that is not declared must be told all the same")
	}
}
