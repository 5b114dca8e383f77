package pgfollow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
)

// kin is a database of random tables that refer to each other, and what may be done to it.
type kin struct {
	*rand.Rand
	schema []string
	tables []string
	below  map[string][]string // heirs and partitions of a table
	coded  []string            // tables that have a column code
}

func (k *kin) one(of ...string) string { return of[k.IntN(len(of))] }

func (k *kin) add(format string, args ...any) {
	k.schema = append(k.schema, fmt.Sprintf(format, args...))
}

func randomKin(r *rand.Rand) *kin {
	k := &kin{Rand: r, below: map[string][]string{}}
	for i := range 6 {
		k.table(fmt.Sprint("t", i), i)
	}
	for range 3 {
		k.trigger()
	}
	k.publication()
	return k
}

// table adds one that refers to an earlier one.
func (k *kin) table(name string, nth int) {
	refers, up := "up INT", "n"
	if nth > 0 {
		column, to := "id", k.tables[k.IntN(len(k.tables))]
		if slices.Contains(k.coded, to) && k.IntN(2) == 0 {
			column = "code"
		}
		refers += fmt.Sprintf(" REFERENCES %s (%s) ON DELETE %s ON UPDATE %s", to, column,
			k.one("CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION"), k.one("CASCADE", "SET NULL", "NO ACTION"))
		up = fmt.Sprintf("(SELECT %s FROM %s WHERE %s = n)", column, to, column)
	}
	plain := k.IntN(4) > 0
	if plain {
		k.add("CREATE TABLE %s (id INT PRIMARY KEY, v INT, code INT NOT NULL UNIQUE, %s)", name, refers)
		k.coded = append(k.coded, name)
		k.add("ALTER TABLE %s REPLICA IDENTITY %s", name, k.one("DEFAULT", "DEFAULT", "FULL", "USING INDEX "+name+"_code_key"))
	} else {
		k.add("CREATE TABLE %s (id INT PRIMARY KEY, v INT, %s) PARTITION BY RANGE (id)", name, refers)
	}
	k.tables = append(k.tables, name)
	switch {
	case !plain:
		for part, bounds := range map[string]string{"a": "(MINVALUE) TO (2)", "b": "(2) TO (MAXVALUE)"} {
			k.add("CREATE TABLE %s%s PARTITION OF %s FOR VALUES FROM %s", name, part, name, bounds)
			k.add("ALTER TABLE %s%s REPLICA IDENTITY %s", name, part, k.one("DEFAULT", "FULL"))
			k.below[name] = append(k.below[name], name+part)
		}
		k.tables = append(k.tables, k.below[name]...)
	case k.IntN(4) == 0:
		k.add("CREATE TABLE %sh (PRIMARY KEY (id)) INHERITS (%s)", name, name)
		k.below[name] = []string{name + "h"}
		k.tables = append(k.tables, name+"h")
	}
	k.add("INSERT INTO %s SELECT n, n%s, %s FROM generate_series(0, 3) n", name, map[bool]string{true: ", n"}[plain], up)
}

// trigger adds one that writes elsewhere, so that one can see it or by a text that it makes.
func (k *kin) trigger() {
	n := len(k.schema)
	does := k.write()
	if k.IntN(4) == 0 {
		does = "EXECUTE '" + does + "'"
	}
	k.add("CREATE FUNCTION f%d() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN %s; RETURN NULL; END$$", n, does)
	k.add("CREATE TRIGGER f%d AFTER %s ON %s FOR EACH ROW WHEN (pg_trigger_depth() < 2) EXECUTE FUNCTION f%d()", n,
		k.one("INSERT", "UPDATE", "DELETE", "UPDATE OR DELETE"), k.one(k.tables...), n)
}

func (k *kin) publication() {
	if k.IntN(3) == 0 {
		k.add("CREATE PUBLICATION freshet FOR ALL TABLES")
	} else {
		var list []string
		for _, table := range k.tables {
			switch n := k.IntN(6); {
			case n < 2:
			case n == 2 && (k.below[table] == nil || slices.Contains(k.coded, table)):
				list = append(list, "ONLY "+table+" WHERE (id > 1)")
			default:
				list = append(list, "ONLY "+table)
			}
		}
		list = append(list, "beside")
		k.add("CREATE TABLE beside (id INT PRIMARY KEY)")
		k.add("CREATE PUBLICATION freshet FOR TABLE %s", strings.Join(list, ", "))
	}
	if k.IntN(3) == 0 {
		k.add("ALTER PUBLICATION freshet SET (publish_via_partition_root)")
	}
	if k.IntN(3) == 0 {
		k.add("ALTER PUBLICATION freshet SET (publish = 'delete, %s')", k.one("insert", "update", "insert, update"))
	}
}

// write is a statement about one of the tables, which begins with what it does and has its name between spaces.
func (k *kin) write() string {
	table, a, b := k.one(k.tables...), k.IntN(5), k.IntN(5)
	column := "id"
	if slices.Contains(k.coded, table) {
		column = k.one("id", "code")
	}
	switch k.IntN(9) {
	case 0, 1:
		return fmt.Sprintf("UPDATE %s SET v = v + 1 WHERE id = %d", table, a)
	case 2, 3:
		return fmt.Sprintf("UPDATE %s SET %s = %d WHERE id = %d", table, column, 5+b, a)
	case 4:
		return fmt.Sprintf("UPDATE %s SET up = %s, v = %d", table, k.one("NULL", "up"), b)
	case 5:
		if column = ""; slices.Contains(k.coded, table) {
			column = fmt.Sprint(", ", 10+k.IntN(5))
		}
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, %d%s, %s)", table, a, b, column, k.one("NULL", fmt.Sprint(b)))
	default:
		return fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, a)
	}
}

// told reports whether the server tells the follower of what query does to the table that it names.
func (k *kin) told(w *world, query string) bool {
	words := strings.Fields(query)
	if words[1] == "FROM" || words[1] == "INTO" {
		words = words[1:]
	}
	said := w.answer(w.plain, `SELECT pubinsert, pubupdate, pubdelete, pubviaroot FROM pg_publication`)
	var published [4]bool
	fmt.Sscanf(said, "[{%t true} {%t true} {%t true} {%t true}]", &published[0], &published[1], &published[2], &published[3])
	rows := w.answer(w.plain, "SELECT tablename FROM pg_publication_tables WHERE rowfilter IS NULL")
	listed := func(table string) bool { return strings.Contains(rows, "[{"+table+" true}]") }
	table := words[1]
	var unlisted bool
	for _, heir := range k.below[table] {
		unlisted = unlisted || !listed(heir)
	}
	whole := listed(table) && (!unlisted || published[3] && !slices.Contains(k.coded, table)) || k.below[table] != nil && !unlisted && !slices.Contains(k.coded, table)
	does := map[byte]int{'I': 0, 'U': 1, 'D': 2}[query[0]]
	if does == 1 && !slices.Contains(k.coded, table) { // to another partition
		whole = whole && published[0] && published[2]
	}
	return whole && published[does]
}

// Whatever a foreign writer does to random tables, with random triggers, and whatever of it is published, memory answers as
// the database does once it has been announced. What is not published is announced by hand, but not what followed from it.
//
// Seen to fail with each of these taken out: that what is not told of falls; that heirs and partitions show in what is above
// them; that an old row may tell of another key.
func TestRandom(t *testing.T) {
	leak.Check(t)
	s := start(t)
	effective, stayed := 0, 0
	for range 6 {
		seed := rand.Uint64()
		k := randomKin(rand.New(rand.NewPCG(seed, 0)))
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := s.world(t, k.schema...)
			var reads []string
			for _, table := range k.tables {
				reads = append(reads, "SELECT count(*), sum(v), sum(up), sum(id) FROM "+table)
				for id := range 5 {
					reads = append(reads, fmt.Sprintf("SELECT v, up FROM %s WHERE id = %d", table, id))
				}
			}
			for range 20 {
				w.heard()
				if t.Failed() {
					t.Fatalf("in\n%s", strings.Join(k.schema, ";\n"))
				}
				for _, q := range reads {
					w.answer(w.db, q)
				}
				if k.IntN(10) == 0 {
					w.plain.Exec("ALTER PUBLICATION freshet " + k.one("DROP TABLE ", "ADD TABLE ", "DROP TABLE ONLY ", "ADD TABLE ONLY ") + k.one(k.tables...)) // if it can
					w.heard()
				}
				tx, err := w.plain.Begin()
				if err != nil {
					t.Fatal(err)
				}
				var by []string
				for range 1 + k.IntN(2) {
					q := k.write()
					if _, err = tx.Exec(q); err != nil {
						break
					}
					by = append(by, q)
				}
				if err != nil || tx.Commit() != nil {
					tx.Rollback()
					continue
				}
				effective++
				for _, q := range by {
					if !k.told(w, q) {
						words := strings.Fields(q)
						if words[0] != "UPDATE" {
							words = words[1:]
						}
						if err := w.c.Touch(t.Context(), words[1]); err != nil {
							t.Fatal(err)
						}
					}
				}
				w.heard()
				for _, q := range reads {
					if w.stays(q, strings.Join(by, "; ")) {
						stayed++
					}
				}
			}
		})
	}
	if effective < 20 || stayed < effective {
		t.Errorf("%d writes, after which %d answers were still in memory", effective, stayed)
	}
}
