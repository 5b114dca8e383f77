package sqltest

import (
	"slices"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"gorm.io/gorm"

	entdialect "entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
)

// Lists of keys as libraries write them, most of them to load what other rows refer to, are about their rows: a write to
// one leaves the lists without it in memory.
// Seen to fail with each way to write a list taken for whole tables: IN, ANY without a cast or with one, and a list that
// the driver is given as a text.
func TestListsOfLibraries(t *testing.T) {
	type book struct {
		bun.BaseModel `bun:"table:books,alias:b" gorm:"-"`
		ID            int64 `bun:",pk" db:"id"`
		Price         int   `db:"price"`
	}
	prices := func(books []book) (all []int) {
		for _, b := range books {
			all = append(all, b.Price)
		}
		return all
	}
	everyDriver(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE books (id BIGINT PRIMARY KEY, title TEXT, price INT)",
			"INSERT INTO books VALUES (1, 'One', 1), (2, 'Two', 2), (3, 'Three', 3)")
		db, c := open(t, b)
		x := sqlx.NewDb(db, map[string]string{"postgres": "pgx", "mysql": "mysql", "sqlite": "sqlite3"}[b.dialect])
		type library struct {
			read  func(keys []int64) ([]int, error)
			write func(key int64) error
		}
		libraries := map[string]library{
			"sqlx": {func(keys []int64) ([]int, error) {
				query, args, err := sqlx.In("SELECT id, price FROM books WHERE id IN (?) ORDER BY id", keys)
				if err != nil {
					return nil, err
				}
				var all []book
				err = x.Select(&all, x.Rebind(query), args...)
				return prices(all), err
			}, func(key int64) error {
				query, args, err := sqlx.In("UPDATE books SET price = price + 1 WHERE id IN (?)", []int64{key, 99})
				if err == nil {
					_, err = x.Exec(x.Rebind(query), args...)
				}
				return err
			}},
		}
		if b.dialect != "sqlite" {
			g := gormOpen(t, b, db, false).Table("books").Session(&gorm.Session{}) // not one statement that grows
			libraries["GORM"] = library{func(keys []int64) ([]int, error) {
				var all []Book
				err := g.Omit("AuthorID").Select("id", "price").Order("id").Find(&all, keys).Error
				var got []int
				for _, b := range all {
					got = append(got, b.Price)
				}
				return got, err
			}, func(key int64) error {
				return g.Where("id IN ?", []int64{key, 99}).Update("price", 1000+key).Error
			}}
		}
		if b.dialect == "postgres" {
			bundb, ent := bun.NewDB(db, pgdialect.New()), entBooks{entsql.OpenDB(entdialect.Postgres, db)}
			libraries["bun"] = library{func(keys []int64) ([]int, error) {
				var all []book
				err := bundb.NewSelect().Model(&all).Where("?TableAlias.id IN (?)", bun.List(keys)).OrderExpr("b.id").Scan(t.Context())
				return prices(all), err
			}, func(key int64) error {
				_, err := bundb.NewUpdate().Model(&book{ID: key, Price: 2000 + int(key)}).WherePK().Exec(t.Context())
				return err
			}}
			libraries["ent"] = library{func(keys []int64) (got []int, err error) {
				args := make([]any, len(keys))
				for i, k := range keys {
					args[i] = k
				}
				all, err := ent.where(t.Context(), entsql.In("id", args...))
				for _, b := range all {
					got = append(got, b.Price)
				}
				return got, err
			}, func(key int64) error {
				_, err := ent.setPrice(t.Context(), int(key), 3000+int(key))
				return err
			}}
			list := func(keys []int64) any { // as sqlc has it for each driver
				if b.open != nil {
					return pq.Array(keys)
				}
				return keys
			}
			libraries["sqlc"] = library{func(keys []int64) ([]int, error) {
				var all []book
				err := x.Select(&all, "-- name: ListBooks :many\nSELECT id, price FROM books\nWHERE id = ANY($1::bigint[])\nORDER BY id", list(keys))
				return prices(all), err
			}, func(key int64) error {
				_, err := db.ExecContext(t.Context(), "UPDATE books SET price = $1 WHERE id = ANY($2)", 4000+key, list([]int64{key}))
				return err
			}}
		}
		for name, l := range libraries {
			t.Run(name, func(t *testing.T) {
				read := func(keys ...int64) []int {
					t.Helper()
					all, err := l.read(keys)
					if err != nil {
						t.Fatal(err)
					}
					return all
				}
				remembered(t, c, 2, func() { read(1, 2); read(2, 3) })
				before := read(1, 2, 3)
				if err := l.write(3); err != nil {
					t.Fatal(err)
				}
				if n := hits(c, func() {
					if got := read(1, 2); !slices.Equal(got, before[:2]) {
						t.Errorf("rows 1 and 2: %d, want %d", got, before[:2])
					}
				}); n != 1 {
					t.Error("the list without the row that was written has fallen")
				}
				if got := read(2, 3); got[1] == before[2] {
					t.Errorf("rows 2 and 3: %d after the write", got)
				}
			})
		}
	})
}
