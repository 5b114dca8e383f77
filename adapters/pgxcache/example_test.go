package pgxcache_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/pgxcache"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
)

func Example() {
	ctx := context.Background()
	redisServer, err := notifytest.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer redisServer.Close()
	postgres, err := sqltestdb.RunPostgres() // stands for your PostgreSQL
	if err != nil {
		log.Fatal(err)
	}
	defer postgres.Close()

	rdb := redis.NewClient(&redis.Options{Addr: redisServer.Addr})
	defer rdb.Close()
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	pool, err := pgxpool.New(ctx, "postgres://postgres@"+postgres.Addr()+"/postgres?sslmode=disable")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db, err := pgxcache.New(ctx, pool, tracker, pgxcache.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	price := func() (p int) { // with sqlc: sqlcgen.New(db).GetPrice(ctx, 1)
		if err := db.QueryRow(ctx, "SELECT price FROM products WHERE id = $1", 1).Scan(&p); err != nil {
			log.Fatal(err)
		}
		return p
	}
	for _, sql := range []string{"CREATE TABLE products (id INT PRIMARY KEY, price INT)", "INSERT INTO products VALUES (1, 5)"} {
		if _, err := db.Exec(ctx, sql); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(price(), price(), "hits:", db.Stats().Hits)
	if _, err := db.Exec(ctx, "UPDATE products SET price = $1", 6); err != nil {
		log.Fatal(err)
	}
	fmt.Println(price(), price(), "hits:", db.Stats().Hits)
	fmt.Println(db.Explain("SELECT price FROM products WHERE id = $1"))
	// Output:
	// 5 5 hits: 1
	// 6 6 hits: 2
	// cached; falls with public.products; rows by their id
}
