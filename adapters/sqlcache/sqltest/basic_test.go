package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/leak"
)

// hits runs f and returns how many reads were answered from memory meanwhile.
func hits(c *sqlcache.Connector, f func()) uint64 {
	before := c.Stats().Hits
	f()
	return c.Stats().Hits - before
}

func one[T any](t testing.TB, db interface {
	QueryRow(string, ...any) *sql.Row
}, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRow(query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// product is "mariadb" where the server is, which its dialect shares with MySQL; "" elsewhere.
func (b base) product(t testing.TB) string {
	t.Helper()
	if b.dialect == "mysql" && strings.Contains(one[string](t, b.plain(t), "SELECT VERSION()"), "MariaDB") {
		return "mariadb"
	}
	return ""
}

// reading is a parameter of the DSN that sets the isolation.
func (b base) reading(t testing.TB, isolation string) string {
	t.Helper()
	variable := "transaction_isolation"
	if b.product(t) == "mariadb" { // it knows the other name since 11.1
		variable = "tx_isolation"
	}
	return "&" + variable + "=%27" + isolation + "%27"
}

func (b base) param() string {
	if b.dialect == "postgres" {
		return "$1"
	}
	return "?"
}

func TestReadWriteRead(t *testing.T) {
	leak.Check(t)
	everyDriver(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(50), price INT)",
			"CREATE TABLE orders (id INT PRIMARY KEY, product INT)",
			"INSERT INTO products VALUES (1, 'pen', 2), (2, 'ink', 5)", "INSERT INTO orders VALUES (1, 2)")
		db, c := open(t, b)
		other, oc := open(t, b)
		q := "SELECT price FROM products WHERE id = " + b.param()
		if e := c.Explain(q); !e.Cached {
			t.Fatal(e)
		}
		for range 3 {
			if got := one[int](t, db, q, 2); got != 5 {
				t.Fatal(got)
			}
			one[int](t, other, q, 2)
		}
		if s := c.Stats(); s.Hits != 2 || s.Loads != 1 {
			t.Fatalf("%+v", s)
		}
		orders := "SELECT product FROM orders WHERE id = 1"
		serves(t, db, c, orders)
		must(t, db, "UPDATE products SET price = 6 WHERE id = 2")
		if got := one[int](t, db, q, 2); got != 6 {
			t.Fatalf("own write not seen: %d", got)
		}
		if err := fence(t, oc); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, other, q, 2); got != 6 {
			t.Fatalf("write of another not seen: %d", got)
		}
		if n := hits(c, func() { one[int](t, db, orders) }); n != 1 {
			t.Error("a write to one table made another's rows fall")
		}

		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		must(t, tx, "UPDATE products SET price = 7 WHERE id = 2")
		if got := one[int](t, tx, q, 2); got != 7 {
			t.Fatalf("the transaction does not see its own write: %d", got)
		}
		if b.dialect != "sqlite" {
			if got := one[int](t, db, q, 2); got != 6 {
				t.Fatalf("an uncommitted write is seen: %d", got)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, db, q, 2); got != 7 {
			t.Fatalf("the commit is not seen: %d", got)
		}
		serves(t, db, c, q, 2)
		tx, _ = db.Begin()
		must(t, tx, "UPDATE products SET price = 8 WHERE id = 2")
		if n := hits(c, func() {
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			one[int](t, db, q, 2)
		}); n != 1 {
			t.Error("a rollback made rows fall")
		}
		if n := hits(c, func() { db.QueryRowContext(sqlcache.NoCache(t.Context()), q, 2).Scan(new(int)) }); n != 0 {
			t.Error("NoCache hit")
		}
		var none int
		if err := db.QueryRow(q, 99).Scan(&none); !errors.Is(err, sql.ErrNoRows) {
			t.Error(err)
		}
		remembered(t, c, 1, func() { db.QueryRow(q, 99).Scan(&none) })
		must(t, b.plain(t), "UPDATE products SET price = 9 WHERE id = 2")
		if err := c.Touch(t.Context(), "products"); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, db, q, 2); got != 9 {
			t.Fatalf("a touched table is served: %d", got)
		}
		if err := c.Touch(t.Context(), "nosuch"); !errors.Is(err, sqlcache.ErrUnknownTable) {
			t.Error(err)
		}
		must(t, db, "CREATE TABLE later (id INT)", "INSERT INTO later VALUES (1)")
		serves(t, db, c, "SELECT count(*) FROM later") // once its catalog has been read: nobody waits long for that
		if err := fence(t, oc); err != nil {
			t.Fatal(err)
		}
		if e := oc.Explain("SELECT count(*) FROM later"); !e.Cached {
			t.Error("another process does not know the new table: ", e)
		}
	})
}

// A user who is not shown triggers cannot tell what a write reaches: it flushes all. DDL that went around is noticed.
func TestHiddenTriggers(t *testing.T) {
	b := newBase(t, "mysql")
	plain := b.plain(t)
	schema := one[string](t, plain, "SELECT DATABASE()")
	must(t, plain, "CREATE TABLE t (id INT)", "CREATE TABLE log (id INT)",
		"CREATE TRIGGER w BEFORE INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
		"CREATE USER 'limited"+schema+"'@'%'", "GRANT SELECT, INSERT ON "+schema+".* TO 'limited"+schema+"'@'%'")
	limited := base{dialect: "mysql", dsn: strings.Replace(b.dsn, "root@", "limited"+schema+"@", 1)}
	db, c := open(t, limited)
	if e := c.Explain("INSERT INTO t VALUES (1)"); len(e.Writes) != 1 || e.Writes[0] != "*" {
		t.Error("a hidden trigger is not reckoned with:", e)
	}
	one[int](t, db, "SELECT count(*) FROM log")
	must(t, db, "INSERT INTO t VALUES (1)")
	if got := one[int](t, db, "SELECT count(*) FROM log"); got != 1 {
		t.Errorf("%d rows", got)
	}
}

func TestForeignDDL(t *testing.T) {
	everyDriver(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE t (id INT)")
		db, c := open(t, b, func(o *sqlcache.Options) { o.CatalogEvery = 50 * time.Millisecond })
		q := "SELECT count(*) FROM t"
		one[int](t, db, q)
		must(t, b.plain(t), "DROP TABLE t", "CREATE TABLE base (id INT)", "INSERT INTO base VALUES (1), (2)", "CREATE VIEW t AS SELECT * FROM base")
		for end := time.Now().Add(10 * time.Second); !strings.Contains(c.Explain(q).String(), "base"); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("foreign DDL is not noticed: ", c.Explain(q))
			}
		}
		if got := one[int](t, db, q); got != 2 {
			t.Errorf("%d rows after foreign DDL", got)
		}
	})
}

// A tighter bound than the heartbeat's proof loads.
func TestMaxStaleness(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT)")
	db, c := open(t, b)
	q := "SELECT count(*) FROM t"
	var n int
	read := func(ctx context.Context) error { return db.QueryRowContext(ctx, q).Scan(&n) }
	read(t.Context())
	if got := hits(c, func() { read(sqlcache.MaxStaleness(t.Context(), time.Minute)) }); got != 1 {
		t.Error("a bound that is wider than the cache's does not hit")
	}
	time.Sleep(time.Millisecond)
	if got := hits(c, func() {
		read(sqlcache.MaxStaleness(t.Context(), time.Nanosecond))
		read(sqlcache.MaxStaleness(t.Context(), -1))
	}); got != 0 {
		t.Error("nothing is proven for a nanosecond")
	}
}
