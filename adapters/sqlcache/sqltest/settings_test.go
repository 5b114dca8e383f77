package sqltest

import (
	"context"
	"testing"
	"time"

	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// A migration of GORM's switches SQLite's foreign keys off, makes a table anew, and switches them on: what refers to the table
// is still there. Seen to lose the children, in both ways, when the connection with the setting was closed.
func TestSettingStays(t *testing.T) {
	type Child struct{ ID, ParentID int }
	type Parent struct {
		ID       int
		Name     string
		Children []Child `gorm:"foreignKey:ParentID;constraint:OnDelete:CASCADE"`
	}
	everyDriver(t, func(t *testing.T, b base) {
		if b.dialect != "sqlite" {
			return
		}
		for _, own := range []int{1, 0} { // connections that database/sql may have
			db, c := open(t, b)
			db.SetMaxOpenConns(own)
			g, err := gorm.Open(gormsqlite.New(gormsqlite.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.AutoMigrate(&Parent{}, &Child{}); err != nil {
				t.Fatal(err)
			}
			if err := g.Create(&Parent{Name: "p", Children: []Child{{}, {}}}).Error; err != nil {
				t.Fatal(err)
			}
			const children = "SELECT count(*) FROM children"
			had := one[int](t, b.plain(t), children)
			if err := g.Migrator().AlterColumn(&Parent{}, "Name"); err != nil {
				t.Fatal(err)
			}
			if is := one[int](t, b.plain(t), children); is != had {
				t.Errorf("%d children of %d left by AlterColumn", is, had)
			}
			serves(t, db, c, children) // though the connection is kept
			must(t, db, "PRAGMA foreign_keys = OFF", "VACUUM", "CREATE TABLE other (id INT)", "DROP TABLE other", "DELETE FROM parents", "PRAGMA foreign_keys = ON")
			if is := one[int](t, db, children); is != had {
				t.Errorf("%d children of %d left without their parents", is, had)
			}
			serves(t, db, c, children)
			must(t, db, "DELETE FROM children", "INSERT INTO parents (id) VALUES (7)", "INSERT INTO children (parent_id) VALUES (7)", "DELETE FROM parents")
			if is := one[int](t, db, children); is != 0 {
				t.Errorf("%d children are left: foreign keys are still off", is)
			}
		}
	})
}

// A connection that is kept for its settings takes no place from others, whoever has it, and while it still does it reads by
// itself. Seen to hang when it took one for good, and when memory answered for it at once.
func TestSettingTakesNoPlace(t *testing.T) {
	for _, b := range []base{newBase(t, "sqlite"), {dialect: "sqlite", dsn: ":memory:"}} {
		db, _ := open(t, b, func(o *sqlcache.Options) { o.MaxConns = 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		must(t, db, "CREATE TABLE a (id INT)", "INSERT INTO a VALUES (1)")
		for i := range 3 {
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var is, id int
			for range 2 { // where it was set, and where it was kept
				if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil {
					t.Fatal(err)
				}
				if err := conn.QueryRowContext(ctx, "SELECT id FROM a").Scan(&id); err != nil || id != 1 {
					t.Fatal(b.dsn, i, id, err)
				}
				conn.Close()
				if conn, err = db.Conn(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&is); err != nil || is != 100 {
				t.Fatal(b.dsn, i, is, err)
			}
			if b.dsn == ":memory:" { // has one connection in all
				conn.Close()
			} else {
				defer conn.Close()
			}
		}
	}
}
