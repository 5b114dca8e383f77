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

// A connection that is kept for its settings takes no place from others, whoever has it. Seen to hang when it did.
func TestSettingTakesNoPlace(t *testing.T) {
	db, _ := open(t, newBase(t, "sqlite"), func(o *sqlcache.Options) { o.MaxConns = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		if _, err := db.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil {
			t.Fatal(err)
		}
		conn, err := db.Conn(ctx) // the one that is kept
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var is int
		if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&is); err != nil || is != 100 {
			t.Fatal(is, err)
		}
	}
}
