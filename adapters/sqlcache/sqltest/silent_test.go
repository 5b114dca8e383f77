package sqltest

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/sqltestdb"
)

// readsCatalog is what a session sends only while it reads the catalog.
var readsCatalog = map[string]string{"postgres": "pg_attribute", "mysql": "information_schema"}

// behindProxy runs f on a database behind a proxy, of each kind that has a server.
func behindProxy(t *testing.T, f func(t *testing.T, b, behind base, proxy *faultproxy.Proxy)) {
	for dialect, server := range map[string]*sqltestdb.Server{"postgres": pgServer, "mysql": myServer} {
		t.Run(dialect, func(t *testing.T) {
			b := newBase(t, dialect)
			must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
			proxy := faultproxy.New(t, server.Addr())
			behind := b
			behind.dsn = strings.Replace(b.dsn, server.Addr(), proxy.Addr(), 1)
			f(t, b, behind, proxy)
		})
	}
}

// within is for what must not take as long as the longest reading of a catalog.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const rowOfT = "SELECT v FROM t WHERE id = 1"

// While the catalog has fallen and the database does not say what is the new one, a statement's ctx ends its wait, reads
// go to the database and writes are told of, as writes to everything. Seen to fail without enough in analysis.
func TestCatalogSilent(t *testing.T) {
	behindProxy(t, func(t *testing.T, b, behind base, proxy *faultproxy.Proxy) {
		db, c := openWith(t, redisServer.Client(t), behind.connector(t), guard.Plan{}, func(o *sqlcache.Options) { o.CatalogEvery = time.Hour })
		other, oc := open(t, b)
		serves(t, db, c, rowOfT)
		serves(t, other, oc, rowOfT)
		tx, err := db.Begin() // on the connection that knows the catalog's queries by names
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		held := proxy.HoldAt(faultproxy.ToServer, readsCatalog[b.dialect])
		if err := oc.Touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := fence(t, c); err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := db.ExecContext(soon, "UPDATE t SET v = -1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has no time: %v", err)
		}
		<-held
		var got int
		if err := db.QueryRowContext(within(t), rowOfT).Scan(&got); err != nil || got != 1 {
			t.Errorf("a read: %d, %v", got, err)
		}
		before := c.Stats()
		if _, err := tx.ExecContext(within(t), "UPDATE t SET v = 2"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if n := c.Stats().Flushes - before.Flushes; n == 0 {
			t.Error("a transaction of which nobody can tell what it wrote flushed nothing")
		}
		fence(t, oc)
		if got := one[int](t, other, rowOfT); got != 2 {
			t.Errorf("another process reads %d", got)
		}
		if n := c.Stats().Hits - before.Hits; n != 0 {
			t.Errorf("%d hits by a catalog that has fallen", n)
		}
		proxy.Release(faultproxy.ToServer)
		serves(t, db, c, rowOfT)
	})
}

// What went by as a read while the catalog was not to be had, and was a write by then, is told of when there is a catalog
// again: a view that calls a function, since somebody has defined it anew. Seen to fail without guessed in analysis.
func TestCatalogSilentHidesWrite(t *testing.T) {
	behindProxy(t, func(t *testing.T, b, behind base, proxy *faultproxy.Proxy) {
		if b.dialect != "postgres" {
			return // its views call no functions that write
		}
		must(t, b.plain(t), "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0)", "CREATE VIEW w AS SELECT v FROM t",
			"CREATE FUNCTION f() RETURNS INT LANGUAGE SQL AS 'UPDATE u SET n = n + 1 RETURNING n'")
		db, c := openWith(t, redisServer.Client(t), behind.connector(t), guard.Plan{}, func(o *sqlcache.Options) { o.CatalogEvery = time.Hour })
		other, oc := open(t, b)
		serves(t, db, c, "SELECT v FROM w")
		serves(t, other, oc, "SELECT n FROM u")
		tx, err := db.Begin() // on the connection that knows the catalog's queries by names
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		held := proxy.HoldAt(faultproxy.ToServer, readsCatalog[b.dialect])
		must(t, other, "CREATE OR REPLACE VIEW w AS SELECT f() AS v")
		if err := fence(t, c); err != nil {
			t.Fatal(err)
		}
		serves(t, other, oc, "SELECT n FROM u")
		var got int
		if err := db.QueryRowContext(within(t), "SELECT v FROM w").Scan(&got); err != nil || got != 1 {
			t.Fatalf("the view gave %d, %v", got, err)
		}
		select {
		case <-held:
		case <-within(t).Done():
			t.Fatal("nobody read the catalog")
		}
		proxy.Release(faultproxy.ToServer)
		for deadline := time.Now().Add(20 * time.Second); one[int](t, other, "SELECT n FROM u") != 1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("another process never hears of it")
			}
			if _, err := c.Names(within(t), "u"); err != nil { // wants a catalog
				t.Fatal(err)
			}
		}
	})
}

// All connections are in transactions, and the catalog falls: none is left to read it with, and they go on all the same.
// Seen to fail without enough in analysis.
func TestCatalogWithoutConnection(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
		db, c := open(t, b, func(o *sqlcache.Options) { o.MaxConns = 1 })
		other, oc := open(t, b)
		serves(t, other, oc, rowOfT)
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if err := oc.Touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := fence(t, c); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := tx.ExecContext(within(t), "UPDATE t SET v = v + 1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		fence(t, oc)
		if got := one[int](t, other, rowOfT); got != 4 {
			t.Errorf("another process reads %d", got)
		}
		serves(t, db, c, rowOfT)
	})
}

// counting counts the connections that were made.
type counting struct {
	driver.Connector
	made *atomic.Int64
}

func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err == nil {
		c.made.Add(1)
	}
	return conn, err
}

// A database that was down at the start is silent when it comes back. Who gives up waiting for the first catalog gives up
// alone: its reading goes on, for the next. Seen to fail with a reading that ends with its first caller's ctx (which costs
// the connection), with a wait for its end before analysis looks at ctx, and with arguments that are checked on a connection
// without a ctx.
func TestFirstCatalogSilent(t *testing.T) {
	behindProxy(t, func(t *testing.T, b, behind base, proxy *faultproxy.Proxy) {
		proxy.Refuse()
		dials := counting{behind.connector(t), new(atomic.Int64)}
		db, c := openWith(t, redisServer.Client(t), dials, guard.Plan{}, func(o *sqlcache.Options) { o.MaxConns, o.CatalogEvery = 1, time.Hour })
		held := proxy.HoldAt(faultproxy.ToServer, readsCatalog[b.dialect])
		proxy.Accept()
		soon, cancel := context.WithCancel(t.Context())
		go func() { <-held; cancel() }()
		query := "SELECT v FROM t WHERE id = " + b.param()
		var got int
		if err := db.QueryRowContext(soon, query, 1).Scan(&got); !errors.Is(err, context.Canceled) {
			t.Errorf("who has no time: %v", err)
		}
		proxy.Release(faultproxy.ToServer)
		if err := db.QueryRowContext(within(t), query, 1).Scan(&got); err != nil || got != 1 {
			t.Errorf("who has: %d, %v", got, err)
		}
		if n := dials.made.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
		serves(t, db, c, rowOfT)
	})
}

// A transaction is the first use of a database that was down at the start, and takes its only connection: the catalog was
// read before. Seen to fail with an Attach that does not ask for it.
func TestFirstCatalogBeforeBegin(t *testing.T) {
	behindProxy(t, func(t *testing.T, b, behind base, proxy *faultproxy.Proxy) {
		proxy.Refuse()
		db, c := openWith(t, redisServer.Client(t), behind.connector(t), guard.Plan{}, func(o *sqlcache.Options) { o.MaxConns = 1 })
		proxy.Accept()
		tx, err := db.BeginTx(within(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(within(t), "UPDATE t SET v = 2"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if n := c.Stats().Flushes; n != 0 {
			t.Errorf("%d flushes", n)
		}
		serves(t, db, c, rowOfT)
	})
}
