package sqlcache

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// Dialect is a database's way of speaking: [Postgres], [MySQL] (MariaDB as well) or [SQLite]. Its Name is "postgres",
// "mysql" or "sqlite".
type Dialect = sqlengine.Dialect

// Postgres is PostgreSQL 13 and later.
func Postgres() Dialect { return sqlengine.Postgres() }

// MySQL is MySQL 8 and MariaDB 10.5 and later.
func MySQL() Dialect { return sqlengine.MySQL() }

// SQLite is SQLite 3, as modernc.org/sqlite and others bring it along.
func SQLite() Dialect { return sqlengine.SQLite() }

// told finds the dialect by the driver's own type.
func told(d driver.Driver) (Dialect, error) {
	t := reflect.TypeOf(d)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pkg := ""
	if t != nil {
		pkg = strings.ToLower(t.PkgPath())
	}
	switch {
	case strings.Contains(pkg, "pgx"), strings.Contains(pkg, "lib/pq"):
		return Postgres(), nil
	case strings.Contains(pkg, "mysql"):
		return MySQL(), nil
	case strings.Contains(pkg, "sqlite"):
		return SQLite(), nil
	}
	return nil, fmt.Errorf("sqlcache: Options.Dialect is nil and the driver %T is not known: "+
		"set it to Postgres(), MySQL() or SQLite()", d)
}
