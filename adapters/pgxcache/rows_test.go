package pgxcache

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// rewriting is a rewriter that asks for another row than its text and arguments say.
type rewriting struct{}

func (rewriting) RewriteQuery(_ context.Context, _ *pgx.Conn, _ string, args []any) (string, []any, error) {
	return "UPDATE items SET price = $1 WHERE id = $2", []any{args[0], 2}, nil
}

// A write to one row leaves the answers about others in memory, in whatever way its key is given; and what may have been a
// write to another row falls.
func TestRows(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 0), (2, 'two', 0)",
		"CREATE TABLE things (id UUID PRIMARY KEY, n INT)", "INSERT INTO things SELECT gen_random_uuid(), 0 FROM generate_series(1, 2)")
	a, b := open(t, base), open(t, base)
	ctx := t.Context()
	const (
		byID  = "SELECT price FROM items WHERE id = $1"
		thing = "SELECT n FROM things WHERE id = $1"
	)
	var ids [2]pgtype.UUID
	for i := range ids {
		ids[i] = one[pgtype.UUID](t, a, "SELECT id FROM things ORDER BY id OFFSET $1 LIMIT 1", i)
	}
	exec := func(sql string, args ...any) error {
		_, err := a.Exec(ctx, sql, args...)
		return err
	}
	for _, c := range []struct {
		name        string
		query       string
		other, this any // rows
		write       func(v int) error
		stays       bool // the other's answer
	}{
		{"Exec", byID, 1, 2, func(v int) error { return exec("UPDATE items SET price = $1 WHERE id = $2", v, 2) }, true},
		{"another type", byID, 1, 2, func(v int) error {
			return exec("UPDATE items SET price = $1 WHERE id = $2", v, pgtype.Int4{Int32: 2, Valid: true})
		}, true},
		{"an option", byID, 1, 2, func(v int) error {
			return exec("UPDATE items SET price = $1 WHERE id = $2", pgx.QueryExecModeSimpleProtocol, v, 2)
		}, true},
		{"named", byID, 1, 2, func(v int) error {
			return exec("UPDATE items SET price = @v WHERE id = @id", pgx.NamedArgs{"v": v, "id": 2})
		}, true},
		{"rewritten", byID, 1, 2, func(v int) error { return exec("UPDATE items SET price = $1 WHERE id = 1", rewriting{}, v) }, true},
		{"a text", byID, 1, 2, func(v int) error { return exec("UPDATE items SET price = $1 WHERE id = $2", v, "2") }, false},
		{"RETURNING", byID, 1, 2, func(v int) error {
			return a.QueryRow(ctx, "UPDATE items SET price = $1 WHERE id = $2 RETURNING id", v, 2).Scan(new(int))
		}, true},
		{"a batch", byID, 1, 2, func(v int) error {
			var batch pgx.Batch
			batch.Queue("UPDATE items SET price = $1 WHERE id = $2", v-1, 2)
			batch.Queue("UPDATE items SET price = $1 WHERE id = $2", v, 2)
			return a.SendBatch(ctx, &batch).Close()
		}, true},
		{"a transaction", byID, 1, 2, func(v int) error {
			return pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE items SET price = $1 WHERE id = $2", v, 2)
				return err
			})
		}, true},
		{"a UUID", thing, ids[0], ids[1], func(v int) error { return exec("UPDATE things SET n = $1 WHERE id = $2", v, ids[1]) }, true},
		{"a UUID's bytes", thing, ids[0], ids[1], func(v int) error {
			return exec("UPDATE things SET n = $1 WHERE id = $2", v, ids[1].Bytes)
		}, true},
		{"a UUID's text", thing, ids[0], ids[1], func(v int) error {
			return exec("UPDATE things SET n = $1 WHERE id = $2", v, ids[1].String())
		}, true},
		{"TouchRows", thing, ids[0].Bytes, ids[1].String(), func(v int) error {
			if _, err := base.Exec(ctx, "UPDATE things SET n = $1 WHERE id = $2", v, ids[1]); err != nil {
				return err
			}
			return a.TouchRows(ctx, "things", ids[1].String())
		}, true},
		{"TouchRows of another type", byID, 1, 2, func(v int) error {
			if _, err := base.Exec(ctx, "UPDATE items SET price = $1 WHERE id = 2", v); err != nil {
				return err
			}
			return a.TouchRows(ctx, "items", "two")
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range []*instance{a, b} {
				in.keeps(t, c.query, c.other)
				in.keeps(t, c.query, c.this)
			}
			v := one[int](t, a, c.query, c.this) + 10
			if err := c.write(v); err != nil {
				t.Fatal(err)
			}
			if err := b.tracker.Fence(ctx); err != nil {
				t.Fatal(err)
			}
			for _, in := range []*instance{a, b} {
				before := in.Stats()
				one[int](t, in, c.query, c.other)
				if stays := in.Stats().Hits > before.Hits; stays != c.stays {
					t.Errorf("the other row's answer stays: %v", stays)
				}
				if got := one[int](t, in, c.query, c.this); got != v {
					t.Errorf("reads %d, want %d", got, v)
				}
			}
		})
	}
}
