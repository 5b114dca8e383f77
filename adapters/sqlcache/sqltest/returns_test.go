package sqltest

import (
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/redistest"
)

// A Redis that comes back with a mark that had been removed keeps its table out of memory no longer than a lease, though
// the writer's session lives on. Without marks.returned it did so for the life of the connection, an hour.
func TestMarkReturns(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE r (id INT PRIMARY KEY, v INT)", "INSERT INTO r VALUES (1, 0)")
		rdb := redistest.Start(t).Client(t)
		var marks string
		var stood atomic.Pointer[[]redis.Z]
		plan := guard.Plan{Step: func(step string) {
			if step == "marked" {
				marks = rdb.Keys(t.Context(), "freshet:sql:*:marks").Val()[0]
				zs := rdb.ZRangeWithScores(t.Context(), marks, 0, -1).Val()
				stood.Store(&zs)
			}
		}}
		db, c := openWith(t, rdb, b.connector(t), plan, func(o *sqlcache.Options) { o.Lease = lease })
		q := "SELECT v FROM r WHERE id = 1"
		serves(t, db, c, q)
		must(t, db, "UPDATE r SET v = 1 WHERE id = 1")
		if n := rdb.ZCard(t.Context(), marks).Val(); n != 1 || len(*stood.Load()) < 2 { // the generation
			t.Fatalf("%d marks after the write, %v before", n, *stood.Load())
		}
		if err := rdb.ZAdd(t.Context(), marks, *stood.Load()...).Err(); err != nil {
			t.Fatal(err)
		}
		must(t, db, "UPDATE r SET v = 2 WHERE id = 1")
		serves(t, db, c, q)
		if v := one[int](t, db, q); v != 2 {
			t.Errorf("memory has %d", v)
		}
		if n := rdb.ZCard(t.Context(), marks).Val(); n != 1 {
			t.Errorf("%d marks are left", n-1)
		}
	})
}
