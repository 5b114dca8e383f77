package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	sqlitedriver "modernc.org/sqlite"
)

// base is one database to test on: a way to dial it.
type base struct {
	dialect string
	dsn     string
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
	switch b.dialect {
	case "postgres":
		cfg, err := pgx.ParseConfig(b.dsn)
		if err != nil {
			return nil, err
		}
		return stdlib.GetConnector(*cfg), nil
	case "mysql":
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
