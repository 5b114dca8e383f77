package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormmysql "gorm.io/driver/mysql"
	gormpg "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Author and Book are as any application has them.
type Author struct {
	ID    int64 `gorm:"primaryKey"`
	Name  string
	Books []Book
}

type Book struct {
	ID       int64 `gorm:"primaryKey"`
	AuthorID int64
	Title    string
	Price    int
}

func gormOpen(t testing.TB, b base, db *sql.DB, prepare bool) *gorm.DB {
	t.Helper()
	var d gorm.Dialector = gormpg.New(gormpg.Config{Conn: db})
	if b.dialect == "mysql" {
		d = gormmysql.New(gormmysql.Config{Conn: db})
	}
	g, err := gorm.Open(d, &gorm.Config{Logger: logger.Discard, PrepareStmt: prepare})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGORM(t *testing.T) {
	for _, dialect := range []string{"postgres", "mysql"} {
		for _, prepare := range []bool{false, true} {
			b := newBase(t, dialect)
			db, c := open(t, b)
			g := gormOpen(t, b, db, prepare)
			if err := g.AutoMigrate(&Author{}, &Book{}); err != nil {
				t.Fatal(err)
			}
			a := Author{Name: "Ada", Books: []Book{{Title: "One", Price: 1}, {Title: "Two", Price: 2}}}
			if err := g.Create(&a).Error; err != nil {
				t.Fatal(err)
			}
			read := func() Author {
				var got Author
				if err := g.Preload("Books").First(&got, a.ID).Error; err != nil {
					t.Fatal(err)
				}
				return got
			}
			remembered(t, c, 2, func() {
				if got := read(); got.Name != "Ada" || len(got.Books) != 2 {
					t.Errorf("%+v", got)
				}
			})
			if err := g.Model(&Book{}).Where("title = ?", "Two").Update("price", 5).Error; err != nil {
				t.Fatal(err)
			}
			if n := hits(c, func() {
				if got := read(); got.Books[1].Price != 5 {
					t.Errorf("%+v", got)
				}
			}); n != 1 {
				t.Errorf("%s: %d hits, the author's row alone should be one", dialect, n)
			}
			errBack := errors.New("back")
			err := g.Transaction(func(tx *gorm.DB) error {
				if err := tx.Delete(&Book{}, "author_id = ?", a.ID).Error; err != nil {
					return err
				}
				return errBack
			})
			if !errors.Is(err, errBack) || len(read().Books) != 2 {
				t.Error(err)
			}
			if err := g.Transaction(func(tx *gorm.DB) error { return tx.Delete(&Book{}, "author_id = ?", a.ID).Error }); err != nil {
				t.Fatal(err)
			}
			if got := read(); len(got.Books) != 0 {
				t.Errorf("%+v", got)
			}
		}
	}
}

func TestBun(t *testing.T) {
	b := newBase(t, "postgres")
	must(t, b.plain(t), "CREATE TABLE books (id BIGSERIAL PRIMARY KEY, author_id BIGINT, title TEXT, price INT)")
	db, c := open(t, b)
	g := bun.NewDB(db, pgdialect.New())
	ctx := t.Context()
	type Book struct {
		bun.BaseModel `bun:"table:books,alias:b"`
		ID            int64 `bun:",pk,autoincrement"`
		AuthorID      int64
		Title         string
		Price         int
	}
	book := Book{AuthorID: 1, Title: "One", Price: 3}
	if _, err := g.NewInsert().Model(&book).Exec(ctx); err != nil || book.ID == 0 {
		t.Fatal(err)
	}
	read := func() (all []Book) {
		if err := g.NewSelect().Model(&all).Where("? IN (?)", bun.Ident("author_id"), bun.List([]int64{1, 2})).OrderExpr("b.id").Scan(ctx); err != nil {
			t.Fatal(err)
		}
		return all
	}
	remembered(t, c, 1, func() { read() })
	if _, err := g.NewUpdate().Model(&book).Set("price = ?", 9).WherePK().Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if got := read(); got[0].Price != 9 {
		t.Errorf("%+v", got)
	}
}

// queries is what sqlc makes for database/sql.
type queries struct {
	db interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
}

func (q *queries) GetBook(ctx context.Context, id int64) (Book, error) {
	var b Book
	err := q.db.QueryRowContext(ctx, "-- name: GetBook :one\nSELECT id, author_id, title, price FROM books\nWHERE id = $1 LIMIT 1\n", id).
		Scan(&b.ID, &b.AuthorID, &b.Title, &b.Price)
	return b, err
}

func (q *queries) SetPrice(ctx context.Context, id int64, price int) (Book, error) {
	var b Book
	err := q.db.QueryRowContext(ctx, "-- name: SetPrice :one\nUPDATE books SET price = $2 WHERE id = $1 RETURNING id, author_id, title, price", id, price).
		Scan(&b.ID, &b.AuthorID, &b.Title, &b.Price)
	return b, err
}

func TestSqlcAndSqlx(t *testing.T) {
	b := newBase(t, "postgres")
	must(t, b.plain(t), "CREATE TABLE books (id BIGINT PRIMARY KEY, author_id BIGINT, title TEXT, price INT)", "INSERT INTO books VALUES (1, 1, 'One', 1)")
	db, c := open(t, b)
	q := &queries{db}
	remembered(t, c, 1, func() { q.GetBook(t.Context(), 1) })
	if got, err := q.SetPrice(t.Context(), 1, 4); err != nil || got.Price != 4 {
		t.Fatal(got, err)
	}
	if got, err := q.GetBook(t.Context(), 1); err != nil || got.Price != 4 {
		t.Error(got, err)
	}
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (&queries{tx}).SetPrice(t.Context(), 1, 5); err != nil || got.Price != 5 {
		t.Fatal(got, err)
	}
	if got, _ := q.GetBook(t.Context(), 1); got.Price != 4 {
		t.Errorf("uncommitted %+v", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	x := sqlx.NewDb(db, "pgx")
	remembered(t, c, 1, func() {
		var books []struct {
			ID, Price int64
			Title     string
		}
		if err := x.Select(&books, "SELECT id, price, title FROM books WHERE id = ANY($1)", []int64{1, 2}); err != nil || books[0].Price != 5 {
			t.Fatal(books, err)
		}
	})
	remembered(t, c, 2, func() {
		var n int
		rows, err := x.NamedQuery("SELECT count(*) FROM books WHERE price = :p", map[string]any{"p": 5})
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		rows.Scan(&n)
		rows.Close()
		var m int
		x.Get(&m, "SELECT count(*) FROM books WHERE price = $1", 5)
	})
}

// What a catalog knows: views, cascades, partitions, triggers, functions, row-level security.
func TestCatalogPostgres(t *testing.T) {
	b := newBase(t, "postgres")
	must(t, b.plain(t),
		"CREATE TABLE parent (id INT PRIMARY KEY, name TEXT)",
		"CREATE TABLE child (id INT PRIMARY KEY, pid INT REFERENCES parent ON DELETE CASCADE)",
		"CREATE VIEW v AS SELECT p.name, c.id FROM parent p JOIN child c ON c.pid = p.id", "CREATE VIEW vv AS SELECT * FROM v",
		"CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM parent",
		"CREATE TABLE part (id INT, at DATE) PARTITION BY RANGE (at)", "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
		"CREATE TABLE log (id INT)", "CREATE TABLE watched (id INT, at TIMESTAMP)",
		"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id); NEW.at := now(); RETURN NEW; END $$",
		"CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION note()",
		"CREATE TABLE wild (id INT)",
		"CREATE FUNCTION any_of_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO ' || 'log VALUES (1)'; RETURN NEW; END $$",
		"CREATE TRIGGER x BEFORE INSERT ON wild FOR EACH ROW EXECUTE FUNCTION any_of_it()",
		"CREATE FUNCTION vol(int) RETURNS int LANGUAGE sql AS 'SELECT $1'", "CREATE TABLE rls (id INT)", "ALTER TABLE rls ENABLE ROW LEVEL SECURITY",
		"CREATE VIEW fresh AS SELECT * FROM watched WHERE at > now()", "CREATE TABLE \"Odd Name\" (id INT)",
		"CREATE TABLE sieved (id INT)",
		"CREATE TRIGGER y BEFORE UPDATE ON sieved FOR EACH ROW WHEN (vol(NEW.id) > OLD.id) EXECUTE FUNCTION note()")
	_, c := open(t, b)
	for q, want := range map[string]string{
		"SELECT * FROM vv":                         "cached; falls with public.child, public.parent",
		"SELECT * FROM mv":                         "cached; falls with public.mv",
		"SELECT count(*), max(id) FROM child":      "cached; falls with public.child",
		`SELECT * FROM "Odd Name"`:                 "cached; falls with public.Odd Name",
		"DELETE FROM parent WHERE id = 1":          "not cached: a write; writes public.child, public.parent; rows by their id",
		"INSERT INTO part_1 VALUES (1, NULL)":      "not cached: a write; writes public.part, public.part_1",
		"INSERT INTO watched (id) VALUES (1)":      "not cached: a write; writes public.log, public.watched",
		"INSERT INTO wild VALUES (1)":              "not cached: a write to public.wild: a trigger that runs what its text does not show; writes *",
		"UPDATE sieved SET id = 1":                 "not cached: a write to public.sieved: a trigger that calls the function vol; writes *",
		"SELECT vol(id) FROM child":                "not cached: the function vol may write anything; writes *",
		"SELECT * FROM rls":                        "not cached: public.rls: row-level security",
		"SELECT * FROM fresh":                      "not cached: public.fresh: the function now is not the same at every call",
		"SELECT relname FROM pg_class":             "not cached: pg_catalog.pg_class: a system table",
		"SELECT lower(name), random() FROM parent": "not cached: the function random is not the same at every call",
	} {
		if got := c.Explain(q).String(); got != want {
			t.Errorf("%s\n  %s\nwant\n  %s", q, got, want)
		}
	}
}

func TestCatalogMariaDB(t *testing.T) {
	b := newBase(t, "mysql")
	must(t, b.plain(t),
		"CREATE TABLE parent (id INT PRIMARY KEY, name TEXT)",
		"CREATE TABLE child (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES parent (id) ON DELETE CASCADE)",
		"CREATE VIEW v AS SELECT p.name, c.id FROM parent p JOIN child c ON c.pid = p.id",
		"CREATE TABLE log (id INT) ENGINE=MyISAM", "CREATE TABLE watched (id INT)", "CREATE TABLE gone (id INT) ENGINE=MEMORY",
		"CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
		"CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a",
		"CREATE TABLE named (a VARCHAR(9), b VARCHAR(20) AS (concat(a, ' ', a)) VIRTUAL)")
	_, c := open(t, b)
	schema := one[string](t, b.plain(t), "SELECT DATABASE()")
	for q, want := range map[string]string{
		"SELECT * FROM v":                 "cached; falls with " + schema + ".child, " + schema + ".parent",
		"DELETE FROM parent WHERE id = 1": "not cached: a write; writes " + schema + ".child, " + schema + ".parent; rows by their id",
		"INSERT INTO watched VALUES (1)":  "not cached: a write; writes " + schema + ".log, " + schema + ".watched",
		"SELECT b FROM named":             "cached; falls with " + schema + ".named",
		"SELECT f(id) FROM child":         "not cached: the function f may write anything; writes *",
		"SELECT * FROM gone":              "not cached: " + schema + ".gone: its engine MEMORY is not known to announce every change",
	} {
		if got := c.Explain(q).String(); got != want {
			t.Errorf("%s\n  %s\nwant\n  %s", q, got, want)
		}
	}
}
