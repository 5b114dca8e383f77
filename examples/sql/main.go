// Command sql shows what sqlcache does to a database/sql program, and checks it.
//
//	go run ./examples/sql                                     needs nothing: SQLite and the Redis are in the process
//	go run ./examples/sql -postgres "postgres://…" -redis localhost:6379
//
// It makes a schema freshet_example (in SQLite a file) and removes it again. The exit status is 0 only if what it shows
// held. Read setUp for how a program is set up, and show for what it then does.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"modernc.org/sqlite"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
)

func main() {
	logging.Disable() // go-redis's own: what goes wrong comes back as an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: 0 when all it showed held, 1 when it did not or could not be shown, 2 for bad flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("sql", flag.ContinueOnError)
	fs.SetOutput(stderr)
	postgres := fs.String("postgres", "", "`dsn` of a PostgreSQL database; default: SQLite in a temporary file")
	redisAddr := fs.String("redis", "", "`host:port` of a Redis; default: one in this process")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || fs.NArg() > 0:
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := setUp(ctx, *postgres, *redisAddr)
	if err == nil {
		err = errors.Join(s.show(ctx, stdout), s.close())
	}
	if err != nil {
		fmt.Fprintln(stderr, "sql:", err)
		return 1
	}
	return 0
}

type shop struct {
	db      *sql.DB
	cache   *sqlcache.Connector
	param   string
	closers []func() error
}

func (s *shop) close() (err error) {
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	return err
}

// setUp is what a program does at its start: a Redis client, a tracker, the driver's connector, and ours around it.
func setUp(ctx context.Context, dsn, addr string) (_ *shop, err error) {
	s := &shop{param: "?"}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if addr == "" {
		server, err := notifytest.Run()
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, server.Close)
		addr = server.Addr
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	s.closers = append(s.closers, rdb.Close)
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, tracker.Close)

	inner, err := s.connector(dsn)
	if err != nil {
		return nil, err
	}
	s.cache, err = sqlcache.New(ctx, inner, tracker, sqlcache.Options{})
	if err != nil {
		return nil, err
	}
	s.db = sql.OpenDB(s.cache) // the one line that changes
	s.closers = append(s.closers, s.db.Close)
	if dsn != "" {
		s.closers = append(s.closers, func() error {
			_, err := s.db.Exec("DROP SCHEMA freshet_example CASCADE")
			return err
		})
		_, err = s.db.ExecContext(ctx, "CREATE SCHEMA freshet_example")
	}
	return s, err
}

func (s *shop) connector(dsn string) (driver.Connector, error) {
	if dsn != "" {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		s.param = "$1"
		cfg.RuntimeParams["search_path"] = "freshet_example"
		return stdlib.GetConnector(*cfg), nil
	}
	dir, err := os.MkdirTemp("", "freshet-sql")
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { return os.RemoveAll(dir) })
	return fileConnector("file:" + filepath.Join(dir, "shop.db") + "?_pragma=busy_timeout(5000)"), nil
}

// fileConnector opens SQLite by its name.
type fileConnector string

func (f fileConnector) Connect(context.Context) (driver.Conn, error) {
	return (&sqlite.Driver{}).Open(string(f))
}
func (fileConnector) Driver() driver.Driver { return &sqlite.Driver{} }

// show queries, writes, and looks at what fell.
func (s *shop) show(ctx context.Context, out io.Writer) error {
	for _, q := range []string{
		"CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(20), price INT)",
		"CREATE TABLE orders (id INT PRIMARY KEY, product INT)",
		"CREATE VIEW bestsellers AS SELECT p.name, count(*) AS n FROM products p JOIN orders o ON o.product = p.id GROUP BY p.name",
		"INSERT INTO products VALUES (1, 'pen', 2), (2, 'ink', 5)",
		"INSERT INTO orders VALUES (1, 2), (2, 2), (3, 1)",
	} {
		if _, err := s.db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	price := "SELECT price FROM products WHERE id = " + s.param
	sold := "SELECT count(*) FROM orders WHERE product = " + s.param
	best := "SELECT n FROM bestsellers WHERE name = " + s.param
	steps := []struct {
		title string
		do    string // a statement to run first
		query string
		arg   any
		want  int
		hit   bool
	}{
		{"first read: from the database", "", price, 2, 5, false},
		{"again: from memory", "", price, 2, 5, true},
		{"another product", "", price, 1, 2, false},
		{"another table", "", sold, 2, 2, false},
		{"a view over both", "", best, "ink", 2, false},
		{"the view again: from memory", "", best, "ink", 2, true},
		{"a new price: what read that row has fallen", "UPDATE products SET price = 6 WHERE id = 2", price, 2, 6, false},
		{"what read another row has not", "", price, 1, 2, true},
		{"orders have not", "", sold, 2, 2, true},
		{"the view has", "", best, "ink", 2, false},
		{"a new order", "INSERT INTO orders VALUES (4, 2)", best, "ink", 3, false},
		{"prices have not fallen", "", price, 2, 6, true},
		{"all prices at once: what read products has", "UPDATE products SET price = price + 1", price, 1, 3, false},
	}
	for _, st := range steps {
		if st.do != "" {
			if _, err := s.db.ExecContext(ctx, st.do); err != nil {
				return err
			}
			fmt.Fprintf(out, "\n%s\n", st.do)
		}
		before, began := s.cache.Stats().Hits, time.Now()
		var got int
		if err := s.db.QueryRowContext(ctx, st.query, st.arg).Scan(&got); err != nil {
			return fmt.Errorf("%s: %w", st.query, err)
		}
		took, hit := time.Since(began), s.cache.Stats().Hits > before
		where := "database"
		if hit {
			where = "memory"
		}
		fmt.Fprintf(out, "%-46s %3d  %-8s %8v\n", st.title, got, where, took.Round(time.Microsecond))
		if got != st.want || hit != st.hit {
			return fmt.Errorf("%s: got %d from %s, want %d, from memory: %v", st.title, got, where, st.want, st.hit)
		}
	}
	fmt.Fprintln(out, "\nWhat sqlcache makes of statements:")
	for _, q := range []string{price, best, "SELECT * FROM orders WHERE id > random()", "UPDATE products SET price = 7 WHERE id = 1",
		"DELETE FROM orders", "DROP TABLE orders"} {
		fmt.Fprintf(out, "  %s\n    %v\n", strings.Join(strings.Fields(q), " "), s.cache.Explain(q))
	}
	st := s.cache.Stats()
	fmt.Fprintf(out, "\nhit ratio %.2f: %d hits, %d loads, %d writes\n", st.HitRatio(), st.Hits, st.Loads, st.Writes)
	return nil
}
