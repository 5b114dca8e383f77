package sqltest

import "testing"

// What PostgreSQL does with no row leaves memory as it is, and a cursor's reads do: they may write by functions alone, which
// count when it is declared, whether it runs while it is fetched or when its transaction ends. Seen to fail with every DECLARE
// thought to write nothing, and the first half with every one thought to write.
func TestAside(t *testing.T) {
	b := newBase(t, "postgres")
	plain := b.plain(t)
	must(t, plain, "CREATE TABLE log (n INT)", "INSERT INTO log VALUES (0)", "CREATE TABLE a (id INT)", "INSERT INTO a VALUES (1), (2)",
		"CREATE FUNCTION w(i INT) RETURNS INT LANGUAGE plpgsql AS 'BEGIN UPDATE log SET n = n + 1; RETURN i; END'")
	db, c := open(t, b)
	run := func(queries ...string) {
		t.Helper()
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		must(t, tx, queries...)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	const log = "SELECT n FROM log"
	serves(t, db, c, log)
	if n := hits(c, func() {
		run("LOCK TABLE log IN SHARE MODE", "NOTIFY x, 'y'", "DECLARE c SCROLL CURSOR FOR SELECT id FROM a", "FETCH 1 FROM c", "MOVE 1 FROM c", "CLOSE c")
		run("DECLARE kept CURSOR WITH HOLD FOR (SELECT id FROM a)")
		must(t, db, "VACUUM a", "ANALYZE log", "CHECKPOINT", "SELECT pg_is_in_recovery(), pg_current_wal_lsn()")
		one[int](t, db, log)
	}); n != 1 {
		t.Error("memory was emptied")
	}
	for _, writes := range [][]string{
		{"DECLARE c CURSOR FOR SELECT w(id) FROM a", "FETCH 1 FROM c", "FETCH ALL FROM c"},
		{"DECLARE held CURSOR WITH HOLD FOR SELECT w(id) FROM a"},
		{"DECLARE c BINARY CURSOR FOR WITH x AS (SELECT w(id) FROM a) SELECT * FROM x", "SAVEPOINT s", "MOVE ALL FROM c", "RELEASE s"},
	} {
		serves(t, db, c, log)
		before := one[int](t, plain, log)
		run(writes...)
		is := one[int](t, plain, log)
		if got := one[int](t, db, log); got != is || is == before {
			t.Errorf("%q: %d, want %d, was %d", writes, got, is, before)
		}
	}
}
