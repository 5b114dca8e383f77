package pgfollow

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
)

// Changes made around sqlcache are heard: single rows, cascades, partitions, truncation, tables made later; and after the
// server has cut the connection everything falls.
func TestFollow(t *testing.T) {
	leak.Check(t)
	pg, rd := sqltestdb.Postgres(t), redistest.Start(t)
	dsn := "postgres://postgres@" + pg.Addr() + "/postgres?sslmode=disable"
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	plain := sql.OpenDB(stdlib.GetConnector(*cfg))
	defer plain.Close()
	for range 200 {
		if err = plain.Ping(); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	do := func(queries ...string) {
		t.Helper()
		for _, q := range queries {
			if _, err := plain.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	do("CREATE TABLE a (id INT PRIMARY KEY, v INT)", "CREATE TABLE b (id INT PRIMARY KEY, a INT REFERENCES a ON DELETE CASCADE)",
		"INSERT INTO a VALUES (1, 1)", "INSERT INTO b VALUES (1, 1)")
	rdb := rd.Client(t)
	tr, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	c, err := sqlcache.New(t.Context(), stdlib.GetConnector(*cfg), tr, sqlcache.Options{MaxStaleness: 10 * time.Second}) // a busy machine is no reason for a miss
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	p := faultproxy.New(t, pg.Addr())
	dsn = strings.Replace(dsn, pg.Addr(), p.Addr(), 1) // the follower's

	if _, err := Follow(t.Context(), c, Options{DSN: dsn, Publication: "it's"}); err == nil {
		t.Error("a quote was taken")
	}
	do("CREATE PUBLICATION freshet FOR ALL TABLES")
	f, err := Follow(t.Context(), c, Options{DSN: dsn, Retry: 50 * time.Millisecond, Every: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	sees := func(query string, want int) {
		t.Helper()
		var got int
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if err := db.QueryRow(query).Scan(&got); err == nil && got == want {
				return
			}
		}
		t.Fatalf("%s: %d, want %d", query, got, want)
	}
	gone := func(query string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			var v int
			if err := db.QueryRow(query).Scan(&v); errors.Is(err, sql.ErrNoRows) {
				return
			}
		}
		t.Fatalf("%s still has a row", query)
	}
	inMemory := func(query string) {
		t.Helper()
		var v int
		db.QueryRow(query).Scan(&v)
		before := c.Stats().Hits
		db.QueryRow(query).Scan(&v)
		if c.Stats().Hits == before {
			t.Fatalf("%s is not in memory", query)
		}
	}
	stays := func(query string) {
		t.Helper()
		var v int
		before := c.Stats().Loads
		if err := db.QueryRow(query).Scan(&v); err != nil || c.Stats().Loads != before {
			t.Fatalf("%s has fallen (%v)", query, err)
		}
	}
	// One row falls alone, by whichever key it had; what was added makes no row fall that was there. (Seen to fail with the
	// old key forgotten, and with an added row passed over.)
	do("INSERT INTO a VALUES (2, 2), (3, 3)")
	sees("SELECT count(*) FROM a", 3)
	inMemory("SELECT v FROM a WHERE id = 1")
	inMemory("SELECT v FROM a WHERE id = 3")
	inMemory("SELECT count(*) FROM a WHERE v > 2")
	do("UPDATE a SET v = 7 WHERE id = 3")
	sees("SELECT v FROM a WHERE id = 3", 7)
	stays("SELECT v FROM a WHERE id = 1")
	inMemory("SELECT v FROM a WHERE id = 3")
	do("UPDATE a SET id = 4 WHERE id = 3")
	gone("SELECT v FROM a WHERE id = 3")
	gone("SELECT v FROM a WHERE id = 5")
	do("INSERT INTO a VALUES (5, 5)")
	sees("SELECT v FROM a WHERE id = 5", 5)
	stays("SELECT v FROM a WHERE id = 1")
	do("DELETE FROM a WHERE id > 1")
	gone("SELECT v FROM a WHERE id = 5")
	stays("SELECT v FROM a WHERE id = 1")

	do("UPDATE a SET v = 2")
	sees("SELECT v FROM a WHERE id = 1", 2)
	inMemory("SELECT count(*) FROM b")
	do("DELETE FROM a")
	sees("SELECT count(*) FROM b", 0)
	do("INSERT INTO a VALUES (1, 5)")
	sees("SELECT count(*) FROM a", 1)
	inMemory("SELECT count(*) FROM a")
	do("TRUNCATE a CASCADE")
	sees("SELECT count(*) FROM a", 0)

	// While the stream says nothing the lag is at least as long as that, though the server answers on other connections; and
	// it is short again when it has caught up. (Seen to fail with a mark taken for reached when it is asked, and with a fence that
	// does not wait.)
	stream := p.Having("START_REPLICATION")
	stream.Hold(faultproxy.ToClient)
	silent := time.Now()
	do("INSERT INTO a VALUES (1, 6)")
	for time.Since(silent) < time.Second {
		if least, lag := time.Since(silent), f.Staleness(); lag < least {
			t.Fatalf("the lag is said to be %v after %v of silence", lag, least)
		}
		time.Sleep(5 * time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.Fence(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fence while the stream says nothing: %v", err)
	}
	stream.Release(faultproxy.ToClient)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := errors.Join(f.Fence(ctx), tr.Fence(ctx)); err != nil {
		t.Fatal(err)
	}
	var behind int
	if err := db.QueryRow("SELECT count(*) FROM a").Scan(&behind); err != nil || behind != 1 {
		t.Errorf("behind both fences: %d, %v", behind, err)
	}
	for end := time.Now().Add(20 * time.Second); f.Staleness() > 500*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the lag is %v long after the stream has caught up", f.Staleness())
		}
	}
	sees("SELECT count(*) FROM a", 1)
	inMemory("SELECT count(*) FROM a")
	n := f.Commits()
	do("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
	do("INSERT INTO a VALUES (2, 6)")
	sees("SELECT count(*) FROM a", 2)
	if n == 0 {
		t.Error("nothing was counted")
	}
	for end := time.Now().Add(20 * time.Second); !f.Following(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not follow again")
		}
	}
	f.Close()
	if err := f.Fence(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a fence after Close: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {DSN: "x", Publication: "'"}, {DSN: "x", Retry: -1}, {DSN: "x", Every: -1}} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Follow(context.Background(), nil, Options{DSN: "x"}); err == nil {
		t.Error("nil was taken")
	}
}

func TestPosition(t *testing.T) {
	if got, err := position("16/B374D848"); got != 0x16B374D848 || err != nil {
		t.Errorf("%x, %v", got, err)
	}
	for _, s := range []string{"", "16", "16/", "x/1", "100000000/0", "0/100000000"} {
		if _, err := position(s); err == nil {
			t.Errorf("%q is read as a position", s)
		}
	}
}

// What a server sends must not bring the follower down.
func FuzzChange(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x01public\x00a\x00"))
	f.Add([]byte("R\x00\x00\x00\x01public\x00a\x00d\x00\x01\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff"))
	f.Add([]byte("I\x00\x00\x00\x01N"))
	f.Add([]byte("U\x00\x00\x00\x01K\x00\x01t\x00\x00\x00\x011N\x00\x01t\x00\x00\x00\x012"))
	f.Add(append([]byte{'T'}, binary.BigEndian.AppendUint32(nil, 1<<31)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && b[0] == 'C' {
			return // asks the cache
		}
		a := &table{schema: "public", name: "a", identity: 'd', columns: []column{{name: "id", kind: int4Type, told: true}}}
		s := &session{tables: map[uint32]*table{1: a}, changed: map[[2]string]*changes{}}
		s.change(context.Background(), b)
	})
}
