package sqltest

import (
	"database/sql"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/invalidate"
)

const lease = 300 * time.Millisecond

// death is a process that writes once and kills itself, as kill -9 would, at a step.
type death struct {
	At    string
	Tx    bool
	Query string
}

func (d *death) step(name string) {
	if name == d.At {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (d *death) run(db *sql.DB, _ *sqlcache.Connector, _ *invalidate.Tracker) error {
	if !d.Tx {
		_, err := db.Exec(d.Query)
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if _, err := tx.Exec(d.Query); err != nil {
		return err
	}
	return tx.Commit()
}

// in has d happen in a process of its own.
func (d death) in(t *testing.T, b base, out guard.Set) {
	t.Helper()
	p := part{Dialect: b.dialect, DSN: b.dsn, Redis: home{Addr: redisServer.Addr()}, Out: out, Lease: lease, Death: &d}
	pr, err := p.start(t, func(out io.Reader) { io.Copy(io.Discard, out) })
	if err != nil {
		t.Fatal(err)
	}
	<-pr.done
	if pr.cmd.ProcessState.Exited() {
		t.Fatalf("it was not killed: %v\n%s", pr.cmd.ProcessState, pr.errors.String())
	}
}

// A writer is killed at each step. Whatever it had done, both other processes read what the database has, and their
// memory serves again once the mark is past its lease. With the naive protocol (a touch after the commit and nothing
// else) the writer that dies between the two leaves stale rows, or this test would find nothing.
func TestWriterDies(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE r (id INT PRIMARY KEY, v INT)", "INSERT INTO r VALUES (1, 0)")
		plain := b.plain(t)
		db, c := open(t, b, func(o *sqlcache.Options) { o.Lease = lease })
		q := "SELECT v FROM r WHERE id = 1"
		v := 0
		stale := func(d death, out guard.Set) (old bool) {
			v++
			serves(t, db, c, q)
			d.Query = fmt.Sprintf("UPDATE r SET v = %d WHERE id = 1", v)
			d.in(t, b, out)
			if err := fence(t, c); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(2 * lease); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				truth := one[int](t, plain, q)
				old = one[int](t, db, q) < truth || old
			}
			// The mark of the dead is past its lease: the database is asked, and it goes.
			serves(t, db, c, q)
			return old || one[int](t, db, q) < one[int](t, plain, q)
		}
		for _, tx := range []bool{false, true} {
			for _, step := range []string{"begin", "marked", "committed", "touched"} {
				if d := (death{At: step, Tx: tx}); stale(d, 0) {
					t.Errorf("%+v: the writer left stale rows", d)
				}
			}
		}
		sometimes(t, "the naive protocol", func() bool { return stale(death{At: "committed"}, guard.Mark|guard.Before) })
	})
}

// A writer stands still between its mark and its commit for longer than its lease, while a reader loads.
func TestWriterStalls(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE r (id INT PRIMARY KEY, v INT)", "INSERT INTO r VALUES (1, 0)")
		q := "SELECT v FROM r WHERE id = 1"
		v := 0
		stall := func(out guard.Set) (got, want int) {
			t.Helper()
			v++
			short := func(o *sqlcache.Options) { o.Lease, o.MaxStaleness = lease, bound }
			inner := slow{b.connector(t), late}
			reader, rc := openWith(t, redisServer.Client(t), inner, guard.Plan{Out: out & guard.Suspect}, short)
			marked, on := make(chan struct{}), make(chan struct{})
			plan := guard.Plan{Out: out, Step: func(s string) {
				if s == "marked" {
					close(marked)
					<-on
				}
			}}
			writer, _ := openWith(t, redisServer.Client(t), inner, plan, short)
			done := make(chan error, 1)
			go func() {
				_, err := writer.Exec(fmt.Sprintf("UPDATE r SET v = %d WHERE id = 1", v))
				done <- err
			}()
			<-marked
			for end := time.Now().Add(2 * lease); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				one[int](t, reader, q)
			}
			close(on)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := fence(t, rc); err != nil {
				t.Fatal(err)
			}
			return one[int](t, reader, q), v
		}
		if got, want := stall(0); got != want {
			t.Errorf("read %d after %d was written", got, want)
		}
		// Nobody touches after the commit, as when the writer dies there: the mark alone keeps the row out of memory.
		if got, want := stall(guard.After); got != want {
			t.Errorf("the mark did not keep a row from being stored: %d, not %d", got, want)
		}
		for name, out := range map[string]guard.Set{
			"marks that expire into clean": guard.After | guard.Suspect,
			"invalidate-before-commit":     guard.After | guard.Mark,
		} {
			sometimes(t, name, func() bool { got, want := stall(out); return got != want })
		}
	})
}

// sometimes has f find what is known to be wrong. On a busy machine a race may be missed, but not for long.
func sometimes(t *testing.T, wrong string, f func() bool) {
	t.Helper()
	for range 20 {
		if f() {
			return
		}
	}
	t.Errorf("%s was not convicted: this test finds nothing", wrong)
}
