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

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
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
	if os.Getenv(partEnv) != "" {
		serve()
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
		if myServer, err = sqltestdb.RunMySQL(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer myServer.Close()
		return m.Run()
	}())
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
		admin := base{dialect: dialect, dsn: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", pgServer.Addr())}
		await(t, admin.plain(t))
		must(t, admin.plain(t), "CREATE DATABASE "+name)
		return base{dialect: dialect, dsn: strings.Replace(admin.dsn, "/postgres?", "/"+name+"?", 1)}
	case "mysql":
		admin := base{dialect: dialect, dsn: fmt.Sprintf("root@tcp(%s)/?parseTime=true", myServer.Addr())}
		await(t, admin.plain(t))
		must(t, admin.plain(t), "CREATE DATABASE "+name)
		t.Cleanup(func() { // its tables are in the catalog of every other
			if c, err := dial(admin); err == nil {
				db := sql.OpenDB(c)
				defer db.Close()
				db.Exec("DROP DATABASE " + name)
			}
		})
		return base{dialect: dialect, dsn: strings.Replace(admin.dsn, "/?", "/"+name+"?", 1)}
	}
	return base{dialect: dialect, dsn: "file:" + filepath.Join(t.TempDir(), name+".db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=foreign_keys(1)"}
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

// connect makes what a process of a service has: a tracker, and a connector around inner. Heartbeats are fast; a gap is
// not made of a busy machine.
func connect(ctx context.Context, rdb redis.UniversalClient, inner driver.Connector, opts sqlcache.Options) (*sql.DB, *sqlcache.Connector, *invalidate.Tracker, error) {
	var sentinels *redis.FailoverOptions
	if g, ok := rdb.(*watched); ok {
		rdb, sentinels = g.Client, g.sentinels
	}
	tr, err := invalidate.Connect(ctx, rdb, invalidate.Options{Slots: 1 << 14, Notify: notify.Options{
		Sentinel: sentinels, Heartbeat: 50 * time.Millisecond, PongTimeout: time.Second, Backoff: func(int) time.Duration { return 20 * time.Millisecond }}})
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := sqlcache.New(ctx, inner, tr, opts)
	if err != nil {
		tr.Close()
		return nil, nil, nil, err
	}
	return sql.OpenDB(c), c, tr, nil
}

// watched is a client of a primary that Sentinels choose, and how to find them.
type watched struct {
	*redis.Client
	sentinels *redis.FailoverOptions
}

// open returns a cached db on b, as one more process would have it.
func open(t testing.TB, b base, change ...func(*sqlcache.Options)) (*sql.DB, *sqlcache.Connector) {
	t.Helper()
	return openWith(t, redisServer.Client(t), b.connector(t), guard.Plan{}, change...)
}

// openWith is open with a Redis, a connector inside and a plan of the test's choice.
func openWith(t testing.TB, rdb redis.UniversalClient, inner driver.Connector, plan guard.Plan, change ...func(*sqlcache.Options)) (*sql.DB, *sqlcache.Connector) {
	t.Helper()
	opts := sqlcache.Options{MaxStaleness: 10 * time.Second} // a busy machine is no reason for a miss
	for _, c := range change {
		c(&opts)
	}
	db, c, tr, err := connect(guard.With(t.Context(), plan), rdb, inner, opts)
	if err != nil {
		t.Fatal(err)
	}
	trackers.Store(c, tr)
	t.Cleanup(func() {
		db.Close()
		tr.Close()
	})
	return db, c
}

var trackers sync.Map // *sqlcache.Connector -> *invalidate.Tracker

// fence makes c see all that was announced before.
func fence(t testing.TB, c *sqlcache.Connector) error {
	return trackerOf(c).Fence(t.Context())
}

func trackerOf(c *sqlcache.Connector) *invalidate.Tracker {
	tr, _ := trackers.Load(c)
	return tr.(*invalidate.Tracker)
}

// serves waits until query is answered from memory.
func serves(t testing.TB, db *sql.DB, c *sqlcache.Connector, query string, args ...any) {
	t.Helper()
	remembered(t, c, 1, func() { one[int](t, db, query, args...) })
}

// remembered repeats reads until memory answers n of them: a mark of what came before may still stand, and on a busy
// machine Redis may be too slow to tell of marks, or the database of its catalog.
func remembered(t testing.TB, c *sqlcache.Connector, n uint64, reads func()) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); hits(c, reads) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("memory does not serve")
		}
	}
}
