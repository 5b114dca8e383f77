package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
)

// The connector goes around the driver's; the rest of a program stays as it is.
func Example() {
	ctx := context.Background()
	server, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	inner, err := dial(base{dialect: "sqlite", dsn: "file:" + filepath.Join(dir, "shop.db")}) // for PostgreSQL: stdlib.GetConnector
	if err != nil {
		log.Fatal(err)
	}
	c, err := sqlcache.New(ctx, inner, tracker, sqlcache.Options{})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()

	price := func() (p int) {
		db.QueryRowContext(ctx, "SELECT price FROM products WHERE id = ?", 1).Scan(&p)
		return p
	}
	db.ExecContext(ctx, "CREATE TABLE products (id INTEGER PRIMARY KEY, price INT)")
	db.ExecContext(ctx, "INSERT INTO products VALUES (1, 5)")
	fmt.Println(price(), price(), "hits:", c.Stats().Hits)
	db.ExecContext(ctx, "UPDATE products SET price = 6")
	fmt.Println(price(), price(), "hits:", c.Stats().Hits)
	fmt.Println(c.Explain("SELECT price FROM products WHERE id = ?"))
	// Output:
	// 5 5 hits: 1
	// 6 6 hits: 2
	// cached; falls with main.products; rows by their id
}
