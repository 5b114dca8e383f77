package pgxcache

import (
	"context"
	"slices"
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

// A list of keys is about its rows, in whatever type it is given; when one of them is new, or comes to be, it falls.
// Seen to fail with a list taken for whole tables, and with an answer that lacks a row without its fall with new rows.
func TestLists(t *testing.T) {
	base := newBase(t, items, "CREATE TABLE things (id UUID PRIMARY KEY, n INT)",
		"INSERT INTO things SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 0 FROM generate_series(1, 3) n")
	a, b := open(t, base), open(t, base)
	uuid := func(n byte) [16]byte { return [16]byte{15: n} }
	pgUUID := func(n byte) pgtype.UUID { return pgtype.UUID{Bytes: uuid(n), Valid: true} }
	type key int32
	const (
		these  = "SELECT coalesce(string_agg(price::text, ' '), '') FROM items WHERE id = ANY($1)" // an aggregate is not by row
		prices = "SELECT price FROM items WHERE id = ANY($1) ORDER BY id"
		bigger = "SELECT price FROM items WHERE id = ANY($1::bigint[]) AND name = 'x' ORDER BY id"
		things = "SELECT n FROM things WHERE id = ANY($1::uuid[]) ORDER BY id"
		priced = "UPDATE items SET price = price + 1 WHERE id = ANY($1)"
		moved  = "UPDATE things SET n = n + 1 WHERE id = ANY($1)"
	)
	for _, c := range []struct {
		name, query string
		other, this any // lists of keys
		write       string
		arg         any
		stays       bool // the other's answer
	}{
		{"int", prices, []int{1, 2}, []int{2, 3}, priced, []int{3}, true},
		{"int32", prices, []int32{1, 2}, []int32{2, 3}, priced, []int32{3, 7}, true},
		{"int64", bigger, []int64{1, 2}, []int64{2, 3}, "UPDATE items SET price = price + 1 WHERE id IN (3, $1)", 3, true},
		{"named", prices, []key{1, 2}, []key{2, 3}, priced, []any{3}, true},
		{"shared", prices, []int{1, 2}, []int{2, 3}, priced, []int{2}, false},
		{"any", prices, []any{1, 2}, []any{3}, priced, []any{int64(3)}, true},
		{"no keys", prices, []int{1, 2}, []int{3}, priced + " OR id = 3", []int{}, false},
		{"a key that is not there", prices, []int{1, 7}, []int{2, 3}, "INSERT INTO items VALUES (7, 'x', 0) ON CONFLICT (id) DO UPDATE SET price = items.price + $1", 1, false},
		{"a key that comes", prices, []int{1, 2}, []int{3, 8}, "INSERT INTO items VALUES ($1, 'x', 0)", 8, true},
		{"a key that moves", prices, []int{1, 2}, []int{3, 9}, "UPDATE items SET id = 9 WHERE id = $1", 8, true},
		{"aggregate", these, []int{1, 2}, []int{2, 3}, priced, []int{3}, false},
		{"pgtype.UUID", things, []pgtype.UUID{pgUUID(1), pgUUID(2)}, []pgtype.UUID{pgUUID(2), pgUUID(3)}, moved, []pgtype.UUID{pgUUID(3)}, true},
		{"UUID's bytes", things, [][16]byte{uuid(1), uuid(2)}, [][16]byte{uuid(2), uuid(3)}, moved, [][16]byte{uuid(3)}, true},
		{"UUID's text", things, []string{pgUUID(1).String()}, []string{pgUUID(3).String()}, moved, []string{pgUUID(3).String()}, true},
		{"other types", prices, pgtype.FlatArray[int]{1, 2}, pgtype.FlatArray[int]{2, 3}, priced, pgtype.FlatArray[int]{3}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := base.Exec(t.Context(), "INSERT INTO items SELECT n, 'x', 0 FROM generate_series(1, 3) n ON CONFLICT DO NOTHING"); err != nil {
				t.Fatal(err)
			}
			for _, in := range []*instance{a, b} {
				in.keeps(t, c.query, c.other)
				in.keeps(t, c.query, c.this)
			}
			if _, err := a.Exec(t.Context(), c.write, c.arg); err != nil {
				t.Fatal(err)
			}
			if err := b.tracker.Fence(t.Context()); err != nil {
				t.Fatal(err)
			}
			all := func(db queryer, keys any) []any {
				rows, err := db.Query(t.Context(), c.query, keys)
				if err != nil {
					t.Fatal(err)
				}
				list, err := pgx.CollectRows(rows, pgx.RowTo[any])
				if err != nil {
					t.Fatal(err)
				}
				return list
			}
			for _, in := range []*instance{a, b} {
				if stays := in.hits(func() { all(in, c.other) }); (stays > 0) != c.stays {
					t.Errorf("the other rows' answer stays: %v", stays > 0)
				}
				for _, keys := range []any{c.other, c.this} {
					if got, want := all(in, keys), all(base, keys); !slices.Equal(got, want) {
						t.Errorf("%v reads %v, want %v", keys, got, want)
					}
				}
			}
		})
	}
}
