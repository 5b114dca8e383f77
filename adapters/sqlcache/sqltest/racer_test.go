package sqltest

import (
	"context"
	"database/sql"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
)

// record is a row with a version, "v", that only grows. Written is false for one that nobody writes.
type record struct {
	Table string
	ID    int
}

func (r record) String() string { return fmt.Sprintf("%s %d", r.Table, r.ID) }

// racer is one process's part in a race. It says on stdout what it does while it does it, so that nothing is forgotten
// when it is killed.
type racer struct {
	Name  string
	Start time.Duration // of the race's clock
	Bound time.Duration // that its reads promise

	Param   string // how the dialect names a query's first parameter
	Reads   []record
	Readers int

	Writes *record // its own
	First  uint64  // the version that it writes first
	// It stands still after one commit of twelve for Still, and for up to Pause at every step.
	Still, Pause time.Duration

	out sync.Mutex // held while it says something
	enc *gob.Encoder
}

// event is what a racer says: one of these. A write is said twice, before it begins and when it is done.
type event struct {
	Step  string // that its writer has come to
	Write *history.Write
	Read  *history.Read
	Fence *history.Fence
	Hits  uint64 // reads from memory until now
	Error string
}

// now is the same in all processes of a machine: what one has done before another begins has the smaller time. (The wall
// clock may step, and time.Time's monotonic reading is for one process.)
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func (r *racer) now() time.Duration { return now() - r.Start }

func (r *racer) say(e event) {
	r.out.Lock()
	defer r.out.Unlock()
	if r.enc == nil {
		r.enc = gob.NewEncoder(os.Stdout)
	}
	if err := r.enc.Encode(e); err != nil {
		os.Exit(4) // nobody listens any more
	}
}

func (r *racer) step(name string) {
	r.say(event{Step: name})
	if name == "committed" && r.Still > 0 && rand.IntN(12) == 0 {
		time.Sleep(r.Still)
	}
	if r.Pause > 0 {
		time.Sleep(rand.N(r.Pause))
	}
}

func (r *racer) run(db *sql.DB, c *sqlcache.Connector, tr *invalidate.Tracker) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	for i := range r.Readers {
		wg.Go(func() { r.read(ctx, db, i) })
	}
	if r.Readers > 0 {
		wg.Go(func() { r.fence(ctx, tr, c) })
	}
	if r.Writes != nil {
		wg.Go(func() { r.write(ctx, db) })
	}
	io.Copy(io.Discard, os.Stdin)
	stop()
	wg.Wait()
	return nil
}

func (r *racer) read(ctx context.Context, db *sql.DB, reader int) {
	for n := 0; ctx.Err() == nil; n++ {
		qctx := context.Background()
		if n%8 == 0 {
			qctx = sqlcache.NoCache(qctx) // sees what is committed, and proves it
		}
		k := r.Reads[rand.IntN(len(r.Reads))]
		read := history.Read{Reader: reader, Instance: r.Name, Key: k.String(), Hit: true, Bound: r.Bound, Start: r.now()}
		err := db.QueryRowContext(qctx, "SELECT v FROM "+k.Table+" WHERE id = "+r.Param, k.ID).Scan(&read.Version)
		read.End = r.now()
		if err != nil {
			r.say(event{Error: fmt.Sprintf("%s reads %v: %v", r.Name, k, err)})
			return
		}
		r.say(event{Read: &read})
		time.Sleep(time.Millisecond)
	}
}

func (r *racer) fence(ctx context.Context, tr *invalidate.Tracker, c *sqlcache.Connector) {
	for ctx.Err() == nil {
		f := history.Fence{Instance: r.Name, Start: r.now()}
		if tr.Fence(ctx) == nil {
			f.End = r.now()
			r.say(event{Fence: &f})
			r.say(event{Hits: c.Stats().Hits})
		}
		time.Sleep(rand.N(60 * time.Millisecond))
	}
}

func (r *racer) write(ctx context.Context, db *sql.DB) {
	for v := r.First; ctx.Err() == nil; v++ {
		w := history.Write{Key: r.Writes.String(), Version: v, Start: r.now()}
		w.End = w.Start
		r.say(event{Write: &w})
		_, err := db.Exec(fmt.Sprintf("UPDATE %s SET v = %d WHERE id = %d", r.Writes.Table, v, r.Writes.ID))
		if errors.Is(err, sqlcache.ErrNotMarked) { // there is no primary now
			w.End, w.Outcome = r.now(), history.NotApplied
			r.say(event{Write: &w})
			continue
		}
		if err != nil {
			r.say(event{Error: fmt.Sprintf("%s writes %v: %v", r.Name, *r.Writes, err)})
			return
		}
		w.End, w.Outcome = r.now(), history.Applied
		r.say(event{Write: &w})
		time.Sleep(rand.N(30 * time.Millisecond))
	}
}
