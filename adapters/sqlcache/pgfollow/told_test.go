package pgfollow

import (
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/invalidate"
)

// family: what refers to a parent by each kind of rule, and what triggers write.
var family = []string{
	"CREATE TABLE parent (id INT PRIMARY KEY, code INT UNIQUE, v INT)",
	"CREATE TABLE goes (id INT PRIMARY KEY, p INT REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)",
	"CREATE TABLE leaves (id INT PRIMARY KEY, p INT REFERENCES parent ON DELETE SET NULL)",
	"CREATE TABLE follows (id INT PRIMARY KEY, c INT REFERENCES parent (code) ON UPDATE CASCADE ON DELETE CASCADE)",
	"CREATE TABLE holds (id INT PRIMARY KEY, p INT REFERENCES goes DEFERRABLE INITIALLY DEFERRED)",
	"CREATE TABLE job (id INT PRIMARY KEY, v INT)",
	"CREATE TABLE note (id INT PRIMARY KEY, v INT)",
	"CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE note SET v = NEW.v WHERE id = NEW.id; RETURN NEW; END'",
	"CREATE TRIGGER notes AFTER UPDATE ON job FOR EACH ROW EXECUTE FUNCTION notes()",
	"CREATE TABLE odd (id INT PRIMARY KEY, v INT)",
	"CREATE FUNCTION oddly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE ''UPDATE note SET v = 77 WHERE id = 1''; RETURN NEW; END'",
	"CREATE TRIGGER oddly AFTER UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION oddly()",
	"INSERT INTO parent SELECT n, n, n FROM generate_series(1, 3) n", "INSERT INTO goes SELECT id, id FROM parent",
	"INSERT INTO leaves SELECT id, id FROM parent", "INSERT INTO follows SELECT id, code FROM parent",
	"INSERT INTO job SELECT id, v FROM parent", "INSERT INTO note SELECT id, v FROM parent", "INSERT INTO odd SELECT id, v FROM parent",
}

var tree = []string{"CREATE TABLE tree (id INT PRIMARY KEY, up INT REFERENCES tree ON DELETE SET NULL)",
	"INSERT INTO tree VALUES (1, NULL), (2, 1), (3, NULL)"}

const (
	parent1, parent2   = "SELECT code, v FROM parent WHERE id = 1", "SELECT code, v FROM parent WHERE id = 2"
	goes1, goes2       = "SELECT p FROM goes WHERE id = 1", "SELECT p FROM goes WHERE id = 2"
	leaves1, leaves2   = "SELECT p FROM leaves WHERE id = 1", "SELECT p FROM leaves WHERE id = 2"
	follows1, follows2 = "SELECT c FROM follows WHERE id = 1", "SELECT c FROM follows WHERE id = 2"
	note1, note2       = "SELECT v FROM note WHERE id = 1", "SELECT v FROM note WHERE id = 2"
	someGo, someLeave  = "SELECT count(p) FROM goes", "SELECT count(p) FROM leaves"
)

// A foreign writer's change falls on its own rows, and what foreign keys and triggers did with it falls on the rows that they
// changed, where the server tells of them; where it does not, on the tables that they may have changed.
//
// Seen to fail with each of these taken out: the row filter, the kinds of change, materialized views and tables above
// partitions in what the server is asked; that a row which is added may be one that a filter kept back; heirs and partitions
// that show in what is above them; whether everything is told of; that other rows of a table may change and that this too is
// told of; what a message says was not changed, that an old row may say otherwise, and that nothing is said of columns beside
// the key; TRUNCATE's foreign keys without a rule; and the whole of it.
func TestTold(t *testing.T) {
	leak.Check(t)
	s := start(t)
	for name, c := range map[string]struct {
		schema []string
		write  string
		stays  []string
		falls  []string
	}{
		"update": {nil, "UPDATE parent SET v = 9 WHERE id = 1",
			[]string{parent2, goes1, leaves1, follows1, someGo, someLeave}, []string{parent1}},
		"insert": {nil, "INSERT INTO parent VALUES (4, 4, 4)",
			[]string{parent1, goes1, leaves1, follows1, someGo}, []string{"SELECT count(*) FROM parent"}},
		"delete": {nil, "DELETE FROM parent WHERE id = 1",
			[]string{parent2, goes2, leaves2, follows2, note1}, []string{parent1, goes1, leaves1, follows1, someGo, someLeave}},
		"rekey": {[]string{"DELETE FROM leaves WHERE id = 1"}, "UPDATE parent SET id = 7 WHERE id = 1",
			[]string{parent2, goes2, leaves2, follows1, someLeave}, []string{parent1, goes1, someGo}},
		"rekey of another": {nil, "UPDATE parent SET code = 7 WHERE id = 1",
			[]string{parent2, goes1, follows2, someGo}, []string{parent1, follows1}},
		"trigger": {nil, "UPDATE job SET v = 5 WHERE id = 1",
			[]string{note2, parent1}, []string{note1, "SELECT v FROM job WHERE id = 1"}},
		"trigger of which nothing is known": {nil, "UPDATE odd SET v = 5 WHERE id = 1",
			[]string{note2, parent1, someGo}, []string{note1, "SELECT v FROM odd WHERE id = 1"}},
		"a view nobody tells of": {[]string{"CREATE MATERIALIZED VIEW mv AS SELECT sum(v) FROM note"}, "UPDATE odd SET v = 5 WHERE id = 1",
			nil, []string{note1, note2, parent1, "SELECT * FROM mv"}},
		"truncate": {nil, "TRUNCATE goes CASCADE",
			[]string{parent1, leaves1, follows1, note1}, []string{goes1, someGo, "SELECT count(*) FROM holds"}},
		"partitions": {[]string{"CREATE TABLE part (id INT, p INT REFERENCES parent ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
			"CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (2)", "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (2) TO (9)",
			"INSERT INTO part SELECT id, id FROM parent"}, "DELETE FROM parent WHERE id = 1",
			[]string{parent2, "SELECT p FROM part2"}, []string{"SELECT p FROM part1", "SELECT p FROM part"}},
		"heirs": {[]string{"CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (note)", "INSERT INTO heir VALUES (8, 8)"}, "UPDATE heir SET v = 9",
			[]string{parent1, "SELECT v FROM ONLY job"}, []string{"SELECT v FROM heir", "SELECT sum(v) FROM note"}},
		"partitions that nothing refers from": {[]string{"CREATE TABLE part (id INT, p INT REFERENCES parent ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
			"CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (2)", "INSERT INTO part VALUES (1, 1)"}, "DELETE FROM parent WHERE id = 2",
			[]string{parent1, "SELECT p FROM part1", "SELECT p FROM part"}, []string{parent2}},
		"a tree": {tree, "DELETE FROM tree WHERE id = 1",
			[]string{"SELECT up FROM tree WHERE id = 3", parent1}, []string{"SELECT up FROM tree WHERE id = 1", "SELECT up FROM tree WHERE id = 2"}},
		"columns": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent, goes (id), leaves (id), follows (id), holds"},
			"DELETE FROM parent WHERE id = 1", []string{goes2, leaves2, follows2}, []string{goes1, leaves1, follows1, someLeave}},
		"old rows": {[]string{"ALTER TABLE parent REPLICA IDENTITY FULL", "DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent"},
			"UPDATE parent SET v = 9 WHERE id = 1", []string{goes1, follows1, leaves1}, []string{parent1, parent2}},
		"old rows that tell of a rekey": {[]string{"ALTER TABLE parent REPLICA IDENTITY FULL", "DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent"},
			"UPDATE parent SET code = 9 WHERE id = 1", []string{leaves1}, []string{goes1, follows1, follows2, parent1}},

		// From here on something is not told of.
		"a list": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent, leaves"}, "DELETE FROM parent WHERE id = 1",
			[]string{parent2, leaves2, note1}, []string{leaves1, goes1, goes2, follows2}},
		"a list, edit": {[]string{"DROP TABLE follows", "DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent"},
			"UPDATE parent SET v = 9 WHERE id = 1", []string{parent2, goes1, leaves1}, []string{parent1}},
		"a list, what the key does not tell": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent"},
			"UPDATE parent SET code = 9 WHERE id = 1", []string{parent2, leaves1}, []string{follows1, follows2, goes2}},
		"a list, rekey": {[]string{"DELETE FROM leaves", "DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent"},
			"UPDATE parent SET id = 7 WHERE id = 1", []string{parent2, leaves1}, []string{goes1, goes2, someGo}},
		"a list, trigger": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE job, odd"},
			"UPDATE job SET v = 5 WHERE id = 1", []string{parent1}, []string{note1, note2}},
		"a list, trigger of which nothing is known": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE job, odd"},
			"UPDATE odd SET v = 5 WHERE id = 1", nil, []string{note1, note2, parent1}},
		"a list, truncate": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE goes"}, "TRUNCATE goes CASCADE",
			[]string{parent1}, []string{goes1, "SELECT count(*) FROM holds"}},
		"no updates": {[]string{"ALTER PUBLICATION freshet SET (publish = 'insert, delete, truncate')"}, "DELETE FROM parent WHERE id = 1",
			[]string{parent2, note1}, []string{leaves1, leaves2, goes2}},
		"no updates, a tree": {append(tree[:len(tree):len(tree)], "ALTER PUBLICATION freshet SET (publish = 'insert, delete, truncate')"), "DELETE FROM tree WHERE id = 1",
			[]string{parent1}, []string{"SELECT up FROM tree WHERE id = 1", "SELECT up FROM tree WHERE id = 2"}},
		"a filter": {[]string{"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE parent, follows, leaves, goes WHERE (id > 1)"},
			"DELETE FROM parent WHERE id = 1", []string{leaves2, follows2}, []string{goes1, goes2}},
		"what a filter kept back": {[]string{"DROP PUBLICATION freshet", "ALTER TABLE note REPLICA IDENTITY FULL", "CREATE PUBLICATION freshet FOR TABLE note WHERE (v > 50)"},
			"UPDATE note SET v = 60 WHERE id = 1", []string{parent1}, []string{note1}},
		"by the root": {[]string{"CREATE TABLE part (id INT, p INT REFERENCES parent ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
			"CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (2)", "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (2) TO (9)",
			"INSERT INTO part SELECT id, id FROM parent", "ALTER PUBLICATION freshet SET (publish_via_partition_root)"}, "DELETE FROM parent WHERE id = 1",
			[]string{parent2, goes2}, []string{goes1, "SELECT p FROM part1", "SELECT p FROM part"}},
		"by the root, whose partitions tell rows apart otherwise": {[]string{
			"CREATE TABLE part (id INT PRIMARY KEY, code INT NOT NULL) PARTITION BY RANGE (id)", "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (9)",
			"CREATE UNIQUE INDEX other ON part1 (code)", "ALTER TABLE part1 REPLICA IDENTITY USING INDEX other", "INSERT INTO part VALUES (1, 1)",
			"CREATE TABLE of_part (id INT PRIMARY KEY, p INT REFERENCES part ON UPDATE CASCADE)", "INSERT INTO of_part VALUES (1, 1)",
			"DROP PUBLICATION freshet", "CREATE PUBLICATION freshet FOR TABLE part WITH (publish_via_partition_root)"}, "UPDATE part SET id = 2",
			[]string{parent1}, []string{"SELECT id FROM part", "SELECT p FROM of_part WHERE id = 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.world(t, append(append([]string{"CREATE PUBLICATION freshet FOR ALL TABLES"}, family...), c.schema...)...)
			w.heard()
			for _, q := range append(c.stays, c.falls...) {
				w.remembers(q)
			}
			w.do(c.write)
			w.heard()
			for _, q := range c.stays {
				if !w.stays(q, c.write) {
					t.Errorf("after %s\n%s has fallen", c.write, q)
				}
			}
			for _, q := range c.falls {
				if w.stays(q, c.write) {
					t.Errorf("after %s\n%s has not fallen", c.write, q)
				}
			}
		})
	}
}

// Rows of tables that are not logged are kept by no one but those who load them by other ways; nobody tells of them. (Seen to
// fail with all tables taken for told of.)
func TestUnlogged(t *testing.T) {
	leak.Check(t)
	w := start(t).world(t, append(family, "CREATE UNLOGGED TABLE fleeting (id INT PRIMARY KEY, p INT REFERENCES parent ON DELETE CASCADE)",
		"CREATE PUBLICATION freshet FOR ALL TABLES")...)
	kept := func(table string) *invalidate.Validity {
		w.heard()
		names, err := w.c.Names(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		rec, _ := w.tr.Record(t.Context())
		rec.DependOn(names...)
		v, _ := rec.Seal()
		return &v
	}
	fleeting, note := kept("fleeting"), kept("note")
	w.do("DELETE FROM parent WHERE id = 1")
	w.heard()
	if _, s := fleeting.Check(0); s != invalidate.Fallen {
		t.Error("what cascaded to a table that is not logged is not told of")
	}
	if _, s := note.Check(0); s == invalidate.Fallen {
		t.Error("another table fell")
	}
}

// The publication is altered while the follower runs. What is told no more falls with what reaches it, and so does what a
// transaction wrote that began before it was told of. (Seen to fail with the first publication believed for ever, and with
// the newest believed of older transactions.)
func TestAltered(t *testing.T) {
	leak.Check(t)
	s := start(t)
	t.Run("less", func(t *testing.T) {
		w := s.world(t, append(family, "CREATE PUBLICATION freshet FOR TABLE parent, goes, leaves, follows")...)
		w.goesUntold("ALTER PUBLICATION freshet DROP TABLE goes")
	})
	t.Run("more", func(t *testing.T) {
		w := s.world(t, append(family, "CREATE PUBLICATION freshet FOR TABLE parent, leaves, follows")...)
		w.heard()
		tx, err := w.plain.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.Exec("DELETE FROM parent WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		w.do("ALTER PUBLICATION freshet ADD TABLE goes")
		w.heard()
		w.remembers(goes1)
		w.remembers(goes2)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		w.heard()
		if w.stays(goes1, "an older transaction") {
			t.Error("what it cascaded to has not fallen")
		}
		const goes3 = "SELECT p FROM goes WHERE id = 3"
		w.remembers(goes2)
		w.remembers(goes3)
		w.do("DELETE FROM parent WHERE id = 2")
		w.heard()
		if w.stays(goes2, "a newer transaction") || !w.stays(goes3, "a newer transaction") {
			t.Error("not the row alone that a newer transaction cascaded to has fallen")
		}
	})
	t.Run("a table made later", func(t *testing.T) {
		w := s.world(t, append(family, "CREATE PUBLICATION freshet FOR TABLE parent, goes, leaves, follows")...)
		w.do("CREATE TABLE later (id INT PRIMARY KEY, p INT REFERENCES parent ON DELETE CASCADE)", "INSERT INTO later VALUES (1, 1)")
		if _, err := w.db.Exec("CREATE TABLE known ()"); err != nil { // has the catalog read
			t.Fatal(err)
		}
		w.heard()
		w.remembers("SELECT p FROM later WHERE id = 1")
		w.do("DELETE FROM parent WHERE id = 1")
		w.heard()
		if w.stays("SELECT p FROM later WHERE id = 1", "a cascade") {
			t.Error("what it cascaded to has not fallen")
		}
	})
}

// A table that was away while it was written, all in one transaction, was not told of, or under another's name; afterwards it
// looks as before. (Seen to fail, each case, with tables known by their numbers and names alone.)
func TestAway(t *testing.T) {
	leak.Check(t)
	s := start(t)
	for name, c := range map[string]struct{ published, table, leave, as, back string }{
		"detached": {"FOR TABLE whole", "part", "ALTER TABLE whole DETACH PARTITION part", "part",
			"ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (9)"},
		"renamed": {"FOR TABLE one, two", "two", "ALTER TABLE one RENAME TO three; ALTER TABLE two RENAME TO one", "one",
			"ALTER TABLE one RENAME TO two; ALTER TABLE three RENAME TO one"},
		"in another schema": {"FOR TABLES IN SCHEMA public", "two", "ALTER TABLE two SET SCHEMA elsewhere", "elsewhere.two",
			"ALTER TABLE elsewhere.two SET SCHEMA public"},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.world(t, "CREATE TABLE whole (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)", "CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (9)",
				"CREATE TABLE one (id INT PRIMARY KEY, v INT)", "CREATE TABLE two (id INT PRIMARY KEY, v INT)", "CREATE SCHEMA elsewhere",
				"INSERT INTO whole VALUES (1, 1)", "INSERT INTO two VALUES (1, 1)", "CREATE PUBLICATION freshet "+c.published)
			w.heard()
			query := "SELECT v FROM " + c.table + " WHERE id = 1"
			w.remembers(query)
			w.do("BEGIN; " + c.leave + "; UPDATE " + c.as + " SET v = 2 WHERE id = 1; " + c.back + "; COMMIT")
			w.heard()
			if w.stays(query, name) {
				t.Error("it has not fallen")
			}
		})
	}
}

// goesUntold has the publication tell of goes no more, by alter, and what a foreign key does to it falls nevertheless.
func (w *world) goesUntold(alter string) {
	w.t.Helper()
	w.do(alter)
	w.heard()
	w.remembers(goes1)
	w.remembers(leaves2)
	w.do("DELETE FROM parent WHERE id = 1")
	w.heard()
	if w.stays(goes1, "a cascade") || !w.stays(leaves2, "a cascade") {
		w.t.Error("not what is not told of has fallen, or more than that")
	}
}

// What a publication of all tables leaves out falls with what reaches it. A table that was left out for a moment has fallen once
// the server has counted that: the catalog looks as before. (Seen to fail without the rows of pg_publication_rel in what the
// server is asked, and without the count of them.)
func TestLeftOut(t *testing.T) {
	leak.Check(t)
	s := start(t)
	var version int
	if err := s.admin.QueryRow("SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version < 190000 {
		t.Logf("NOT RUN: PostgreSQL %d leaves out no tables", version/10000)
		return
	}
	w := s.world(t, append(family, "CREATE PUBLICATION freshet FOR ALL TABLES")...)
	w.heard()
	w.goesUntold("ALTER PUBLICATION freshet SET ALL TABLES EXCEPT (TABLE goes)")
	w.do("ALTER PUBLICATION freshet SET ALL TABLES")
	w.heard()
	w.remembers(note1)
	w.do("BEGIN; ALTER PUBLICATION freshet SET ALL TABLES EXCEPT (TABLE note); UPDATE note SET v = 9 WHERE id = 1; ALTER PUBLICATION freshet SET ALL TABLES; COMMIT")
	for end := time.Now().Add(time.Minute); w.answer(w.db, note1) != w.answer(w.plain, note1); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was left out for a moment has not fallen")
		}
	}
}

// A table whose rows nothing tells apart is not told of: the server lets nobody change them, also by a cascade.
func TestKeyless(t *testing.T) {
	leak.Check(t)
	w := start(t).world(t, append(family, "CREATE TABLE bare (p INT REFERENCES parent ON DELETE CASCADE)", "INSERT INTO bare VALUES (1)",
		"CREATE PUBLICATION freshet FOR ALL TABLES")...)
	if _, err := w.plain.Exec("DELETE FROM parent WHERE id = 1"); err == nil {
		t.Error("the server tells nobody of a row that was deleted")
	}
}
