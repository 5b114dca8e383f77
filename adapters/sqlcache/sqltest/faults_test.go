package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

// openOn is open with a Redis of the test's own and a connector of its choice.
func openOn(t testing.TB, rd *redistest.Server, inner driver.Connector, change ...func(*sqlcache.Options)) (*sql.DB, *sqlcache.Connector) {
	t.Helper()
	rdb := rd.Client(t, func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 })
	fresh := func(o *sqlcache.Options) { o.MaxStaleness = bound }
	return openWith(t, rdb, inner, guard.Plan{}, append([]func(*sqlcache.Options){fresh}, change...)...)
}

// With Redis down a write is refused before it is sent, and a transaction rolled back; reads go on. With BoundedWrite
// writes go on, and other processes are no older than Lease + MaxStaleness.
func TestRedisDown(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
		rd := redistest.Start(t)
		strict, _ := openOn(t, rd, b.connector(t))
		bounded := func(o *sqlcache.Options) { o.OnRedisDown, o.Lease = sqlcache.BoundedWrite, time.Second }
		lax, _ := openOn(t, rd, b.connector(t), bounded)
		other, oc := openOn(t, rd, b.connector(t), bounded)
		q := "SELECT v FROM t WHERE id = 1"
		for _, db := range []*sql.DB{strict, lax, other} {
			one[int](t, db, q)
		}
		rd.Kill()
		if _, err := strict.Exec("UPDATE t SET v = 2"); !errors.Is(err, sqlcache.ErrNotMarked) {
			t.Errorf("a write with Redis down: %v", err)
		}
		tx, err := strict.Begin()
		if err != nil {
			t.Fatal(err)
		}
		must(t, tx, "UPDATE t SET v = 2")
		if err := tx.Commit(); !errors.Is(err, sqlcache.ErrNotMarked) {
			t.Errorf("a commit with Redis down: %v", err)
		}
		if got := one[int](t, b.plain(t), q); got != 1 {
			t.Errorf("a refused write was written: %d", got)
		}
		must(t, lax, "UPDATE t SET v = 3")
		if got := one[int](t, lax, q); got != 3 {
			t.Errorf("own write: %d", got)
		}
		time.Sleep(time.Second + bound)
		if got := one[int](t, other, q); got != 3 {
			t.Errorf("another process reads %d beyond Lease + MaxStaleness", got)
		}
		if err := rd.Restart(); err != nil {
			t.Fatal(err)
		}
		serves(t, other, oc, q)
	})
}

// Redis says nothing, on connections that wait for ever: reads are answered by the database, a write is refused and Close
// does not hang. Hangs when load waits for its marks however long that takes, and when a write does.
func TestRedisSilent(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	proxy := faultproxy.New(t, redisServer.Addr())
	rdb := redisServer.Client(t, func(o *redis.Options) {
		o.Addr, o.MaxRetries, o.ReadTimeout, o.WriteTimeout = proxy.Addr(), -1, -1, -1
	})
	db, c := openWith(t, rdb, b.connector(t), guard.Plan{})
	q := "SELECT v FROM t WHERE id = 1"
	serves(t, db, c, q)
	proxy.Hold(faultproxy.ToClient)
	for range 20 { // before and after the tracker has noticed
		if got := one[int](t, db, q+" AND v < "+strconv.Itoa(2+rand.IntN(1e9))); got != 1 {
			t.Fatal(got)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := db.Exec("UPDATE t SET v = 2"); !errors.Is(err, sqlcache.ErrNotMarked) {
		t.Errorf("a write: %v", err)
	}
	if got := one[int](t, b.plain(t), q); got != 1 {
		t.Errorf("a refused write was written: %d", got)
	}
	proxy.Cut(faultproxy.RST) // or Close waits for an answer
	proxy.Release(faultproxy.ToClient)
	must(t, db, "UPDATE t SET v = 3")
	if got := one[int](t, db, q); got != 3 {
		t.Errorf("own write: %d", got)
	}
	serves(t, db, c, q)
}

// With StartDown and a Redis that says nothing New does not wait for it. Hangs when New asks for rights all the same.
func TestStartWithSilentRedis(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	proxy := faultproxy.New(t, redisServer.Addr())
	proxy.Hold(faultproxy.ToClient)
	rdb := redisServer.Client(t, func(o *redis.Options) {
		o.Addr, o.MaxRetries, o.ReadTimeout, o.WriteTimeout = proxy.Addr(), -1, -1, -1
	})
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	tr, err := invalidate.Connect(soon, rdb, invalidate.Options{Notify: notify.Options{StartDown: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	c, err := sqlcache.New(t.Context(), b.connector(t), tr, sqlcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	if got := one[int](t, db, "SELECT v FROM t"); got != 1 {
		t.Error(got)
	}
	proxy.Cut(faultproxy.RST)
	proxy.Release(faultproxy.ToClient)
	serves(t, db, c, "SELECT v FROM t")
}

// The README's rights are enough; without one of those that marks take New says so, for nothing would ever be kept.
func TestRedisRights(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	rules := "+psubscribe +ping +hello +client +info +role +config|get +config|set +publish +get +set +zadd +zrem +zrange " +
		"~freshet:* &__keyspace@0__:* &__keyspace@*__:freshet:mended"
	for _, missing := range []string{"", "+zadd", "+zrem", "+zrange"} {
		s := redistest.Start(t)
		s.AddUser(t, "app", append(strings.Fields(strings.ReplaceAll(rules, missing+" ", " ")), "on", ">secret")...)
		rdb := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
		db, c, tr, err := connect(t.Context(), rdb, b.connector(t), sqlcache.Options{})
		if missing != "" {
			if err == nil || !strings.Contains(err.Error(), "ACL SETUSER app +zadd +zrem +zrange") {
				t.Errorf("without %s: %v", missing, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		defer db.Close()
		serves(t, db, c, "SELECT v FROM t")
		must(t, db, "UPDATE t SET v = 2")
		serves(t, db, c, "SELECT v FROM t")
	}
}

// What costs most of the use and is likely a mistake is told at the start.
func TestComplaints(t *testing.T) {
	b := newBase(t, "mysql")
	admin := b.plain(t)
	must(t, admin, "CREATE TABLE t (id INT)", "CREATE USER IF NOT EXISTS lean@'127.0.0.1'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO lean@'127.0.0.1'")
	b.dsn = strings.Replace(b.dsn, "root@", "lean@", 1)
	var log lockedBuffer
	open(t, b, func(o *sqlcache.Options) {
		o.Tables, o.Logger = []string{"t", "no_such"}, slog.New(slog.NewTextHandler(&log, nil))
	})
	for _, want := range []string{"no_such", "GRANT TRIGGER"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing said of %s: %s", want, log.String())
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A Redis that lost its data lost the marks: nothing is stored for a lease. Without the quarantine there are hits.
func TestRedisFlushed(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	rd := redistest.Start(t)
	db, c := openOn(t, rd, b.connector(t), func(o *sqlcache.Options) { o.Lease = 2 * time.Second })
	q := "SELECT v FROM t"
	one[int](t, db, q)
	rd.Client(t).FlushAll(t.Context())
	began := time.Now()
	fence(t, c)
	n := hits(c, func() {
		for time.Since(began) < 1800*time.Millisecond {
			one[int](t, db, q)
			time.Sleep(5 * time.Millisecond)
		}
	})
	if n != 0 {
		t.Errorf("%d hits within a lease of the loss", n)
	}
	serves(t, db, c, q)
}

// meet is a hook that lets the first two ZRANGE go on when both have their answers.
type meet struct {
	n    atomic.Int32
	both chan struct{}
}

func (m *meet) DialHook(next redis.DialHook) redis.DialHook { return next }
func (m *meet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (m *meet) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "zrange" {
			if m.n.Add(1) == 2 {
				close(m.both)
			}
			<-m.both
		}
		return err
	}
}

// The first loads of a process all find that nothing is in Redis yet, and nothing is lost.
// Seen to fail with what is known after the look in place of what was known before.
func TestFirstLoads(t *testing.T) {
	b := newBase(t, "sqlite")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	rdb := redistest.Start(t).Client(t)
	db, c := openWith(t, rdb, b.connector(t), guard.Plan{}, func(o *sqlcache.Options) { o.Lease = time.Hour })
	rdb.AddHook(&meet{both: make(chan struct{})})
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			var v int
			if err := db.QueryRow(fmt.Sprintf("SELECT v + %d FROM t", i)).Scan(&v); err != nil || v != i+1 {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	all.Wait()
	serves(t, db, c, "SELECT v FROM t")
}

// With the database down what is in memory is served, and the rest fails as the driver says.
func TestDatabaseDown(t *testing.T) {
	pg, rd := sqltestdb.Postgres(t), redistest.Start(t)
	b := base{dialect: "postgres", dsn: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", pg.Addr())}
	await(t, b.plain(t))
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	db, c := openOn(t, rd, b.connector(t), func(o *sqlcache.Options) { o.MaxStaleness = 10 * time.Second })
	q := "SELECT v FROM t WHERE id = $1"
	serves(t, db, c, q, 1)
	pg.Kill()
	if n := hits(c, func() { one[int](t, db, q, 1) }); n != 1 {
		t.Error("not served from memory")
	}
	// A PostgreSQL whose first process is dead takes a moment to end the others.
	err := sql.ErrNoRows
	for id, end := 2, time.Now().Add(20*time.Second); errors.Is(err, sql.ErrNoRows) && time.Now().Before(end); id++ {
		err = db.QueryRow(q, id).Scan(new(int))
	}
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Error("a database that is down answered:", err)
	}
}

// lossy commits and then loses the connection before the answer.
type lossy struct {
	slow
	on *atomic.Bool
}

func (l lossy) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := l.slow.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &lossyConn{slowConn: c.(*slowConn), on: l.on}, nil
}

type lossyConn struct {
	*slowConn
	on   *atomic.Bool
	lost bool
}

func (c *lossyConn) IsValid() bool { return !c.lost }

func (c *lossyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	if c.lost {
		return nil, driver.ErrBadConn
	}
	return c.slowConn.QueryContext(ctx, q, args)
}

func (c *lossyConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.slowConn.BeginTx(ctx, o)
	return lossyTx{tx, c}, err
}

type lossyTx struct {
	driver.Tx
	c *lossyConn
}

func (t lossyTx) Commit() error {
	err := t.Tx.Commit()
	if t.c.on.Load() {
		t.c.lost = true
		return io.ErrUnexpectedEOF
	}
	return err
}

// A commit whose outcome is not known counts as one, here and elsewhere; its mark stays until its session has ended, and
// then memory serves again. Without the resolver it never does.
func TestUnknownOutcome(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
		on := new(atomic.Bool)
		rd := redistest.Start(t)
		short := func(o *sqlcache.Options) { o.Lease = lease }
		db, c := openOn(t, rd, lossy{slow{b.connector(t), time.Microsecond}, on}, short)
		other, oc := openOn(t, rd, b.connector(t), short)
		q := "SELECT v FROM t WHERE id = 1"
		one[int](t, db, q)
		one[int](t, other, q)
		on.Store(true)
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		must(t, tx, "UPDATE t SET v = 2")
		if err := tx.Commit(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if got := one[int](t, db, q); got != 2 {
			t.Errorf("own unknown write: %d", got)
		}
		fence(t, oc)
		if got := one[int](t, other, q); got != 2 {
			t.Errorf("another process: %d", got)
		}
		serves(t, db, c, q)
		serves(t, other, oc, q)
	})
}

// What is built from rows falls with their tables, whether the rows came from memory or not; what is built from rows that
// nobody tells of is not kept.
func TestBuiltFromRows(t *testing.T) {
	b := newBase(t, "postgres")
	must(t, b.plain(t), "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1)")
	rd := redistest.Start(t)
	db, c := openOn(t, rd, b.connector(t))
	loads := 0
	query := "SELECT v FROM t WHERE id = $1"
	built, err := cache.New(trackerOf(c), cache.Options[int, int]{NoKey: true, MaxEntries: 10, Load: func(ctx context.Context, id int) (v int, err error) {
		loads++
		err = db.QueryRowContext(ctx, query, id).Scan(&v)
		return v, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	for range 3 {
		if v, err := built.Get(t.Context(), 1); err != nil || v != 1 {
			t.Fatal(v, err)
		}
	}
	if loads != 1 {
		t.Errorf("%d loads", loads)
	}
	must(t, db, "UPDATE t SET v = 2")
	if v, _ := built.Get(t.Context(), 1); v != 2 {
		t.Errorf("built from old rows: %d", v)
	}
	query = "SELECT v FROM t WHERE id = $1 AND random() >= 0"
	loads = 0
	built.Get(t.Context(), 2)
	must(t, db, "UPDATE t SET v = 3")
	built.Get(t.Context(), 1)
	built.Get(t.Context(), 1)
	if loads < 3 {
		t.Errorf("%d loads: what rests on untold rows was kept", loads)
	}
}

func TestRefused(t *testing.T) {
	b := newBase(t, "mysql")
	_, c := open(t, b)
	tr := trackerOf(c)
	bad := base{dialect: "mysql", dsn: b.dsn + "&autocommit=0"}
	if _, err := sqlcache.New(t.Context(), bad.connector(t), tr, sqlcache.Options{}); !errors.Is(err, sqlcache.ErrUnfit) {
		t.Error("autocommit off:", err)
	}
	bad.dsn = b.dsn + b.reading(t, "READ-UNCOMMITTED")
	if _, err := sqlcache.New(t.Context(), bad.connector(t), tr, sqlcache.Options{}); !errors.Is(err, sqlcache.ErrUnfit) {
		t.Error("uncommitted reads:", err)
	}
	for _, o := range []sqlcache.Options{{Tables: []string{}}, {MaxConns: -1}, {Lease: 1},
		{OnRedisDown: 7}, {MaxRows: -1}, {CatalogEvery: -1}} {
		if _, err := sqlcache.New(t.Context(), b.connector(t), tr, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	// Marks that are read from a cache say nothing.
	caching := redisServer.Client(t, func(o *redis.Options) {
		o.Protocol, o.ClientSideCacheConfig = 3, &redis.ClientSideCacheConfig{MaxEntries: 10}
	})
	cached, err := invalidate.Connect(t.Context(), caching, invalidate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close()
	if _, err := sqlcache.New(t.Context(), b.connector(t), cached, sqlcache.Options{}); !errors.Is(err, invalidate.ErrWrongClient) {
		t.Error("a client that caches by itself:", err)
	}
}
