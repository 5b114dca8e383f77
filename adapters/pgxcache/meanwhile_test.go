package pgxcache

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

const (
	bump  = "UPDATE t SET id = id + 1"
	fired = "SELECT n FROM u"
	fires = "CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tr()"
)

// triggered is a table t, and a function that waits for advisory lock 7 and writes u.
func triggered() []string {
	return []string{"CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)", "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0)",
		`CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock(7); UPDATE u SET n = n + 1; RETURN NEW; END'`}
}

// A write was understood before somebody's DDL, waits for it, and fires a trigger that nobody knew of then. What the
// trigger wrote is seen. Seen to fail with a holding that always says yes.
func TestTriggerMadeMeanwhile(t *testing.T) {
	for _, c := range []struct{ processes, way string }{{"several", "tx"}, {"several", "alone"}, {"one", "tx"}, {"one", "alone"}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			base := newBase(t, triggered()...)
			writer := open(t, base)
			maker, reader := writer, writer
			if c.processes == "several" {
				maker, reader = open(t, base), open(t, base)
			}
			holder, err := base.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer holder.Release()
			must(t, holder, "SELECT pg_advisory_lock(7)")
			ddl, err := maker.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			must(t, ddl, fires)
			var tx pgx.Tx
			on := execer(writer)
			if c.way == "tx" {
				if tx, err = writer.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				on = tx
			}
			done := make(chan error, 1)
			go func() { _, err := on.Exec(context.Background(), bump); done <- err }()
			waits(t, base, "relation")
			if err := ddl.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			waits(t, base, "advisory")
			reader.keeps(t, fired)
			must(t, holder, "SELECT pg_advisory_unlock(7)")
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if tx != nil {
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := reader.tracker.Fence(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := one[int](t, reader, fired), one[int](t, base, fired); got != 1 || got != want {
				t.Errorf("%d from memory, %d in the database, want 1", got, want)
			}
		})
	}
}

// waits returns when somebody waits for a lock of that kind.
func waits(t *testing.T, base queryer, kind string) {
	t.Helper()
	for one[int](t, base, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = $1", kind) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
}

// A catalog that is read between the mark of DDL and its commit falls only with the touch after it. A transaction that
// went by it, and commits after that touch, sees the mark. Seen to fail with stands saying no.
func TestCatalogReadUnderMark(t *testing.T) {
	base := newBase(t, triggered()...)
	maker, made := openStops(t, base, "marked", "committed")
	writer, written := openStops(t, base, "marked")
	reader := open(t, base)
	done := make(chan error, 2)
	go func() { _, err := maker.Exec(context.Background(), fires); done <- err }()
	<-made.at // marked
	if err := writer.tracker.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx, err := writer.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x := writer.Explain(bump); len(x.Writes) != 1 {
		t.Fatalf("it is known to write more before the trigger is there: %v", x)
	}
	made.on <- true
	<-made.at // committed
	must(t, tx, bump)
	go func() { done <- tx.Commit(context.Background()) }()
	<-written.at // marked
	made.on <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := reader.tracker.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	one[int](t, reader, fired) // may be kept, unless the writer has a mark on all
	written.on <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := reader.tracker.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, reader, fired); got != 1 {
		t.Errorf("%d from memory, 1 in the database", got)
	}
}

// Somebody's DDL has been announced to its end, and the writer has not heard of it yet. Seen to fail without the fence in
// holding.
func TestTriggerNotHeardOf(t *testing.T) {
	base := newBase(t, triggered()...)
	maker, reader := open(t, base), open(t, base)
	proxy := faultproxy.New(t, redisServer.Addr())
	tr, err := invalidate.Connect(t.Context(), redisServer.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr() }),
		invalidate.Options{Notify: notify.Options{PongTimeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	writer, err := New(t.Context(), newPool(t, base.Config().ConnString()), tr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	must(t, writer, bump)
	if x := writer.Explain(bump); len(x.Writes) != 1 {
		t.Fatalf("it is known to write more before the trigger is there: %v", x)
	}
	voice := proxy.Having("psubscribe")
	voice.Hold(faultproxy.ToClient)
	must(t, maker, fires)
	reader.keeps(t, fired)
	must(t, writer, bump)
	voice.Release(faultproxy.ToClient)
	if err := reader.tracker.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := one[int](t, reader, fired), one[int](t, base, fired); got != 1 || got != want {
		t.Errorf("%d from memory, %d in the database, want 1", got, want)
	}
}

type stop struct{ at, on chan bool }

// openStops is open for a process that stands still at each of steps.
func openStops(t *testing.T, base *pgxpool.Pool, steps ...string) (*instance, stop) {
	s := stop{make(chan bool), make(chan bool)}
	plan := guard.Plan{Step: func(step string) {
		if slices.Contains(steps, step) {
			s.at <- true
			<-s.on
		}
	}}
	return openOn(t, guard.With(t.Context(), plan), newPool(t, base.Config().ConnString())), s
}

// A database that was down at the start comes back, and a transaction takes the pool's only connection; then the catalog
// falls. Neither leaves a statement waiting for a catalog that nobody can read. Seen to fail with an Attach that does not
// ask for the catalog, and without enough in analysis.
func TestCatalogWithoutConnection(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 0)")
	proxy := faultproxy.New(t, pgServer.Addr())
	proxy.Refuse()
	dsn := strings.Replace(base.Config().ConnString(), pgServer.Addr(), proxy.Addr(), 1)
	a := openOn(t, t.Context(), newPool(t, dsn, func(c *pgxpool.Config) { c.MaxConns = 1 }))
	proxy.Accept()
	b := open(t, base)
	b.keeps(t, price)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // shorter than the longest reading
	defer cancel()
	err := pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE items SET price = 1"); err != nil {
			return err
		}
		if err := b.Touch(ctx); err != nil {
			return err
		}
		if err := a.tracker.Fence(ctx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE items SET price = 2")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sees(t, "a transaction", 2, a, b)
}
