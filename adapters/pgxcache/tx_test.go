package pgxcache

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What is committed by other ways than Commit, in transactions that are rolled back at their end, is seen as any write.
// Seen to fail with loosen doing nothing (all but the chain and the texts with a COMMIT in them), with unknown being flush
// (those, and the batch), and with Rollback telling nobody of a transaction whose connection was asked for.
func TestHiddenCommits(t *testing.T) {
	a, b := shop(t)
	ctx := t.Context()
	const up = "UPDATE items SET price = price + 1 WHERE id = 1"
	texts := func(texts ...string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error {
			for _, text := range texts {
				if _, err := tx.Exec(ctx, text); err != nil {
					return err
				}
			}
			return nil
		}
	}
	batch := func(texts ...string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error {
			b := &pgx.Batch{}
			for _, text := range texts {
				b.Queue(text)
			}
			return tx.SendBatch(ctx, b).Close()
		}
	}
	v := 0
	for _, way := range []struct {
		name string
		run  func(pgx.Tx) error
	}{
		{"COMMIT AND CHAIN", texts(up, "COMMIT AND CHAIN")},
		{"several in one text", texts(up + "; COMMIT; BEGIN")},
		{"after COMMIT", texts("COMMIT", up)},
		{"after END WORK", texts("END WORK", up)},
		{"after ROLLBACK", texts("ROLLBACK", up)},
		{"after both", texts("ROLLBACK", "BEGIN", up, "COMMIT", "BEGIN")},
		{"a batch with COMMIT", batch(up, "COMMIT")},
		{"a batch after COMMIT", func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "COMMIT"); err != nil {
				return err
			}
			return batch(up)(tx)
		}},
		{"rows after ROLLBACK", func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "ROLLBACK"); err != nil {
				return err
			}
			return tx.QueryRow(ctx, up+" RETURNING id").Scan(new(int))
		}},
		{"a prepared COMMIT", func(tx pgx.Tx) error {
			if _, err := tx.Prepare(ctx, "done", "COMMIT"); err != nil {
				return err
			}
			return texts(up, "done")(tx)
		}},
		{"the connection's COMMIT", func(tx pgx.Tx) error {
			_, err := tx.Conn().Exec(ctx, up+"; COMMIT")
			return err
		}},
	} {
		tx, err := a.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := way.run(tx); err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		tx.Rollback(ctx)
		v++
		sees(t, way.name, v, a, b)
	}
	for _, o := range []pgx.TxOptions{
		{BeginQuery: "BEGIN; " + up},
		{CommitQuery: up + "; COMMIT"},
		{BeginQuery: up + "; COMMIT; BEGIN ISOLATION LEVEL SERIALIZABLE", CommitQuery: "ROLLBACK"},
	} {
		// The last of them is said to have failed by pgx, which it has.
		pgx.BeginTxFunc(ctx, a, o, func(pgx.Tx) error { return nil })
		v++
		sees(t, o.BeginQuery+" ... "+o.CommitQuery, v, a, b)
	}
	if n := a.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}

// What begins and commits a transaction by other words than pgx's is no more than that.
func TestPlainBeginQuery(t *testing.T) {
	a, b := shop(t)
	flushes := a.Stats().Flushes
	o := pgx.TxOptions{BeginQuery: "begin isolation level repeatable read", CommitQuery: "END"}
	if err := pgx.BeginTxFunc(t.Context(), a, o, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE items SET price = 3")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n := a.Stats().Flushes - flushes; n != 0 {
		t.Errorf("%d flushes", n)
	}
	sees(t, o.BeginQuery, 3, a, b)
}

// A prepared statement's name is no SQL, whatever it looks like, for pgx takes it for the name. Seen to fail with Named
// false, with a commitText that collects nothing (COMMIT in a transaction), and with a batch whose first statement is left
// out whoever has queued it (begin).
func TestPreparedNames(t *testing.T) {
	a, b := shop(t)
	flushes := a.Stats().Flushes
	must(t, a, "", ";")
	if n := a.Stats().Flushes - flushes; n != 0 {
		t.Errorf("%d flushes by nothing", n)
	}
	v := 0
	for _, name := range words("select|show|rollback|COMMIT|begin|delete-user") {
		named := newPool(t, a.pool.Config().ConnString(), func(c *pgxpool.Config) {
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Prepare(ctx, name, "UPDATE items SET price = $1")
				return err
			}
		})
		writer := openOn(t, t.Context(), named)
		batch := func(queries ...string) error {
			b := &pgx.Batch{}
			for _, q := range queries {
				if q == name {
					b.Queue(q, v)
				} else {
					b.Queue(q)
				}
			}
			return writer.SendBatch(t.Context(), b).Close()
		}
		for way, write := range map[string]func() error{
			"alone": func() error {
				_, err := writer.Exec(t.Context(), name, v)
				return err
			},
			"first in a batch":  func() error { return batch(name, "SELECT 1") },
			"second in a batch": func() error { return batch("SELECT 1", name) },
			"in a transaction": func() error {
				return pgx.BeginTxFunc(t.Context(), writer, pgx.TxOptions{BeginQuery: "BEGIN ISOLATION LEVEL READ COMMITTED"}, func(tx pgx.Tx) error {
					_, err := tx.Exec(t.Context(), name, v)
					b.keeps(t, price) // what it was told of before is not enough
					return err
				})
			},
		} {
			if name == "rollback" && way == "in a transaction" {
				continue // pgx itself would run it at the end
			}
			writer.keeps(t, price)
			v++
			if err := write(); err != nil {
				t.Fatalf("%s %s: %v", name, way, err)
			}
			sees(t, name+" "+way, v, writer, b)
		}
		writer.Close()
		named.Close()
	}
}

// COMMIT as a text in a transaction that has failed rolls it back, as without pgxcache: no error, and the session is fit
// for more. Seen to fail with aborted false.
func TestCommitTextOfAborted(t *testing.T) {
	a, b := shop(t)
	plain := newPool(t, a.pool.Config().ConnString())
	for _, text := range words("COMMIT|COMMIT WORK|COMMIT AND CHAIN|ROLLBACK|end") {
		for _, on := range []interface {
			Begin(context.Context) (pgx.Tx, error)
		}{plain, a} {
			tx, err := on.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			must(t, tx, "UPDATE items SET price = -1")
			if _, err := tx.Exec(t.Context(), "SELECT 1/0"); err == nil {
				t.Fatal("1/0")
			}
			tag, err := tx.Exec(t.Context(), text)
			if err != nil || tag.String() != "ROLLBACK" {
				t.Errorf("%T: %s: %s, %v", on, text, tag, err)
				continue
			}
			if got := one[int](t, tx, price); got != 0 {
				t.Errorf("%T: %s: %d afterwards", on, text, got)
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Errorf("%T: %s: %v", on, text, err)
			}
		}
		sees(t, text, 0, a, b)
	}
}
