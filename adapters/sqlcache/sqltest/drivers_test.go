package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"github.com/mattn/go-sqlite3"
	sqlitedriver "modernc.org/sqlite"
)

// base is one database to test on: a way to dial it.
type base struct {
	dialect string
	dsn     string
	open    func(dsn string) (driver.Connector, error) // nil: by the dialect's first driver
}

func (b base) connector(t testing.TB) driver.Connector {
	t.Helper()
	c, err := dial(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// plainConnector is for a driver that has none of its own.
type plainConnector struct {
	driver driver.Driver
	dsn    string
}

func (c plainConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c plainConnector) Driver() driver.Driver                        { return c.driver }

func dial(b base) (driver.Connector, error) {
	switch {
	case b.open != nil:
		return b.open(b.dsn)
	case b.dialect == "postgres":
		cfg, err := pgx.ParseConfig(b.dsn)
		if err != nil {
			return nil, err
		}
		return stdlib.GetConnector(*cfg), nil
	case b.dialect == "mysql":
		cfg, err := mysqldriver.ParseDSN(b.dsn)
		if err != nil {
			return nil, err
		}
		return mysqldriver.NewConnector(cfg)
	}
	return plainConnector{&sqlitedriver.Driver{}, b.dsn}, nil
}

func (b base) plain(t testing.TB) *sql.DB {
	db := sql.OpenDB(b.connector(t))
	t.Cleanup(func() { db.Close() })
	return db
}

// everyDriver is bases, and again with other drivers for them. go-sqlite3 needs a C compiler, as -race does.
func everyDriver(t *testing.T, f func(t *testing.T, b base)) {
	bases(t, f)
	t.Run("lib/pq", func(t *testing.T) {
		b := newBase(t, "postgres")
		b.open = func(dsn string) (driver.Connector, error) { return pq.NewConnector(dsn) }
		f(t, b)
	})
	t.Run("mattn/go-sqlite3", func(t *testing.T) {
		b := newBase(t, "sqlite")
		file, _, _ := strings.Cut(b.dsn, "?")
		b.dsn = file + "?_busy_timeout=5000&_journal_mode=WAL&_foreign_keys=1"
		b.open = func(dsn string) (driver.Connector, error) { return plainConnector{&sqlite3.SQLiteDriver{}, dsn}, nil }
		f(t, b)
	})
}
