package pgfollow

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
)

// servers are what all worlds of a test are in.
type servers struct {
	pg    *sqltestdb.Server
	rd    *redistest.Server
	admin *sql.DB
	made  atomic.Int32
}

func start(t *testing.T) *servers {
	s := &servers{pg: sqltestdb.Postgres(t), rd: redistest.Start(t)}
	s.admin = s.plain(t, "postgres")
	for range 200 {
		if s.admin.Ping() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s
}

func (s *servers) dsn(database string) string {
	return "postgres://postgres@" + s.pg.Addr() + "/" + database + "?sslmode=disable"
}

func (s *servers) connector(t *testing.T, database string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.dsn(database))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (s *servers) plain(t *testing.T, database string) *sql.DB {
	t.Helper()
	db := sql.OpenDB(stdlib.GetConnector(*s.connector(t, database)))
	t.Cleanup(func() { db.Close() })
	return db
}

// world is a database that a foreign writer writes to, what sqlcache remembers of it, and a follower.
type world struct {
	t     *testing.T
	plain *sql.DB // the foreign writer's
	db    *sql.DB
	c     *sqlcache.Connector
	tr    *invalidate.Tracker
	f     *Follower
}

// world makes a database by schema, which makes the publication too.
func (s *servers) world(t *testing.T, schema ...string) *world {
	t.Helper()
	database := fmt.Sprint("w", s.made.Add(1))
	if _, err := s.admin.Exec("CREATE DATABASE " + database); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, plain: s.plain(t, database)}
	w.do(schema...)
	var err error
	if w.tr, err = invalidate.Connect(t.Context(), s.rd.Client(t), invalidate.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.tr.Close() })
	// A busy machine is no reason for a miss, nor is a catalog that is read in the middle.
	opts := sqlcache.Options{MaxStaleness: time.Minute, CatalogEvery: time.Hour}
	if w.c, err = sqlcache.New(t.Context(), stdlib.GetConnector(*s.connector(t, database)), w.tr, opts); err != nil {
		t.Fatal(err)
	}
	w.db = sql.OpenDB(w.c)
	t.Cleanup(func() { w.db.Close() })
	if w.f, err = Follow(t.Context(), w.c, Options{DSN: s.dsn(database), Every: 20 * time.Millisecond, Retry: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.f.Close() })
	return w
}

func (w *world) do(queries ...string) {
	w.t.Helper()
	for _, q := range queries {
		if _, err := w.plain.Exec(q); err != nil {
			w.t.Fatalf("%s: %v", q, err)
		}
	}
}

// heard waits until all that was committed before has been announced, here too.
func (w *world) heard() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.f.Fence(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.tr.Fence(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// answer is all that a query gives, as one text.
func (w *world) answer(db *sql.DB, query string) string {
	w.t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	var b strings.Builder
	for rows.Next() {
		values, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintln(&b, values)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return b.String()
}

// remembers reads query until it is answered from memory.
func (w *world) remembers(query string) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		before := w.c.Stats().Hits
		if w.answer(w.db, query); w.c.Stats().Hits > before {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s is not in memory: %+v", query, w.c.Explain(query))
		}
	}
}

// stays reports whether query is answered from memory, and holds the answer against the database.
func (w *world) stays(query, after string) bool {
	w.t.Helper()
	before := w.c.Stats().Hits
	got, want := w.answer(w.db, query), w.answer(w.plain, query)
	stayed := w.c.Stats().Hits > before
	if got != want {
		w.t.Errorf("after %s\n%s: given\n%sin the database\n%s", after, query, got, want)
	}
	return stayed
}

// A fence has the lag measured for itself, and has it looked at though the server says nothing; also of a commit that the server
// had yet to write out when it was asked. (Seen to fail with a measurement that no fence wakes, and with one that does not
// wake who waits for the server.)
func TestFenceAtOnce(t *testing.T) {
	s := start(t)
	w := s.world(t, "CREATE TABLE a (id INT PRIMARY KEY)", "CREATE PUBLICATION freshet FOR ALL TABLES",
		"ALTER DATABASE w1 SET synchronous_commit = off")
	w.f.Close()
	f, err := Follow(t.Context(), w.c, Options{DSN: s.dsn("w1"), Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 5 {
		if err := f.Fence(ctx); err != nil {
			t.Fatalf("while nothing happens: %v", err)
		}
	}
	for i := range 10 {
		w.do(fmt.Sprintf("INSERT INTO a VALUES (%d)", i))
		if err := f.Fence(ctx); err != nil {
			t.Fatalf("fence %d: %v", i, err)
		}
		if n := f.Commits(); n != uint64(i+1) {
			t.Errorf("%d commits were heard of %d", n, i+1)
		}
	}
}
