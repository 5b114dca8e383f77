package pgxcache

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// queries are as sqlc writes them for pgx/v5.
type queries struct{ db sqlcDBTX }

type sqlcDBTX interface {
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
	Query(context.Context, string, ...interface{}) (pgx.Rows, error)
	QueryRow(context.Context, string, ...interface{}) pgx.Row
	CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error)
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

var (
	_ sqlcDBTX = (*DB)(nil)
	_ sqlcDBTX = (*Tx)(nil)
)

func (q *queries) WithTx(tx pgx.Tx) *queries { return &queries{db: tx} }

type Item struct {
	ID    int32
	Name  *string
	Price int32
}

const listItems = `-- name: ListItems :many
SELECT id, name, price FROM items
WHERE id = ANY($1::int[])
ORDER BY id
`

func (q *queries) ListItems(ctx context.Context, ids []int32) ([]Item, error) {
	rows, err := q.db.Query(ctx, listItems, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []Item
	for rows.Next() {
		var i Item
		if err := rows.Scan(&i.ID, &i.Name, &i.Price); err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return items, nil
}

const setPrice = `-- name: SetPrice :exec
UPDATE items SET price = $2 WHERE id = $1
`

func (q *queries) SetPrice(ctx context.Context, id, price int32) error {
	_, err := q.db.Exec(ctx, setPrice, id, price)
	return err
}

func TestSqlc(t *testing.T) {
	a, b := shop(t)
	ctx := t.Context()
	q := &queries{a}
	list := func() (prices string) {
		items, err := q.ListItems(ctx, []int32{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			prices += fmt.Sprint(*i.Name, i.Price, " ")
		}
		return prices
	}
	list()
	if n := a.hits(func() { list() }); n != 1 {
		t.Errorf("%d hits", n)
	}
	if err := q.SetPrice(ctx, 1, 3); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "one3 two0 " {
		t.Error(got)
	}
	if err := pgx.BeginFunc(ctx, a, func(tx pgx.Tx) error {
		return q.WithTx(tx).SetPrice(ctx, 2, 4)
	}); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "one3 two4 " {
		t.Error(got)
	}
	sees(t, "sqlc", 3, a, b)
}
