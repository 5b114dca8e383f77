package sqltest

import (
	"context"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/sqlgraph"
	"entgo.io/ent/schema/field"
)

// entBooks does what ent's generated client does: its builders end in calls of sqlgraph, on a driver over a *sql.DB or on
// a transaction. The generated code itself (3,400 lines for one entity) adds types and hooks, and no statement.
type entBooks struct{ dialect.Driver }

var (
	entColumns = []string{"id", "title", "price"}
	entID      = sqlgraph.NewFieldSpec("id", field.TypeInt)
)

func (e entBooks) create(ctx context.Context, title string, price int) (id int, err error) {
	spec := sqlgraph.NewCreateSpec("books", sqlgraph.NewFieldSpec("id", field.TypeInt))
	spec.SetField("title", field.TypeString, title)
	spec.SetField("price", field.TypeInt, price)
	if err := sqlgraph.CreateNode(ctx, e, spec); err != nil {
		return 0, err
	}
	return int(spec.ID.Value.(int64)), nil
}

func (e entBooks) setPrice(ctx context.Context, id, price int) (got Book, err error) {
	spec := sqlgraph.NewUpdateSpec("books", entColumns, &sqlgraph.FieldSpec{Column: "id", Type: field.TypeInt, Value: id})
	spec.SetField("price", field.TypeInt, price)
	spec.ScanValues, spec.Assign = scanEnt, func(columns []string, values []any) error {
		got = assignEnt(columns, values)
		return nil
	}
	return got, sqlgraph.UpdateNode(ctx, e, spec)
}

func (e entBooks) where(ctx context.Context, p *entsql.Predicate) (all []Book, err error) {
	spec := sqlgraph.NewQuerySpec("books", entColumns, entID)
	spec.Predicate = func(s *entsql.Selector) { s.Where(p) }
	spec.Order = func(s *entsql.Selector) { s.OrderBy(s.C("id")) }
	spec.ScanValues, spec.Assign = scanEnt, func(columns []string, values []any) error {
		all = append(all, assignEnt(columns, values))
		return nil
	}
	return all, sqlgraph.QueryNodes(ctx, e, spec)
}

func (e entBooks) remove(ctx context.Context, p *entsql.Predicate) (int, error) {
	spec := sqlgraph.NewDeleteSpec("books", entID)
	spec.Predicate = func(s *entsql.Selector) { s.Where(p) }
	return sqlgraph.DeleteNodes(ctx, e, spec)
}

func scanEnt(columns []string) ([]any, error) {
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = new(entsql.NullInt64)
		if c == "title" {
			values[i] = new(entsql.NullString)
		}
	}
	return values, nil
}

func assignEnt(columns []string, values []any) (b Book) {
	for i, c := range columns {
		switch c {
		case "id":
			b.ID = values[i].(*entsql.NullInt64).Int64
		case "title":
			b.Title = values[i].(*entsql.NullString).String
		case "price":
			b.Price = int(values[i].(*entsql.NullInt64).Int64)
		}
	}
	return b
}

// entTx is a transaction in the place of the driver, as in ent's generated Tx: what sqlgraph begins and commits within it
// is part of it.
type entTx struct {
	dialect.Driver
	tx dialect.Tx
}

func (t entTx) Tx(context.Context) (dialect.Tx, error)              { return dialect.NopTx(t), nil }
func (t entTx) Exec(ctx context.Context, q string, a, v any) error  { return t.tx.Exec(ctx, q, a, v) }
func (t entTx) Query(ctx context.Context, q string, a, v any) error { return t.tx.Query(ctx, q, a, v) }

func TestEnt(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		id := map[string]string{"postgres": "BIGSERIAL PRIMARY KEY", "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY", "sqlite": "INTEGER PRIMARY KEY"}[b.dialect]
		must(t, b.plain(t), "CREATE TABLE books (id "+id+", title VARCHAR(50), price INT)")
		db, c := open(t, b)
		name := map[string]string{"postgres": dialect.Postgres, "mysql": dialect.MySQL, "sqlite": dialect.SQLite}[b.dialect]
		client := entBooks{entsql.OpenDB(name, db)}
		ctx := t.Context()
		one, err := client.create(ctx, "One", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.create(ctx, "Two", 2); err != nil {
			t.Fatal(err)
		}
		read := func() []Book {
			t.Helper()
			all, err := client.where(ctx, entsql.In("title", "One", "Two"))
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		remembered(t, c, 1, func() {
			if got := read(); len(got) != 2 || got[0] != (Book{ID: int64(one), Title: "One", Price: 1}) {
				t.Errorf("%+v", got)
			}
		})
		if got, err := client.setPrice(ctx, one, 5); err != nil || got.Price != 5 {
			t.Fatal(got, err)
		}
		if got := read(); got[0].Price != 5 {
			t.Errorf("%+v", got)
		}
		inTx := func(end func(dialect.Tx) error) {
			t.Helper()
			tx, err := client.Tx(ctx)
			if err != nil {
				t.Fatal(err)
			}
			within := entBooks{entTx{client.Driver, tx}}
			if got, err := within.setPrice(ctx, one, 6); err != nil || got.Price != 6 {
				t.Fatal(got, err)
			}
			if n, err := within.remove(ctx, entsql.EQ("title", "Two")); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if err := end(tx); err != nil {
				t.Fatal(err)
			}
		}
		remembered(t, c, 1, func() { read() })
		if n := hits(c, func() {
			inTx(dialect.Tx.Rollback)
			if got := read(); len(got) != 2 || got[0].Price != 5 {
				t.Errorf("after a rollback: %+v", got)
			}
		}); n != 1 {
			t.Errorf("%d hits: a rollback made rows fall", n)
		}
		inTx(dialect.Tx.Commit)
		if got := read(); len(got) != 1 || got[0].Price != 6 {
			t.Errorf("after a commit: %+v", got)
		}
	})
}
