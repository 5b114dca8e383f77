package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

type row struct {
	ID    int64
	Name  string
	Price int
	Stock int
	Note  *string
	At    time.Time
}

const point = "SELECT id, name, price, stock, note, at FROM products WHERE id = $1"

func shop(b *testing.B) base {
	db := newBase(b, "postgres")
	must(b, db.plain(b), "CREATE TABLE products (id BIGINT PRIMARY KEY, name TEXT, price INT, stock INT, note TEXT, at TIMESTAMPTZ)",
		"INSERT INTO products SELECT i, 'product ' || i, i, i, NULL, now() FROM generate_series(1, 1000) i")
	return db
}

func scanRow(db *sql.DB, ctx context.Context, id int64) (r row, err error) {
	err = db.QueryRowContext(ctx, point, id).Scan(&r.ID, &r.Name, &r.Price, &r.Stock, &r.Note, &r.At)
	return r, err
}

// BenchmarkPoint is one row of six columns by its key, on PostgreSQL, in the ways there are to have it.
func BenchmarkPoint(b *testing.B) {
	base := shop(b)
	plain := base.plain(b)
	db, c := open(b, base, func(o *sqlcache.Options) { o.CatalogEvery = time.Hour })
	ctx := b.Context()
	b.Run("database", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := scanRow(plain, ctx, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hit", func(b *testing.B) {
		scanRow(db, ctx, 7)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := scanRow(db, ctx, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hit-driver", func(b *testing.B) { driverHit(b, c, point, []driver.NamedValue{{Ordinal: 1, Value: int64(7)}}, 1) })
	b.Run("hit-driver-100-rows", func(b *testing.B) {
		driverHit(b, c, "SELECT id, name, price, stock, note, at FROM products WHERE id <= $1 ORDER BY id", []driver.NamedValue{{Ordinal: 1, Value: int64(100)}}, 100)
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			c.Touch(ctx, "products")
			b.StartTimer()
			scanRow(db, ctx, 7)
		}
	})
	b.Run("typed-near-cache-hit", func(b *testing.B) {
		rows, err := cache.New(trackerOf(c), cache.Options[int64, row]{NoKey: true, MaxEntries: 1000, Load: func(ctx context.Context, id int64) (row, error) {
			names, err := c.Names(ctx, "products")
			invalidate.DependOn(ctx, names...)
			if err != nil {
				return row{}, err
			}
			return scanRow(plain, ctx, id)
		}})
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rows.Get(ctx, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, db := range map[string]*sql.DB{"gorm-database": plain, "gorm-hit": db} {
		b.Run(name, func(b *testing.B) {
			g := gormOpen(b, base, db, false)
			b.ReportAllocs()
			for b.Loop() {
				var r row
				if err := g.Table("products").Take(&r, "id = ?", 7).Error; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWrite is an update outside a transaction, with and without its two phases.
func BenchmarkWrite(b *testing.B) {
	base := shop(b)
	plain := base.plain(b)
	db, _ := open(b, base)
	for name, db := range map[string]*sql.DB{"plain": plain, "sqlcache": db} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := db.ExecContext(b.Context(), "UPDATE products SET stock = stock + 1 WHERE id = $1", 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMixed is one write in twenty reads of rows by a power law: of a row by its key, of a row by another condition,
// and of a row that the rows refer to, with rules for when its key changes or it goes. It counts reads, and how many of
// them came from memory.
func BenchmarkMixed(b *testing.B) {
	base := shop(b)
	must(b, base.plain(b), "CREATE TABLE makers (id INT PRIMARY KEY, visits INT)", "INSERT INTO makers SELECT n, 0 FROM generate_series(1, 1000) n",
		"ALTER TABLE products ADD maker INT DEFAULT 1 REFERENCES makers ON UPDATE CASCADE ON DELETE CASCADE")
	for name, write := range map[string]string{
		"by key":    "UPDATE products SET stock = stock + 1 WHERE id = $1",
		"not":       "UPDATE products SET stock = stock + 1 WHERE id BETWEEN $1 AND $1",
		"of makers": "UPDATE makers SET visits = visits + 1 WHERE id = $1",
	} {
		b.Run(name, func(b *testing.B) {
			db, c := open(b, base)
			law := rand.NewZipf(rand.New(rand.NewSource(1)), 1.1, 1, 999)
			for n := 0; b.Loop(); n++ {
				if n%20 == 19 {
					if _, err := db.ExecContext(b.Context(), write, 1+law.Uint64()); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := scanRow(db, b.Context(), int64(1+law.Uint64())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(c.Stats().HitRatio(), "hits/read")
		})
	}
}

// BenchmarkLists is BenchmarkMixed for reads of a hundred lists of ten rows, by a power law.
func BenchmarkLists(b *testing.B) {
	base := shop(b)
	for name, write := range map[string]string{
		"by key": "UPDATE products SET stock = stock + 1 WHERE id IN ($1, $1)",
		"not":    "UPDATE products SET stock = stock + 1 WHERE id BETWEEN $1 AND $1",
	} {
		b.Run(name, func(b *testing.B) {
			db, c := open(b, base)
			law := rand.NewZipf(rand.New(rand.NewSource(1)), 1.1, 1, 999)
			lists := make([][]int64, 100)
			for i := range lists {
				for range 10 {
					lists[i] = append(lists[i], int64(1+law.Uint64()))
				}
			}
			for n := 0; b.Loop(); n++ {
				if n%20 == 19 {
					if _, err := db.ExecContext(b.Context(), write, 1+law.Uint64()); err != nil {
						b.Fatal(err)
					}
				}
				rows, err := db.QueryContext(b.Context(), "SELECT id, stock FROM products WHERE id = ANY($1)", lists[law.Uint64()%100])
				if err != nil {
					b.Fatal(err)
				}
				for rows.Next() {
				}
				if err := rows.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(c.Stats().HitRatio(), "hits/read")
		})
	}
}

// BenchmarkBusy reads rows by a power law while two others write rows by their keys without a pause, so that there is
// always a mark.
func BenchmarkBusy(b *testing.B) {
	base := shop(b)
	db, c := open(b, base)
	writing, end := context.WithCancel(b.Context())
	var writers sync.WaitGroup
	for seed := range 2 {
		other, _ := open(b, base)
		writers.Go(func() {
			law := rand.NewZipf(rand.New(rand.NewSource(int64(seed)+2)), 1.1, 1, 999)
			for writing.Err() == nil {
				other.ExecContext(b.Context(), "UPDATE products SET stock = stock + 1 WHERE id = $1", 1+law.Uint64())
			}
		})
	}
	defer writers.Wait()
	defer end()
	law := rand.NewZipf(rand.New(rand.NewSource(1)), 1.1, 1, 999)
	for b.Loop() {
		if _, err := scanRow(db, b.Context(), int64(1+law.Uint64())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(c.Stats().HitRatio(), "hits/read")
}

func driverHit(b *testing.B, c *sqlcache.Connector, query string, args []driver.NamedValue, want int) {
	ctx := b.Context()
	dc, err := c.Connect(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer dc.Close()
	q := dc.(driver.QueryerContext)
	read := func() error {
		rows, err := q.QueryContext(ctx, query, args)
		if err != nil {
			return err
		}
		var dest [6]driver.Value
		n := 0
		for rows.Next(dest[:]) != io.EOF {
			n++
		}
		if n != want {
			return fmt.Errorf("%d rows", n)
		}
		return rows.Close()
	}
	if err := read(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := read(); err != nil {
			b.Fatal(err)
		}
	}
}
