package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache/outbox"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/invalidate"
)

// outboxSQL is what package outbox says, for a table product.
func outboxSQL(dialect string) []string {
	id := map[string]string{"mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY", "postgres": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT"}[dialect]
	all := []string{"CREATE TABLE freshet_outbox (id " + id + ", name VARCHAR(255) NOT NULL)"}
	do := "INSERT INTO freshet_outbox (name) VALUES ('product')"
	switch dialect {
	case "postgres":
		all = append(all, "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "+do+"; RETURN NULL; END$$")
		do = "EXECUTE FUNCTION noted()"
	case "sqlite":
		do = "BEGIN " + do + "; END"
	}
	for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
		all = append(all, "CREATE TRIGGER product_"+event[:1]+" AFTER "+event+" ON product FOR EACH ROW "+do)
	}
	return all
}

func follow(t testing.TB, c outbox.Toucher, db *sql.DB) *outbox.Follower {
	t.Helper()
	f, err := outbox.Follow(t.Context(), c, db, outbox.Options{Every: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// announced waits until the outbox has been seen empty by a look that began after the call.
func announced(t testing.TB, f *outbox.Follower) {
	t.Helper()
	called := time.Now()
	for end := called.Add(20 * time.Second); f.Staleness() > time.Since(called); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20s what is not announced may be %v old", f.Staleness())
		}
	}
}

func TestOutbox(t *testing.T) {
	leak.Check(t)
	bases(t, func(t *testing.T, b base) {
		plain := b.plain(t)
		must(t, plain, "CREATE TABLE product (id INT PRIMARY KEY, price INT)",
			"CREATE TABLE stock (product INT REFERENCES product (id) ON DELETE CASCADE, n INT, FOREIGN KEY (product) REFERENCES product (id) ON DELETE CASCADE)",
			"CREATE TABLE orders (id INT)", "INSERT INTO product VALUES (1, 10)", "INSERT INTO stock VALUES (1, 5)")
		must(t, plain, outboxSQL(b.dialect)...)
		db, c := open(t, b)
		first, second := follow(t, c, plain), follow(t, c, b.plain(t))
		settled := func() {
			t.Helper()
			announced(t, first)
			announced(t, second)
			if err := fence(t, c); err != nil {
				t.Fatal(err)
			}
		}
		reads := func(query string, want int, memory bool) {
			t.Helper()
			var got int
			if n := hits(c, func() { got = one[int](t, db, query) }); got != want || (n > 0) != memory {
				t.Errorf("%s: %d (%d from memory), want %d (from memory: %v)", query, got, n, want, memory)
			}
		}
		product, stock, orders := "SELECT price FROM product", "SELECT COUNT(*) FROM stock", "SELECT COUNT(*) FROM orders"
		settled()
		for _, memory := range []bool{false, true} {
			reads(product, 10, memory)
			reads(stock, 1, memory)
			reads(orders, 0, memory)
		}
		must(t, plain, "UPDATE product SET price = 11")
		settled()
		reads(product, 11, false)
		reads(product, 11, true)
		reads(orders, 0, true) // it is not named
		must(t, plain, "DELETE FROM product")
		settled()
		reads("SELECT COUNT(*) FROM product", 0, false)
		reads(stock, 0, false) // it fell with its product, though MySQL's cascades fire no triggers
		must(t, plain, "INSERT INTO freshet_outbox (name) VALUES ('no such table')")
		settled()
		reads(orders, 0, false) // everything did
		reads(orders, 0, true)
		if left := one[int](t, plain, "SELECT COUNT(*) FROM freshet_outbox"); left != 0 {
			t.Errorf("%d rows are left", left)
		}
	})
}

// Numbers are given before commits: the change with the lower one may come to be seen after the other was announced.
// Fails when the follower goes on from the highest number it has seen, and when it reads the outbox from memory.
func TestOutboxCommitsOutOfOrder(t *testing.T) {
	leak.Check(t)
	for _, dialect := range []string{"postgres", "mysql"} { // SQLite has one writer at a time
		t.Run(dialect, func(t *testing.T) {
			b := newBase(t, dialect)
			plain := b.plain(t)
			must(t, plain, "CREATE TABLE product (id INT PRIMARY KEY, price INT)", "INSERT INTO product VALUES (1, 10), (2, 20)")
			must(t, plain, outboxSQL(dialect)...)
			db, c := open(t, b)
			f := follow(t, c, db) // a pool that caches, against advice
			tx, err := plain.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			must(t, tx, "UPDATE product SET price = 11 WHERE id = 1")
			must(t, plain, "UPDATE product SET price = 21 WHERE id = 2")
			announced(t, f)
			query := "SELECT SUM(price) FROM product"
			serves(t, db, c, query)
			if got := one[int](t, db, query); got != 31 {
				t.Fatal(got)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			announced(t, f)
			if err := fence(t, c); err != nil {
				t.Fatal(err)
			}
			if got := one[int](t, db, query); got != 32 {
				t.Errorf("%d after the commit of the lower number, want 32", got)
			}
		})
	}
}

// Sessions of the follower's pool that see what is not committed, or commit nothing by themselves, change nothing. Fails
// when the follower's transactions take the isolation that the session has.
func TestOutboxOddPools(t *testing.T) {
	leak.Check(t)
	for _, param := range []string{newBase(t, "mysql").reading(t, "READ-UNCOMMITTED"), "&autocommit=0"} {
		b := newBase(t, "mysql")
		plain := b.plain(t)
		must(t, plain, "CREATE TABLE product (id INT PRIMARY KEY, price INT)", "INSERT INTO product VALUES (1, 10)")
		must(t, plain, outboxSQL("mysql")...)
		db, c := open(t, b)
		odd := b
		odd.dsn += param
		f := follow(t, c, odd.plain(t))
		tx, err := plain.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		must(t, tx, "UPDATE product SET price = 11 WHERE id = 1")
		announced(t, f)
		query := "SELECT SUM(price) FROM product"
		serves(t, db, c, query)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		announced(t, f)
		if err := fence(t, c); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, db, query); got != 11 {
			t.Errorf("%s: %d from memory, 11 in the database", param, got)
		}
	}
}

// Redis is away: the rows stay, and are announced when it is back. Fails when a row is removed before it is announced.
func TestOutboxWithoutRedis(t *testing.T) {
	leak.Check(t)
	b := newBase(t, "sqlite")
	plain := b.plain(t)
	must(t, plain, "CREATE TABLE product (id INT PRIMARY KEY, price INT)", "INSERT INTO product VALUES (1, 10)")
	must(t, plain, outboxSQL(b.dialect)...)
	proxy := faultproxy.New(t, redisServer.Addr())
	rdb := redisServer.Client(t, func(o *redis.Options) {
		o.Addr, o.MaxRetries, o.DialTimeout, o.ReadTimeout = proxy.Addr(), -1, time.Second, time.Second
	})
	_, cut := openWith(t, rdb, b.connector(t), guard.Plan{})
	db, c := open(t, b) // whose Redis is well
	touches := &counted{Toucher: cut}
	f := follow(t, touches, plain)
	query := "SELECT price FROM product"
	serves(t, db, c, query)

	proxy.Refuse()
	proxy.Cut(faultproxy.RST)
	must(t, plain, "UPDATE product SET price = 11")
	for end := time.Now().Add(20 * time.Second); touches.failed.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody tries to announce the change")
		}
	}
	if left := one[int](t, plain, "SELECT COUNT(*) FROM freshet_outbox"); left != 1 {
		t.Fatalf("%d rows are left, want the one that is not announced", left)
	}
	proxy.Accept()
	announced(t, f)
	if err := fence(t, c); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, db, query); got != 11 {
		t.Errorf("%d, want 11", got)
	}
	if left := one[int](t, plain, "SELECT COUNT(*) FROM freshet_outbox"); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

type counted struct {
	outbox.Toucher
	failed atomic.Int64
}

func (c *counted) Touch(ctx context.Context, tables ...string) error {
	err := c.Toucher.Touch(ctx, tables...)
	if errors.Is(err, invalidate.ErrNotAnnounced) {
		c.failed.Add(1)
	}
	return err
}

func TestOutboxRefusals(t *testing.T) {
	leak.Check(t)
	b := newBase(t, "sqlite")
	_, c := open(t, b)
	for want, try := range map[string]func() (*outbox.Follower, error){
		"cache is nil":   func() (*outbox.Follower, error) { return outbox.Follow(t.Context(), nil, b.plain(t), outbox.Options{}) },
		"db is nil":      func() (*outbox.Follower, error) { return outbox.Follow(t.Context(), c, nil, outbox.Options{}) },
		"freshet_outbox": func() (*outbox.Follower, error) { return outbox.Follow(t.Context(), c, b.plain(t), outbox.Options{}) },
		"needs no quotes": func() (*outbox.Follower, error) {
			return outbox.Follow(t.Context(), c, b.plain(t), outbox.Options{Outbox: "outbox; DROP TABLE y"})
		},
		"would be deleted": func() (*outbox.Follower, error) {
			return outbox.Follow(t.Context(), c, b.plain(t), outbox.Options{Outbox: "product"})
		},
		"Options.Every": func() (*outbox.Follower, error) {
			return outbox.Follow(t.Context(), c, b.plain(t), outbox.Options{Every: -1})
		},
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a word of %s", err, want)
		}
	}
}
