package sqlcache

import (
	"context"
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
)

// Dialect is a database's way of speaking: [Postgres], [MySQL] (MariaDB as well) or [SQLite].
type Dialect interface {
	// Name is "postgres", "mysql" or "sqlite".
	Name() string

	syntax() syntax
	// function says what calling a function that the server brings along can do. Not for functions that users made.
	function(name string, cat *catalog) purity
	// session says what a fresh connection is: what differs from the catalog's makes it unfit for loads.
	session(ctx context.Context, q querier) (session, error)
	// load reads the catalog.
	load(ctx context.Context, q querier) (*raw, error)
	// holds makes q's session hold id until it ends; asked with [Dialect.ended].
	hold(ctx context.Context, q querier, id string) error
	// ended reports whether what was written under the mark of session id is decided: committed or not, for good.
	ended(ctx context.Context, q querier, id string) (bool, error)
	// lockBefore is run before a write outside a transaction, so that ended can see it; "" when hold does.
	lockBefore() string
}

// session is what must be the same on all connections whose reads are shared.
type session struct {
	unfit string // why nothing read here may be kept; "" when it may
	same  string // compared with the catalog's
}

// querier runs a statement and returns its rows as texts, NULL as "".
type querier interface {
	query(ctx context.Context, sql string, args ...any) ([][]string, error)
	exec(ctx context.Context, sql string) error
}

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

// purity is what calling a function may do, from harmless to anything.
type purity uint8

const (
	pure     purity = iota // the same answer as long as the tables are the same
	fickle                 // writes nothing; answers differently by time, chance or session
	stateful               // changes the session
	anything               // may write any table
)
