package pgxcache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
)

const price = "SELECT price FROM items WHERE id = 1"

// shop is two processes on one database that have the price of item 1, 0, in memory.
func shop(t *testing.T) (a, b *instance) {
	t.Helper()
	base := newBase(t, items, "CREATE TABLE log (id SERIAL, what TEXT)", "INSERT INTO items VALUES (1, 'one', 0), (2, 'two', 0)")
	a, b = open(t, base), open(t, base)
	a.keeps(t, price)
	b.keeps(t, price)
	return a, b
}

// sees fails t unless both read want, the writer at once and the other behind a fence, and both then keep it.
func sees(t *testing.T, what string, want int, writer, other *instance) {
	t.Helper()
	if got := one[int](t, writer, price); got != want {
		t.Errorf("%s: the writer reads %d, want %d", what, got, want)
	}
	if err := other.tracker.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, other, price); got != want {
		t.Errorf("%s: the other reads %d, want %d", what, got, want)
	}
	writer.keeps(t, price)
	other.keeps(t, price)
}

// Every way to write is seen by the writer at once, and by others.
func TestWrites(t *testing.T) {
	a, b := shop(t)
	ctx := t.Context()
	ways := map[string]func(v int) error{
		"Exec": func(v int) error {
			_, err := a.Exec(ctx, "UPDATE items SET price = $1 WHERE id = 1", v)
			return err
		},
		"Exec of several": func(v int) error {
			_, err := a.Exec(ctx, fmt.Sprintf("INSERT INTO log (what) VALUES ('x'); UPDATE items SET price = %d WHERE id = 1", v))
			return err
		},
		"Query with RETURNING": func(v int) error {
			rows, err := a.Query(ctx, "UPDATE items SET price = $1 RETURNING id", v)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
			if len(ids) != 2 {
				t.Error(ids)
			}
			return err
		},
		"QueryRow with RETURNING": func(v int) error {
			return a.QueryRow(ctx, "UPDATE items SET price = @v RETURNING id", pgx.NamedArgs{"v": v}).Scan(new(int))
		},
		"Query closed early": func(v int) error {
			rows, err := a.Query(ctx, "UPDATE items SET price = $1 RETURNING id", v)
			if err == nil {
				rows.Close()
			}
			return err
		},
		"a scan that fails": func(v int) error {
			if err := a.QueryRow(ctx, "UPDATE items SET price = $1 RETURNING name", v).Scan(new(int)); err == nil {
				t.Error("a name is no number")
			}
			return nil
		},
		"a batch": func(v int) error {
			b := &pgx.Batch{}
			b.Queue("SELECT name FROM items WHERE id = 2").QueryRow(func(row pgx.Row) error { return row.Scan(new(string)) })
			b.Queue("INSERT INTO log (what) VALUES (@w)", pgx.NamedArgs{"w": "y"})
			b.Queue("UPDATE items SET price = $1 WHERE id = 1", v)
			return a.SendBatch(ctx, b).Close()
		},
		"a batch in a transaction": func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				b := &pgx.Batch{}
				b.Queue("UPDATE items SET price = $1 WHERE id = 1", v)
				return tx.SendBatch(ctx, b).Close()
			})
		},
		"a batch that begins": func(v int) error {
			b := &pgx.Batch{}
			b.BeginTx(pgx.TxOptions{IsoLevel: pgx.Serializable})
			b.Queue("UPDATE items SET price = $1 WHERE id = 1", v)
			r := a.SendBatch(ctx, b)
			if err := r.Close(); err != nil {
				return err
			}
			return r.Tx().Commit(ctx)
		},
		"CopyFrom": func(v int) error {
			if _, err := a.Exec(ctx, "DELETE FROM items WHERE id = 1"); err != nil {
				return err
			}
			a.QueryRow(ctx, price).Scan(new(int))
			_, err := a.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name", "price"}, pgx.CopyFromRows([][]any{{1, "one", v}}))
			return err
		},
		"CopyFrom in a transaction": func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "TRUNCATE items"); err != nil {
					return err
				}
				_, err := tx.CopyFrom(ctx, pgx.Identifier{"public", "items"}, []string{"id", "name", "price"}, pgx.CopyFromRows([][]any{{1, "one", v}, {2, "two", v}}))
				return err
			})
		},
		"what is not understood": func(v int) error {
			_, err := a.Exec(ctx, fmt.Sprintf("DO $$ BEGIN UPDATE items SET price = %d; END $$", v))
			return err
		},
		"the connection of a transaction": func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				_, err := tx.Conn().Exec(ctx, "UPDATE items SET price = $1", v)
				return err
			})
		},
		"a prepared statement's name": func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				if _, err := tx.Prepare(ctx, "raise", "UPDATE items SET price = $1"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "raise", v)
				return err
			})
		},
		"a savepoint": func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				err := pgx.BeginFunc(ctx, tx, func(part pgx.Tx) error {
					part.Exec(ctx, "UPDATE items SET price = -1")
					return errors.New("no")
				})
				if err == nil {
					return errors.New("the part was not rolled back")
				}
				if got := one[int](t, tx, price); got == -1 {
					t.Error("the part's write is there")
				}
				return pgx.BeginFunc(ctx, tx, func(part pgx.Tx) error {
					_, err := part.Exec(ctx, "UPDATE items SET price = $1", v)
					return err
				})
			})
		},
		"COMMIT as a text": func(v int) error {
			tx, err := a.Begin(ctx)
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			if _, err := tx.Exec(ctx, "UPDATE items SET price = $1", v); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "COMMIT")
			return err
		},
	}
	v := 0
	for name, way := range ways {
		v++
		if err := way(v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sees(t, name, v, a, b)
	}
	if n := a.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// A transaction reads past the cache; what it writes is seen by nobody before its end, and a rollback tells nobody
// anything.
func TestTransactions(t *testing.T) {
	a, b := shop(t)
	ctx := t.Context()
	writes := a.Stats().Writes
	for _, end := range []string{"rollback", "failed", "commit"} {
		tx, err := a.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			t.Fatal(err)
		}
		must(t, tx, "UPDATE items SET price = 7 WHERE id = 1")
		if got := one[int](t, tx, price); got != 7 {
			t.Errorf("%s: the transaction reads %d", end, got)
		}
		for _, i := range []*instance{a, b} {
			if n := i.hits(func() {
				if got := one[int](t, i, price); got != 0 {
					t.Errorf("%s: uncommitted %d", end, got)
				}
			}); n != 1 {
				t.Errorf("%s: %d hits during the transaction", end, n)
			}
		}
		switch end {
		case "rollback":
			err = tx.Rollback(ctx)
		case "failed":
			if _, err := tx.Exec(ctx, "SELECT 1/0"); err == nil {
				t.Error("1/0")
			}
			if err = tx.Commit(ctx); errors.Is(err, pgx.ErrTxCommitRollback) {
				err = nil
			}
		case "commit":
			if a.Stats().Writes != writes {
				t.Errorf("%d writes were told of before a commit", a.Stats().Writes-writes)
			}
			err = tx.Commit(ctx)
		}
		if err != nil {
			t.Errorf("%s: %v", end, err)
		}
		if err := tx.Rollback(ctx); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: a second end: %v", end, err)
		}
		if _, err := tx.Exec(ctx, "UPDATE items SET price = 9"); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: a statement after the end: %v", end, err)
		}
		if err := tx.QueryRow(ctx, price).Scan(new(int)); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: a query after the end: %v", end, err)
		}
	}
	sees(t, "commit", 7, a, b)
	if n := a.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// Writes by sqlcache fall in pgxcache, and the other way round: the tables have one name.
func TestBesideSqlcache(t *testing.T) {
	a, _ := shop(t)
	tr := newTracker(t)
	config, err := pgx.ParseConfig(a.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlcache.New(t.Context(), stdlib.GetConnector(*config), tr, sqlcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	read := func() (v int, hit bool) {
		before := c.Stats().Hits
		if err := db.QueryRow(price).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v, c.Stats().Hits > before
	}
	kept := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, hit := read(); hit {
				return
			}
			if time.Now().After(end) {
				t.Fatal("sqlcache does not keep it")
			}
		}
	}
	for v := 1; v < 20; v += 2 {
		kept()
		a.keeps(t, price)
		if _, err := a.Exec(t.Context(), "UPDATE items SET price = $1", v); err != nil {
			t.Fatal(err)
		}
		if err := tr.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(); got != v {
			t.Fatalf("sqlcache reads %d after pgxcache wrote %d", got, v)
		}
		kept()
		a.keeps(t, price)
		if _, err := db.Exec("UPDATE items SET price = $1", v+1); err != nil {
			t.Fatal(err)
		}
		if err := a.tracker.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, a, price); got != v+1 {
			t.Fatalf("pgxcache reads %d after sqlcache wrote %d", got, v+1)
		}
	}
}

// While a writer stands still between its mark and its commit, nobody keeps the row that is there, also when it stands
// for longer than its lease: its session holds a lock that says that it lives. Without a mark the row is kept, and with a
// session that holds nothing as well.
func TestMarkKeepsRowsOut(t *testing.T) {
	for _, out := range []guard.Set{0, guard.Mark | guard.Before} {
		base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 0)")
		lease := func(o *Options) { o.Lease = 300 * time.Millisecond }
		reader := open(t, base, lease)
		at, on := make(chan struct{}), make(chan struct{})
		plan := guard.Plan{Out: out, Step: func(s string) {
			if s == "marked" {
				close(at)
				<-on
			}
		}}
		writer := openOn(t, guard.With(t.Context(), plan), newPool(t, base.Config().ConnString()), lease)
		done := make(chan error, 1)
		go func() {
			_, err := writer.Exec(context.Background(), "UPDATE items SET price = 1")
			done <- err
		}()
		<-at
		n := reader.hits(func() {
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				one[int](t, reader, price)
			}
		})
		close(on)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if out == 0 && n != 0 {
			t.Errorf("%d hits while a mark stood", n)
		}
		if out != 0 && n == 0 {
			t.Error("without a mark nothing was kept: this test finds nothing")
		}
	}
}

// A commit whose outcome is not known counts as one: the connection dies on the way, and what was written is read.
func TestUnknownOutcome(t *testing.T) {
	for _, how := range []string{"exec", "tx"} {
		base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 0)")
		killer := func(o *Options) { o.Lease = 300 * time.Millisecond }
		reader := open(t, base, killer)
		reader.keeps(t, price)
		ctx, cancel := context.WithCancel(t.Context())
		plan := guard.Plan{Step: func(s string) {
			if s == "marked" {
				cancel() // what is sent now is sent on a connection that is being closed
			}
		}}
		writer := openOn(t, guard.With(t.Context(), plan), newPool(t, base.Config().ConnString()), killer)
		var err error
		if how == "exec" {
			_, err = writer.Exec(ctx, "UPDATE items SET price = 1")
		} else {
			err = pgx.BeginFunc(t.Context(), writer, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), "UPDATE items SET price = 1"); err != nil {
					return err
				}
				return tx.Commit(ctx)
			})
		}
		if err == nil {
			t.Fatal("a commit with a cancelled ctx succeeded")
		}
		truth := one[int](t, base, price)
		if got := one[int](t, writer, price); got != truth {
			t.Errorf("%s: the writer reads %d, the database has %d", how, got, truth)
		}
		if err := reader.tracker.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := one[int](t, reader, price); got != truth {
			t.Errorf("%s: the other reads %d, the database has %d", how, got, truth)
		}
		reader.keeps(t, price) // the session has ended: the mark goes
		cancel()
	}
}

// What Redis cannot be told of is not written.
func TestNotMarked(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 0)")
	db := open(t, base)
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	must(t, tx, "UPDATE items SET price = 1")
	if err := tx.Commit(dead); err == nil {
		t.Error("a commit that could not be told of succeeded")
	}
	if got := one[int](t, base, price); got != 0 {
		t.Errorf("it was written: %d", got)
	}
	if n := db.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}
