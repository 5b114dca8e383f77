package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	sqlitedriver "modernc.org/sqlite"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

var (
	redisServer *redistest.Server
	pgServer    *sqltestdb.Server
	myServer    *sqltestdb.Server
	serial      atomic.Int64
)

// The servers are shared by all tests; each has a database of its own in them.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(func() int {
		var err error
		if redisServer, err = redistest.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer redisServer.Close()
		if pgServer, err = sqltestdb.RunPostgres(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer pgServer.Close()
		if myServer, err = sqltestdb.RunMariaDB(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer myServer.Close()
		return m.Run()
	}())
}

// base is one database to test on: a way to dial it.
type base struct {
	dialect string
	dsn     string
}

func (b base) connector(t testing.TB) driver.Connector {
	t.Helper()
	c, err := dial(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type sqliteConnector struct{ dsn string }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	return (&sqlitedriver.Driver{}).Open(c.dsn)
}
func (c sqliteConnector) Driver() driver.Driver { return &sqlitedriver.Driver{} }

func dial(b base) (driver.Connector, error) {
	switch b.dialect {
	case "postgres":
		cfg, err := pgx.ParseConfig(b.dsn)
		if err != nil {
			return nil, err
		}
		return stdlib.GetConnector(*cfg), nil
	case "mysql":
		cfg, err := mysqldriver.ParseDSN(b.dsn)
		if err != nil {
			return nil, err
		}
		return mysqldriver.NewConnector(cfg)
	}
	return sqliteConnector{b.dsn}, nil
}

func (b base) plain(t testing.TB) *sql.DB {
	db := sql.OpenDB(b.connector(t))
	t.Cleanup(func() { db.Close() })
	return db
}

// bases runs f on a fresh database of each kind.
func bases(t *testing.T, f func(t *testing.T, b base)) {
	for _, d := range []string{"postgres", "mysql", "sqlite"} {
		t.Run(d, func(t *testing.T) { f(t, newBase(t, d)) })
	}
}

func newBase(t testing.TB, dialect string) base {
	t.Helper()
	name := fmt.Sprintf("t%d_%d", os.Getpid(), serial.Add(1))
	switch dialect {
	case "postgres":
		admin := base{dialect, fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", pgServer.Addr())}
		await(t, admin.plain(t))
		must(t, admin.plain(t), "CREATE DATABASE "+name)
		return base{dialect, strings.Replace(admin.dsn, "/postgres?", "/"+name+"?", 1)}
	case "mysql":
		admin := base{dialect, fmt.Sprintf("root@tcp(%s)/?parseTime=true", myServer.Addr())}
		await(t, admin.plain(t))
		must(t, admin.plain(t), "CREATE DATABASE "+name)
		t.Cleanup(func() { // its tables are in the catalog of every other
			if c, err := dial(admin); err == nil {
				db := sql.OpenDB(c)
				defer db.Close()
				db.Exec("DROP DATABASE " + name)
			}
		})
		return base{dialect, strings.Replace(admin.dsn, "/?", "/"+name+"?", 1)}
	}
	return base{dialect, "file:" + filepath.Join(t.TempDir(), name+".db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=foreign_keys(1)"}
}

func await(t testing.TB, db *sql.DB) {
	t.Helper()
	var err error
	for range 200 {
		if err = db.Ping(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}

func must(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func newTracker(t testing.TB) (*invalidate.Tracker, *redis.Client) {
	t.Helper()
	rdb := redisServer.Client(t)
	tr, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{Slots: 1 << 14, Notify: notify.Options{Heartbeat: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr, rdb
}

// open returns a cached db on b, as one more process would have it.
func open(t testing.TB, b base, change ...func(*sqlcache.Options)) (*sql.DB, *sqlcache.Connector) {
	t.Helper()
	tr, rdb := newTracker(t)
	opts := sqlcache.Options{Redis: rdb}
	for _, c := range change {
		c(&opts)
	}
	c, err := sqlcache.New(t.Context(), b.connector(t), tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	trackers.Store(c, tr)
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db, c
}

var trackers sync.Map // *sqlcache.Connector -> *invalidate.Tracker

// fence makes c see all that was announced before.
func fence(t testing.TB, c *sqlcache.Connector) error {
	tr, _ := trackers.Load(c)
	return tr.(*invalidate.Tracker).Fence(t.Context())
}
