package sqlengine

import (
	"slices"
	"strings"
	"testing"
)

// blog has foreign keys and triggers that follow some writes and not others.
func blog(d Dialect) *catalog {
	key := rowKey{"id", integers}
	in := &raw{scope: "s", relations: []rawRelation{
		{schema: "b", name: "users", key: key, referred: []string{"id", "Email"}}, {schema: "b", name: "posts", key: key},
		{schema: "b", name: "mails", key: key}, {schema: "b", name: "comments", key: key, referred: []string{"id"}},
		{schema: "b", name: "counts", key: key}, {schema: "b", name: "kept", key: key}, {schema: "b", name: "lists", key: key, mixes: true},
		{schema: "b", name: "odd", key: key, referred: []string{"größe"}}, {schema: "b", name: "people", isView: true, view: "SELECT * FROM users"},
		{schema: "b", name: "stamped", key: key, referred: []string{"id"}}, {schema: "b", name: "stamps", key: key},
		{schema: "b", name: "ledger", key: key},
		{schema: "b", name: "root", key: key}, {schema: "b", name: "leaf", key: key}, {schema: "b", name: "leaf2", key: key},
	}, triggers: []rawTrigger{
		{schema: "b", table: "ledger", on: updates, body: "BEGIN DELETE FROM kept; END"},
		{schema: "b", table: "posts", on: deletes, body: "BEGIN UPDATE counts SET n = n - 1; END"},
		{schema: "b", table: "kept", on: deletes, opaque: "in c"},
		{schema: "b", table: "kept", on: inserts, body: "BEGIN UPDATE kept SET n = 1 WHERE id = 1; END"},
		{schema: "b", table: "stamped", on: updates, alters: true, body: "BEGIN NEW.id = 7; END"},
	}}
	in.functions = []rawFunction{{name: "replace"}}
	in.falls = slices.Concat(
		foreignKey("b", "users", "b", "posts", "CASCADE", "cascade"),
		foreignKey("b", "users", "b", "mails", "SET DEFAULT", "SET NULL"),
		foreignKey("b", "users", "b", "kept", "RESTRICT", "NO ACTION"),
		foreignKey("b", "comments", "b", "comments", "", "CASCADE"),
		foreignKey("b", "odd", "b", "mails", "CASCADE", ""),
		foreignKey("b", "stamped", "b", "stamps", "CASCADE", ""))
	for _, leaf := range []string{"leaf", "leaf2"} {
		in.falls = append(in.falls, edge{"b", "root", "b", leaf, allVerbs | truncates, allVerbs | truncates},
			edge{"b", leaf, "b", "root", allVerbs | truncates, allVerbs | truncates | seen})
	}
	return newCatalog(d, in, &Options{})
}

// A write reaches what the database changes after one of its kind, and nothing else. In want a star after a table is the
// whole of it, else it is rows of it.
func TestReach(t *testing.T) {
	for sql, want := range map[string]string{
		"INSERT INTO users (id) VALUES (7)":                                  "users",
		"UPDATE users SET name = 'x' WHERE id = 7":                           "users",
		"UPDATE users AS u SET (name, age) = ('x', 1) WHERE u.id = 7":        "users",
		"UPDATE users SET name = (name || 'x') RETURNING id":                 "users* mails* posts*",
		"UPDATE users SET id = 8 WHERE id = 7":                               "users mails* posts*",
		"UPDATE users SET name = 'x', EMAIL = 'y' WHERE id = 7":              "users mails* posts*",
		`UPDATE users SET "email" = 'y' WHERE id = 7`:                        "users mails* posts*",
		"UPDATE users SET returning = 1, id = 2":                             "users* mails* posts*",
		"UPDATE users SET name = 'x', age = 1":                               "users*",
		"UPDATE users SET b = c IS DISTINCT FROM d, id = 2":                  "users* mails* posts*",
		"UPDATE users SET name = email":                                      "users* mails* posts*", // more than it does
		"UPDATE users SET rowid = 8 WHERE id = 7":                            "users mails* posts*",
		"UPDATE users SET größe = 1 WHERE id = 7":                            "users mails* posts*",
		"UPDATE people SET name = 'x' WHERE id = 7":                          "users* counts* mails* posts*",
		"UPDATE ONLY users SET name = 'x' WHERE id = 7":                      "users* mails* posts*",
		"DELETE FROM users WHERE id = 7":                                     "users counts* mails* posts*",
		"INSERT INTO users (id) VALUES (7) ON CONFLICT DO NOTHING":           "users",
		"INSERT INTO users VALUES (7) ON CONFLICT (id) DO SELECT FOR UPDATE": "users",
		"INSERT INTO users VALUES (7) ON DUPLICATE KEY UPDATE id = 7":        "users* mails* posts*",
		"DELETE FROM ledger WHERE id IN (SELECT 7 FOR UPDATE)":               "ledger*",
		"DELETE FROM ledger WHERE id IN (SELECT 7 FOR NO KEY UPDATE)":        "ledger*",
		"INSERT INTO users (id) VALUES (7) ON CONFLICT DO UPDATE SET id = 7": "users* mails* posts*",
		"REPLACE INTO users (id) VALUES (7)":                                 "users* counts* mails* posts*",
		"UPDATE OR REPLACE users SET name = 'x' WHERE id = 7":                "users* counts* mails* posts*",
		"UPDATE users SET name = replace(name, 'a', 'b') WHERE id = 7":       "users",
		"UPDATE users FOR PORTION OF p FROM 1 TO 2 SET name = 'x'":           "** #catalog*",
		"MERGE INTO users USING posts ON true WHEN MATCHED THEN DELETE":      "users* counts* mails* posts*",
		"WITH a AS (DELETE FROM users) UPDATE users SET name = 'x'":          "users* counts* mails* posts*",
		"INSERT INTO posts (id) VALUES (7)":                                  "posts",
		"UPDATE posts SET id = 8 WHERE id = 7":                               "posts",
		"DELETE FROM posts WHERE id = 7":                                     "posts counts*",
		"UPDATE comments SET id = 8 WHERE id = 7":                            "comments",
		"DELETE FROM comments WHERE id = 7":                                  "comments*",
		"INSERT INTO kept (id) VALUES (7)":                                   "kept*",
		"UPDATE kept SET n = 1 WHERE id = 7":                                 "kept",
		"DELETE FROM kept WHERE id = 7":                                      "** #catalog*",
		"UPDATE ledger SET n = 1 WHERE id = 7":                               "** #catalog*",
		"INSERT INTO lists (id) VALUES (7)":                                  "lists*",
		"UPDATE odd SET name = 'x' WHERE id = 7":                             "odd mails*",
		"UPDATE stamped SET name = 'x' WHERE id = 7":                         "stamped stamps*",
	} {
		cat := blog(Postgres())
		st := cat.analyse(sql)
		st = st.About(st.Rows(0, nil))
		if got, wanted := asWritten(st.written), sorted(want); !slices.Equal(got, wanted) {
			t.Errorf("%s\nreaches %q, want %q", sql, got, wanted)
		}
	}
}

// What a trigger's definition says of when it runs.
func TestTriggerEvents(t *testing.T) {
	for tgtype, want := range map[string]verbs{"5": inserts, "9": deletes, "17": updates, "21": inserts | updates, "33": truncates, "29": allVerbs} {
		if on, alters := postgresTrigger(tgtype); on != want || alters {
			t.Errorf("%s runs on %b, %t", tgtype, on, alters)
		}
	}
	if _, alters := postgresTrigger("19"); !alters {
		t.Error("BEFORE UPDATE cannot alter")
	}
	for sql, want := range map[string]verbs{
		"CREATE TRIGGER x AFTER DELETE ON t BEGIN INSERT INTO a VALUES (1); END":                       deletes,
		`CREATE TEMP TRIGGER IF NOT EXISTS main."insert" UPDATE OF a, b ON t BEGIN DELETE FROM a; END`: updates,
		"CREATE TRIGGER [update] INSTEAD OF INSERT ON v BEGIN SELECT 1; END":                           inserts,
		"CREATE TRIGGER 'delete' /* delete */ BEFORE INSERT ON v BEGIN SELECT 1; END":                  inserts,
		"CREATE TRIGGER x":         allVerbs,
		"CREATE TRIGGER x 'insert": allVerbs,
	} {
		if got := sqliteEvent(sql); got != want {
			t.Errorf("%s runs on %b, want %b", sql, got, want)
		}
	}
}

// MySQL's REPLACE takes away and adds, and leaves alone what follows an update; who does not know the statement reckons
// with OR REPLACE in SQLite, where it goes for triggers too, and nowhere else. (Seen to fail with each taken for allVerbs and
// overrides.)
func TestReplaceVerbs(t *testing.T) {
	for _, c := range []struct {
		dialect        Dialect
		replace, blind verbs
	}{
		{Postgres(), inserts | deletes, allVerbs}, {MySQL(), inserts | deletes, allVerbs},
		{SQLite(), allVerbs | overrides, allVerbs | overrides},
	} {
		cat := blog(c.dialect)
		tokens, _ := lex("REPLACE INTO ledger (id) VALUES (7)", c.dialect.syntax())
		if got := cat.verbs(tokens, nil); got != c.replace {
			t.Errorf("in %s REPLACE is %b, want %b", c.dialect.Name(), got, c.replace)
		}
		if got := cat.blind(allVerbs); got != c.blind {
			t.Errorf("in %s what is not known is %b, want %b", c.dialect.Name(), got, c.blind)
		}
	}
}

// What a log tells of a table's rows falls on these rows, and beside them on what a change of its kind may reach and nobody
// tells of. (Seen to fail with each case in heard and does taken out.)
func TestHeard(t *testing.T) {
	of := func(tables ...string) Told {
		return Told{Of: func(_, table string) bool { return slices.Contains(tables, table) }}
	}
	kept := map[string]bool{"id": true, "email": true}
	for _, c := range []struct {
		table string
		c     Change
		told  Told
		want  string
	}{
		{"users", Change{Inserted: true}, Told{}, "users"},
		{"users", Change{Updated: true, Kept: kept}, Told{}, "users"},
		{"users", Change{Updated: true, Kept: kept, Whole: true}, Told{}, "users*"},
		{"users", Change{Updated: true, Kept: map[string]bool{"id": true}}, Told{}, "users mails* posts*"},
		{"users", Change{Updated: true, Kept: map[string]bool{"id": false, "email": true}}, Told{}, "users mails* posts*"},
		{"users", Change{Updated: true}, of("users", "posts"), "users mails*"},
		{"users", Change{Deleted: true}, Told{}, "users counts* mails* posts*"},
		{"users", Change{Deleted: true}, of("users", "posts", "mails"), "users counts*"},
		{"users", Change{Deleted: true}, of("users", "counts", "posts", "mails"), "users"},
		{"users", Change{Truncated: true, Whole: true}, of("users", "counts", "posts", "mails"), "** #catalog* kept* users*"},
		{"posts", Change{Deleted: true, Keys: []any{int64(1)}}, of("counts"), "posts"},
		{"comments", Change{Deleted: true}, Told{}, "comments*"},
		{"comments", Change{Deleted: true}, of("comments"), "comments"},
		{"kept", Change{Deleted: true}, of("kept"), "** #catalog* kept"},
		{"kept", Change{Deleted: true}, Told{Of: of("kept").Of, All: true}, "#catalog* kept"},
		{"leaf", Change{Inserted: true}, of("leaf", "root", "leaf2"), "leaf* root*"},
		{"leaf", Change{Inserted: true}, of("leaf", "root"), "leaf* root* leaf2*"},
		{"root", Change{Inserted: true, Whole: true}, of("leaf", "root", "leaf2"), "root*"},
		{"root", Change{Inserted: true, Whole: true}, of("root"), "leaf* leaf2* root*"},
	} {
		cat := blog(Postgres())
		if got, want := asWritten(cat.heard(cat.exactly("b", c.table), c.c, c.told)), sorted(c.want); !slices.Equal(got, want) {
			t.Errorf("%s %+v\nfalls on %q, want %q", c.table, c.c, got, want)
		}
	}
	if blog(Postgres()).exactly("b", "Users") != nil {
		t.Error("another table was taken for it")
	}
}

// asWritten are items for people: a star after a table is the whole of it, else it is rows of it.
func asWritten(items []string) (said []string) {
	for _, it := range items {
		switch table, row, single := strings.Cut(strings.TrimPrefix(it, "b."), rowMark); {
		case !single:
			said = append(said, table+"*")
		case row == "":
			said = append(said, table)
		}
	}
	slices.Sort(said)
	return said
}

func sorted(words string) []string {
	w := strings.Fields(words)
	slices.Sort(w)
	return w
}
