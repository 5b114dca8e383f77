package sqltest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/child"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
)

// Some tests need processes. Each is this test binary once more, with its part in this variable.
const partEnv = "FRESHET_SQLTEST_PART"

// part is what a process of a test has, as a service would, and one of the things that it may do.
type part struct {
	Dialect, DSN        string
	Redis               home
	Out                 guard.Set
	Lease, MaxStaleness time.Duration

	Death *death // to write, and be killed at a step
	Race  *racer // to read and write until stdin ends
}

// home is where a process finds its Redis: a server, the Sentinels of one, or nodes of a Cluster.
type home struct {
	Addr               string
	Sentinels, Cluster []string
}

func (h home) client() redis.UniversalClient {
	switch {
	case h.Sentinels != nil:
		o := &redis.FailoverOptions{MasterName: redistest.MasterName, SentinelAddrs: h.Sentinels}
		return &watched{redis.NewFailoverClient(o), o}
	case h.Cluster != nil:
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: h.Cluster})
	}
	return redis.NewClient(&redis.Options{Addr: h.Addr})
}

type task interface {
	step(name string) // see guard.Plan
	run(db *sql.DB, c *sqlcache.Connector, tr *invalidate.Tracker) error
}

// serve is main in such a process.
func serve() {
	var p part
	err := json.Unmarshal([]byte(os.Getenv(partEnv)), &p)
	if err == nil {
		err = p.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func (p *part) run() error {
	var do task = p.Race
	if p.Death != nil {
		do = p.Death
	}
	inner, err := dial(base{dialect: p.Dialect, dsn: p.DSN})
	if err != nil {
		return err
	}
	rdb := p.Redis.client()
	defer rdb.Close()
	ctx := guard.With(context.Background(), guard.Plan{Out: p.Out, Step: do.step})
	opts := sqlcache.Options{Lease: p.Lease, MaxStaleness: p.MaxStaleness}
	db, c, tr, err := connect(ctx, rdb, slow{inner, late}, opts)
	for end := time.Now().Add(time.Minute); err != nil; db, c, tr, err = connect(ctx, rdb, slow{inner, late}, opts) {
		if time.Now().After(end) { // there may be no primary for a while
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	defer tr.Close()
	defer db.Close()
	return do.run(db, c, tr)
}

// process is one that was started.
type process struct {
	cmd    *exec.Cmd
	in     *os.File // its stdin
	errors bytes.Buffer
	done   chan struct{} // closed when it has ended and all that it said was heard
}

// start gives p to a new process, and hear its stdout. It is killed at the end of the test at the latest.
func (p part) start(t testing.TB, hear func(io.Reader)) (*process, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, err
	}
	defer outW.Close()
	pr := &process{cmd: exec.Command(os.Args[0]), in: inW, done: make(chan struct{})}
	pr.cmd.Env = append(os.Environ(), partEnv+"="+string(text), "GORACE=halt_on_error=1")
	pr.cmd.Stdin, pr.cmd.Stdout, pr.cmd.Stderr = inR, outW, &pr.errors
	ended, err := child.Start(pr.cmd, syscall.SIGKILL)
	if err != nil {
		inW.Close()
		outR.Close()
		return nil, err
	}
	go func() {
		defer close(pr.done)
		hear(outR)
		outR.Close()
		<-ended
	}()
	t.Cleanup(func() { pr.kill() })
	return pr, nil
}

// kill kills it, and reports whether it was alive until then.
func (p *process) kill() bool {
	p.cmd.Process.Kill()
	<-p.done
	p.in.Close()
	return !p.cmd.ProcessState.Exited()
}

// stop ends its stdin and waits until it has ended by itself.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.in.Close()
	<-p.done
	if !p.cmd.ProcessState.Success() {
		t.Errorf("a process ended with %v\n%s", p.cmd.ProcessState, p.errors.String())
	}
}
