package sqlengine

import "context"

// Dialect is a database's way of speaking: [Postgres], [MySQL] (MariaDB as well) or [SQLite].
type Dialect interface {
	// Name is "postgres", "mysql" or "sqlite".
	Name() string

	syntax() syntax
	// function says what calling a function that the server brings along can do. Not for functions that users made.
	function(name string, cat *catalog) purity
	// session says what q's session is like: what differs from the catalog's makes it unfit for loads. What cannot change
	// while a connection lives may be taken from an earlier answer.
	session(ctx context.Context, q Querier, earlier Session) (Session, error)
	// load reads the catalog.
	load(ctx context.Context, q Querier) (*raw, error)
	// holds makes q's session hold id until it ends; asked with [Dialect.ended].
	hold(ctx context.Context, q Querier, id string) error
	// ended reports whether what was written under the mark of session id is decided: committed or not, for good.
	ended(ctx context.Context, q Querier, id string) (bool, error)
	// lockBefore is run before a write outside a transaction, so that ended can see it; "" when hold does.
	lockBefore() string
}

// Session is what must be the same on all connections whose reads are shared.
type Session struct {
	unfit  string // why nothing read here may be kept; "" when it may
	same   string // compared with the catalog's
	server string // where a dialect asks for it by itself
}

// SessionOf asks q what its session is like. earlier is what it said before, or the zero Session.
func SessionOf(ctx context.Context, d Dialect, q Querier, earlier Session) (Session, error) {
	return d.session(ctx, q, earlier)
}

// Querier runs statements. Query returns rows as texts, NULL as "".
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) ([][]string, error)
	Exec(ctx context.Context, sql string) error
}

// purity is what calling a function may do, from harmless to anything.
type purity uint8

const (
	pure     purity = iota // the same answer as long as the tables are the same
	fickle                 // writes nothing; answers differently by time, chance or session
	stateful               // changes the session
	anything               // may write any table
)
