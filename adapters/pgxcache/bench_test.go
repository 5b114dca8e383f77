package pgxcache

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

type product struct {
	ID           int64
	Name         string
	Price, Stock int32
	Note         *string
	At           time.Time
}

const point = "SELECT id, name, price, stock, note, at FROM products WHERE id = $1"

func products(b *testing.B) *pgxpool.Pool {
	return newBase(b, "CREATE TABLE products (id BIGINT PRIMARY KEY, name TEXT, price INT, stock INT, note TEXT, at TIMESTAMPTZ)",
		"INSERT INTO products SELECT i, 'product ' || i, i, i, NULL, now() FROM generate_series(1, 1000) i")
}

// BenchmarkPoint is one row of six columns by its key, from the pool and from memory.
func BenchmarkPoint(b *testing.B) {
	base := products(b)
	db := open(b, base, func(o *Options) { o.CatalogEvery = time.Hour })
	ctx := b.Context()
	read := func(b *testing.B, on queryer) {
		var p product
		if err := on.QueryRow(ctx, point, int64(7)).Scan(&p.ID, &p.Name, &p.Price, &p.Stock, &p.Note, &p.At); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("pool", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			read(b, base)
		}
	})
	b.Run("hit", func(b *testing.B) {
		db.keeps(b, point, int64(7))
		b.ReportAllocs()
		for b.Loop() {
			read(b, db)
		}
	})
	b.Run("hit-unscanned", func(b *testing.B) {
		db.keeps(b, point, int64(7))
		b.ReportAllocs()
		for b.Loop() {
			rows, err := db.Query(ctx, point, int64(7))
			if err != nil || !rows.Next() {
				b.Fatal(err)
			}
			rows.Close()
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			if err := db.Touch(ctx, "products"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			read(b, db)
		}
	})
}

// BenchmarkHundred is a hundred rows of six columns.
func BenchmarkHundred(b *testing.B) {
	base := products(b)
	db := open(b, base, func(o *Options) { o.CatalogEvery = time.Hour })
	q := "SELECT id, name, price, stock, note, at FROM products WHERE id <= $1 ORDER BY id"
	for name, on := range map[string]dbtx{"pool": base, "hit": db} {
		b.Run(name, func(b *testing.B) {
			db.keeps(b, q, 100)
			b.ReportAllocs()
			for b.Loop() {
				rows, err := on.Query(b.Context(), q, 100)
				if err != nil {
					b.Fatal(err)
				}
				var p product
				n := 0
				for ; rows.Next(); n++ {
					if err := rows.Scan(&p.ID, &p.Name, &p.Price, &p.Stock, &p.Note, &p.At); err != nil {
						b.Fatal(err)
					}
				}
				if n != 100 {
					b.Fatal(n, rows.Err())
				}
			}
		})
	}
}

// BenchmarkWrite is an update outside a transaction, with and without its two phases.
func BenchmarkWrite(b *testing.B) {
	base := products(b)
	for name, on := range map[string]execer{"pool": base, "pgxcache": open(b, base)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := on.Exec(b.Context(), "UPDATE products SET stock = stock + 1 WHERE id = $1", 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
