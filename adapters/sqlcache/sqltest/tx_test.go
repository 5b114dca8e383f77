package sqltest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// What is committed by other ways than Commit, in transactions that are rolled back at their end, is seen as any write.
// Seen to fail with loosen doing nothing and with Saw not heeding errors.
func TestHiddenCommits(t *testing.T) {
	const up = "UPDATE u SET n = n + 1"
	ways := map[string][][]string{
		"postgres": {{up, "COMMIT AND CHAIN"}, {"COMMIT AND CHAIN", up, "COMMIT"}, {"ROLLBACK AND CHAIN", up, "COMMIT"}, {up + "; COMMIT"}},
		"mysql": {{up, "COMMIT AND CHAIN"}, {up, "CREATE TABLE made (id INT)"}, {"DROP TABLE made", up}, {up, "BEGIN"},
			{"!INSERT INTO k VALUES (1)", "ROLLBACK", up}},
		"sqlite": {{up + "; COMMIT"}, {"!INSERT OR ROLLBACK INTO k VALUES (1)", up}},
	}
	bases(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		must(t, plain, "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0)", "CREATE TABLE k (id INT PRIMARY KEY)", "INSERT INTO k VALUES (1)")
		db, c := open(t, b)
		const query = "SELECT n FROM u"
		for i, texts := range append([][]string{{"COMMIT", up}, {"ROLLBACK", up}}, ways[b.dialect]...) {
			serves(t, db, c, query)
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				if text[0] != '!' {
					must(t, tx, text)
				} else if _, err := tx.ExecContext(t.Context(), text[1:]); err == nil {
					t.Fatalf("%s: no error", text)
				}
			}
			tx.Rollback()
			fence(t, c)
			if truth := one[int](t, plain, query); truth != i+1 {
				t.Fatalf("%q: %d in the database, want %d: this shows nothing", texts, truth, i+1)
			}
			if got := one[int](t, db, query); got != i+1 {
				t.Errorf("%q: %d from memory, %d in the database", texts, got, i+1)
			}
		}
	})
}

// A transaction that a text has begun unseen is committed by what database/sql takes for another: by its Commit in
// PostgreSQL, by its BEGIN in MySQL. Seen to fail with Begin not heeding what is loose.
func TestBegunUnseen(t *testing.T) {
	for dialect, texts := range map[string][]string{
		"postgres": {"BEGIN; UPDATE u SET n = 1"},
		"mysql":    {"SET autocommit = 0", "UPDATE u SET n = 1"},
	} {
		t.Run(dialect, func(t *testing.T) {
			b := newBase(t, dialect)
			plain := b.plain(t)
			must(t, plain, "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0)")
			db, c := open(t, b)
			on, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer on.Close()
			must(t, on, texts...)
			serves(t, db, c, "SELECT n FROM u")
			tx, err := on.BeginTx(context.Background(), &sql.TxOptions{})
			if err != nil {
				t.Fatal(err)
			}
			serves(t, db, c, "SELECT n FROM u")
			end := tx.Commit
			if dialect == "mysql" {
				end = tx.Rollback // the BEGIN has committed what was open
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			fence(t, c)
			if got := one[int](t, db, "SELECT n FROM u"); got != 1 {
				t.Errorf("%d from memory, 1 in the database", got)
			}
		})
	}
}

// A text that is not understood fails in a transaction: the session is as good as without sqlcache, back to a savepoint too,
// and nothing stands against keeping answers. Seen to fail in PostgreSQL, where the transaction has failed then, with a Decided
// that takes 25P02 for no answer: the connection was given up, and the marks stood until their lease was over.
func TestNotUnderstoodFails(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		must(t, plain, "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0)")
		db, c := open(t, b, func(o *sqlcache.Options) { o.Lease = time.Hour })
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		must(t, tx, "UPDATE u SET n = 1", "SAVEPOINT a")
		if _, err := tx.Exec("CLUSTER nothing"); err == nil {
			t.Fatal("CLUSTER nothing")
		}
		must(t, tx, "ROLLBACK TO a")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		fence(t, c)
		serves(t, db, c, "SELECT n FROM u")
		if got := one[int](t, db, "SELECT n FROM u"); got != 1 {
			t.Errorf("%d from memory, 1 in the database", got)
		}
	})
}
