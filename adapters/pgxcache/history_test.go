package pgxcache

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/history"
)

const bound = 400 * time.Millisecond

// slow delays each answer: what was read is old when it arrives. It is a pgx.QueryTracer.
type slow struct{}

type slowKey struct{}

func (slow) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, slowKey{}, strings.HasPrefix(d.SQL, "SELECT v"))
}

func (slow) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(slowKey{}) == true {
		time.Sleep(rand.N(4 * time.Millisecond))
	}
}

// racer is one instance of a race: a pgxcache or, beside them, a sqlcache.
type racer struct {
	name  string
	read  func(ctx context.Context, k int) (uint64, error)
	write func(k int, v uint64) error
	fence func() error
	hits  func() uint64
}

// Each key has a table of its own: a mark on one leaves the others' rows in memory.
func selectOf(k int) string { return fmt.Sprintf("SELECT v FROM r%d WHERE id = $1", k) }
func updateOf(k int) string { return fmt.Sprintf("UPDATE r%d SET v = $2 WHERE id = $1", k) }

func pgxRacer(t *testing.T, base *pgxpool.Pool, plan guard.Plan, name string) racer {
	pool := newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) { c.ConnConfig.Tracer = slow{} })
	db := openOn(t, guard.With(t.Context(), plan), pool, func(o *Options) { o.MaxStaleness = bound })
	return racer{
		name: name,
		read: func(ctx context.Context, k int) (v uint64, err error) {
			err = db.QueryRow(ctx, selectOf(k), k).Scan(&v)
			return v, err
		},
		write: func(k int, v uint64) error { return writePgx(t.Context(), db.DB, k, v) },
		fence: func() error { return db.tracker.Fence(t.Context()) },
		hits:  func() uint64 { return db.Stats().Hits },
	}
}

// writePgx writes in one of the ways there are.
func writePgx(ctx context.Context, db *DB, k int, v uint64) error {
	q := updateOf(k)
	switch v % 4 {
	case 0:
		return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, q, k, v)
			return err
		})
	case 1:
		b := &pgx.Batch{}
		b.Queue(q, k, v)
		return db.SendBatch(ctx, b).Close()
	case 2:
		return db.QueryRow(ctx, q+" RETURNING id", k, v).Scan(new(int))
	}
	_, err := db.Exec(ctx, q, k, v)
	return err
}

func sqlRacer(t *testing.T, base *pgxpool.Pool, plan guard.Plan, name string) racer {
	config := base.Config().ConnConfig.Copy()
	config.Tracer = slow{}
	tr := newTracker(t)
	c, err := sqlcache.New(guard.With(t.Context(), plan), stdlib.GetConnector(*config), tr, sqlcache.Options{MaxStaleness: bound})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return racer{
		name: name,
		read: func(ctx context.Context, k int) (v uint64, err error) {
			err = db.QueryRowContext(ctx, selectOf(k), k).Scan(&v)
			return v, err
		},
		write: func(k int, v uint64) error {
			_, err := db.Exec(updateOf(k), k, int64(v))
			return err
		},
		fence: func() error { return tr.Fence(t.Context()) },
		hits:  func() uint64 { return c.Stats().Hits },
	}
}

// Readers and writers on rows with versions, in two instances of pgxcache and one of sqlcache, with queries of
// milliseconds and writers that stand still between commit and touch for longer than the bound. Nobody reads what is
// older than the bound, or than a fence. With a step of the protocol taken out the same race shows stale reads.
func TestHistory(t *testing.T) {
	for _, p := range []struct {
		name string
		out  guard.Set
	}{{"full protocol", 0}, {"invalidate before commit", guard.Mark | guard.After}, {"naive after commit", guard.Mark | guard.Before}} {
		r, hits := race(t, p.out)
		t.Logf("%s: %d hits, %v", p.name, hits, r)
		switch {
		case p.out == 0 && len(r.Violations) > 0:
			t.Errorf("%d stale reads", len(r.Violations))
		case p.out == 0 && hits < 1000:
			t.Errorf("%d hits: little was raced for", hits)
		case p.out != 0 && len(r.Violations) == 0:
			t.Errorf("%s was not convicted: the checker finds nothing", p.name)
		}
	}
}

// enough reads and writes make a race; a busy machine may take longer for them.
const enoughReads, enoughWrites = 6000, 480

func race(t *testing.T, out guard.Set) (*history.Report, uint64) {
	t.Helper()
	const keys = 3 // one for each writer
	base := newBase(t)
	for k := range keys {
		must(t, base, fmt.Sprintf("CREATE TABLE r%d (id INT PRIMARY KEY, v BIGINT)", k), fmt.Sprintf("INSERT INTO r%d VALUES (%d, 0)", k, k))
	}
	plan := guard.Plan{Out: out, Step: func(s string) {
		if s == "committed" && rand.IntN(30) == 0 {
			time.Sleep(bound + 300*time.Millisecond)
		}
	}}
	racers := []racer{pgxRacer(t, base, plan, "pgx a"), pgxRacer(t, base, plan, "pgx b"), sqlRacer(t, base, plan, "sql")}
	rec := history.NewRecorder()
	var reads, writes sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i, who := range racers {
		for range 3 {
			log := rec.Log()
			reads.Go(func() {
				for n := 0; n < enoughReads/9 || ctx.Err() == nil; n++ {
					qctx := t.Context()
					if n%8 == 0 {
						qctx = sqlcache.NoCache(qctx) // sees what is committed, and proves it
					}
					k := rand.IntN(keys)
					log.Read(who.name, fmt.Sprint(k), func() (o history.Observation, err error) {
						o.Version, err = who.read(qctx, k)
						o.Hit, o.Bound = true, bound
						return o, err
					})
					if n%50 == 0 {
						log.Fence(who.name, who.fence)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		log := rec.Log()
		writes.Go(func() {
			for v := uint64(1); v <= enoughWrites/3; v++ {
				op := log.BeginWrite(fmt.Sprint(i), v)
				if err := who.write(i, v); err != nil {
					t.Error(err)
					return
				}
				op.Done(history.Applied)
				time.Sleep(rand.N(20 * time.Millisecond))
			}
		})
	}
	writes.Wait()
	stop()
	reads.Wait()
	var hits uint64
	for _, who := range racers {
		hits += who.hits()
	}
	r, err := history.Check(rec.History(), history.Options{Require: []history.Kind{history.I1, history.I2}})
	if err != nil {
		t.Fatal(err)
	}
	return r, hits
}
