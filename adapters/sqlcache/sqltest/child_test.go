package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/invalidate"
)

// A child is this test binary, run as one more process that writes and is killed in the middle.
const childEnv = "FRESHET_SQLTEST_CHILD"

const lease = 300 * time.Millisecond

// child writes as the environment says and kills itself, as kill -9 would, at the step named there.
func child() {
	f := strings.Split(os.Getenv(childEnv), "\n")
	b, addr, step, how, query := base{f[0], f[1]}, f[2], f[3], f[4], f[5]
	err := func() error {
		var out guard.Set
		fmt.Sscan(f[6], &out)
		ctx := guard.With(context.Background(), guard.Plan{Out: out, Step: func(s string) {
			if s == step {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}})
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		tr, err := invalidate.Connect(ctx, rdb, invalidate.Options{})
		if err != nil {
			return err
		}
		inner, err := dial(b)
		if err != nil {
			return err
		}
		c, err := sqlcache.New(ctx, inner, tr, sqlcache.Options{Redis: rdb, Lease: lease})
		if err != nil {
			return err
		}
		db := sql.OpenDB(c)
		if how == "tx" {
			tx, err := db.Begin()
			if err != nil {
				return err
			}
			if _, err := tx.Exec(query); err != nil {
				return err
			}
			return tx.Commit()
		}
		_, err = db.Exec(query)
		return err
	}()
	fmt.Fprintln(os.Stderr, "child was not killed:", err)
	os.Exit(3)
}

// dieAt runs query in a child that is killed at step.
func dieAt(t *testing.T, b base, step, how, query string, out guard.Set) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{b.dialect, b.dsn, redisServer.Addr(), step, how, query, fmt.Sprint(uint32(out))}, "\n"))
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%s", err, text)
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
		stale := func(step, how string, out guard.Set) bool {
			v++
			one[int](t, db, q)
			if n := hits(c, func() { one[int](t, db, q) }); n != 1 {
				t.Fatalf("before %s: not in memory", step)
			}
			dieAt(t, b, step, how, fmt.Sprintf("UPDATE r SET v = %d WHERE id = 1", v), out)
			if err := fence(t, c); err != nil {
				t.Fatal(err)
			}
			old := false
			for end := time.Now().Add(4 * lease); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				truth := one[int](t, plain, q)
				got := one[int](t, db, q)
				old = old || got < truth
			}
			return old
		}
		for _, how := range []string{"exec", "tx"} {
			for _, step := range []string{"begin", "marked", "committed", "touched"} {
				if stale(step, how, 0) {
					t.Errorf("%s: a writer killed at %q left stale rows", how, step)
				}
				// The mark of the dead is past its lease: the database is asked, and it goes.
				for end := time.Now().Add(15 * time.Second); hits(c, func() { one[int](t, db, q) }) == 0; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%s, %s: memory does not serve again", how, step)
					}
				}
			}
		}
		if !stale("committed", "exec", guard.Mark|guard.Before) {
			t.Error("the naive protocol was not convicted: this test finds nothing")
		}
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
			reader, rc := openWith(t, b, guard.Plan{Out: out & guard.Suspect}, func(o *sqlcache.Options) { o.Lease = lease })
			marked, on := make(chan struct{}), make(chan struct{})
			plan := guard.Plan{Out: out, Step: func(s string) {
				if s == "marked" {
					close(marked)
					<-on
				}
			}}
			writer, _ := openWith(t, b, plan, func(o *sqlcache.Options) { o.Lease = lease })
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
		if got, want := stall(guard.After | guard.Suspect); got == want {
			t.Error("with marks that expire into clean nothing was found: this test finds nothing")
		}
		if got, want := stall(guard.After | guard.Mark); got == want {
			t.Error("invalidate-before-commit was not convicted: this test finds nothing")
		}
	})
}
