package pgxcache

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

var (
	redisServer *redistest.Server
	pgServer    *sqltestdb.Server
	serial      atomic.Int64
)

// The servers are shared by all tests; each has a database of its own.
func TestMain(m *testing.M) {
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
		return m.Run()
	}())
}

func dsnOf(s *sqltestdb.Server, database string) string {
	return "postgres://postgres@" + s.Addr() + "/" + database + "?sslmode=disable"
}

// newBase makes a database and returns a plain pool of it.
func newBase(t testing.TB, queries ...string) *pgxpool.Pool {
	t.Helper()
	admin := newPool(t, dsnOf(pgServer, "postgres"))
	name := fmt.Sprintf("t%d", serial.Add(1))
	must(t, admin, "CREATE DATABASE "+name)
	pool := newPool(t, dsnOf(pgServer, name))
	must(t, pool, queries...)
	return pool
}

func newPool(t testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 16
	for _, c := range change {
		c(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func must(t testing.TB, db execer, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := db.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func newTracker(t testing.TB) *invalidate.Tracker {
	t.Helper()
	tr, err := invalidate.Connect(t.Context(), redisServer.Client(t), invalidate.Options{Slots: 1 << 14, Notify: notify.Options{
		Heartbeat: 50 * time.Millisecond, PongTimeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// instance is what one process has.
type instance struct {
	*DB
	pool    *pgxpool.Pool
	tracker *invalidate.Tracker
}

// open returns a cached DB on base's database, as one more process would have it.
func open(t testing.TB, base *pgxpool.Pool, change ...func(*Options)) *instance {
	t.Helper()
	return openOn(t, t.Context(), newPool(t, base.Config().ConnString()), change...)
}

func openOn(t testing.TB, ctx context.Context, pool *pgxpool.Pool, change ...func(*Options)) *instance {
	t.Helper()
	tr := newTracker(t)
	opts := Options{MaxStaleness: 10 * time.Second} // a busy machine is no reason for a miss
	for _, c := range change {
		c(&opts)
	}
	db, err := New(ctx, pool, tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &instance{db, pool, tr}
}

func (i *instance) hits(f func()) uint64 {
	before := i.Stats().Hits
	f()
	return i.Stats().Hits - before
}

type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func one[T any](t testing.TB, db queryer, sql string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// keeps reads until memory answers, which a mark that is still standing may put off.
func (i *instance) keeps(t testing.TB, sql string, args ...any) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if i.hits(func() {
			rows, err := i.Query(t.Context(), sql, args...)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
			}
		}) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not kept: %v %+v", sql, i.Explain(sql), i.Stats())
		}
	}
}

func words(s string) []string { return strings.Split(s, "|") }
