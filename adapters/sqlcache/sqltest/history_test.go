package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

// openWith is open with a plan for the protocol and answers that take up to 4 ms.
func openWith(t testing.TB, b base, plan guard.Plan, change ...func(*sqlcache.Options)) (*sql.DB, *sqlcache.Connector) {
	t.Helper()
	rdb := redisServer.Client(t)
	tr, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{Slots: 1 << 14, Notify: notify.Options{Heartbeat: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	opts := sqlcache.Options{Redis: rdb, MaxStaleness: bound}
	for _, c := range change {
		c(&opts)
	}
	c, err := sqlcache.New(guard.With(t.Context(), plan), slow{b.connector(t), 4 * time.Millisecond}, tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	trackers.Store(c, tr)
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db, c
}

const bound = 400 * time.Millisecond

// Readers and writers on rows with versions, in three instances, with queries of milliseconds and writers that stand
// still between commit and touch for longer than the bound.
func TestHistory(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		full := race(t, b, 0)
		t.Log("full protocol:", full)
		if n := len(full.Violations); n != 0 {
			t.Errorf("%d stale reads", n)
		}
		for name, out := range map[string]guard.Set{
			"invalidate before commit": guard.Mark | guard.After,
			"naive after commit":       guard.Mark | guard.Before,
		} {
			r := race(t, b, out)
			t.Log(name+":", r)
			if len(r.Violations) == 0 {
				t.Errorf("%s was not convicted: the checker finds nothing", name)
			}
		}
	})
}

func race(t *testing.T, b base, out guard.Set) *history.Report {
	t.Helper()
	plain := b.plain(t)
	must(t, plain, "DROP TABLE IF EXISTS r", "CREATE TABLE r (id INT PRIMARY KEY, v INT)")
	const keys, instances = 4, 3
	for k := range keys {
		must(t, plain, fmt.Sprintf("INSERT INTO r VALUES (%d, 0)", k))
	}
	rec := history.NewRecorder()
	plan := guard.Plan{Out: out, Step: func(s string) {
		if s == "committed" && rand.IntN(12) == 0 {
			time.Sleep(bound + 300*time.Millisecond)
		}
	}}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	var wg sync.WaitGroup
	q := "SELECT v FROM r WHERE id = " + b.param()
	for i := range instances {
		db, c := openWith(t, b, plan)
		name := fmt.Sprint("instance", i)
		for range 3 {
			log := rec.Log()
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					qctx := t.Context()
					if n%8 == 0 {
						qctx = sqlcache.NoCache(qctx) // sees what is committed, and proves it
					}
					k := rand.IntN(keys)
					log.Read(name, fmt.Sprint(k), func() (o history.Observation, err error) {
						err = db.QueryRowContext(qctx, q, k).Scan(&o.Version)
						o.Hit, o.Bound = true, bound
						return o, err
					})
					if n%50 == 0 {
						log.Fence(name, func() error { return fence(t, c) })
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		log := rec.Log()
		wg.Go(func() { // one writer a key; the last key has none
			if i >= keys {
				return
			}
			for v := uint64(1); ctx.Err() == nil; v++ {
				op := log.BeginWrite(fmt.Sprint(i), v)
				_, err := db.Exec(fmt.Sprintf("UPDATE r SET v = %d WHERE id = %d", v, i))
				if err != nil {
					t.Error(err)
					return
				}
				op.Done(history.Applied)
				time.Sleep(rand.N(30 * time.Millisecond))
			}
		})
	}
	wg.Wait()
	r, err := history.Check(rec.History(), history.Options{Require: []history.Kind{history.I1, history.I2}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
