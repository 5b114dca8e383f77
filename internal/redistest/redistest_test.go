package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/leak"
)

// childEnv makes the test binary the program that TestDiesWithParent kills.
const childEnv = "REDISTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	s, err := Run()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.PID(), s.Dir())
	select {}
}

func TestStartAnswers(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	s := Start(t)
	rdb := s.Client(t)
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	info, err := rdb.Info(ctx, "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	if want := "process_id:" + strconv.Itoa(s.PID()) + "\r\n"; !strings.Contains(info, want) {
		t.Errorf("another server answers at %s: no %q in\n%s", s.Addr(), want, info)
	}
	if product, version, err := s.Version(); err != nil || product == "" || !strings.Contains(version, ".") {
		t.Errorf("Version() = %q, %q, %v", product, version, err)
	}
	if !strings.Contains(s.Log(), "eady to accept connections") {
		t.Errorf("Log() = %q", s.Log())
	}
}

func TestArguments(t *testing.T) {
	ctx := context.Background()
	for _, args := range [][]string{
		{"--maxmemory", "5mb", "--notify-keyspace-events", "KEA"},
		{"--maxmemory 5mb", "--notify-keyspace-events KEA"},
	} {
		got, err := Start(t, args...).Client(t).ConfigGet(ctx, "maxmemory").Result()
		if err != nil || got["maxmemory"] != "5242880" {
			t.Errorf("Start(%q): maxmemory = %v, %v", args, got, err)
		}
	}
}

func TestKillAndRestart(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	for _, c := range []struct {
		name string
		args []string
		end  func(*Server) error
		want string // "" for lost
	}{
		{"kill loses", nil, (*Server).Kill, ""},
		{"stop loses", nil, (*Server).Stop, ""},
		{"kill keeps an append-only file", []string{"--appendonly yes", "--appendfsync always"}, (*Server).Kill, "v"},
		{"stop keeps a dump", []string{"--save 3600 1"}, (*Server).Stop, "v"},
		{"restart ends what runs", []string{"--save 3600 1"}, func(*Server) error { return nil }, "v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Start(t, c.args...)
			addr, pid := s.Addr(), s.PID()
			if err := s.Client(t).Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if err := c.end(s); err != nil {
				t.Fatal(err)
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			if s.Addr() != addr || s.PID() == pid || s.PID() == 0 {
				t.Errorf("restarted as %s pid %d, was %s pid %d", s.Addr(), s.PID(), addr, pid)
			}
			got, err := s.Client(t).Get(ctx, "k").Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("k = %q, want %q", got, c.want)
			}
		})
	}
}

func TestEndedServer(t *testing.T) {
	s := Start(t)
	for range 2 { // Kill and Stop may be called again
		s.Kill()
		s.Stop()
	}
	if s.PID() != 0 {
		t.Errorf("PID() = %d after Kill", s.PID())
	}
	s.t = nil // what follows is meant to fail
	if err := s.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Pause() of an ended server = %v", err)
	}
	s.Close()
	if err := s.Restart(); err == nil {
		t.Error("Restart() of a closed server succeeded")
	}
}

func TestPause(t *testing.T) {
	ctx := context.Background()
	s := Start(t)
	hasty := s.Client(t, func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 50*time.Millisecond, -1 })
	s.Pause()
	if err := hasty.Ping(ctx).Err(); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	if err := s.Client(t).Ping(ctx).Err(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	s.Pause()
	if err := s.Stop(); err != nil {
		t.Errorf("Stop() of a paused server: %v", err)
	}
}

func TestReplica(t *testing.T) {
	ctx := context.Background()
	s := Start(t)
	if err := s.Client(t).Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r := s.StartReplica(t)
	if got, err := r.Client(t).Get(ctx, "k").Result(); err != nil || got != "v" {
		t.Errorf("replica: k = %q, %v", got, err)
	}
}

func TestAddUser(t *testing.T) {
	ctx := context.Background()
	s := Start(t)
	s.AddUser(t, "reader", "on", ">secret", "~*", "&*", "+@read")
	rdb := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "reader", "secret" })
	if err := rdb.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET = %v", err)
	}
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("SET = %v", err)
	}
}

func TestParallelStarts(t *testing.T) {
	leak.Check(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Run()
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestBadStarts(t *testing.T) {
	t.Run("no binary", func(t *testing.T) {
		t.Setenv(BinaryEnv, "no-such-redis-server")
		if _, err := Run(); !errors.Is(err, ErrNotFound) || !errors.Is(err, exec.ErrNotFound) ||
			!strings.Contains(err.Error(), "apt-get install -y redis-server") {
			t.Errorf("Run() = %v", err)
		}
	})
	t.Run("bad argument", func(t *testing.T) {
		_, err := Run("--no-such-option", "1")
		if err == nil || !strings.Contains(err.Error(), "no-such-option") {
			t.Errorf("Run() = %v, want an error with the server's output", err)
		}
	})
	t.Run("port taken", func(t *testing.T) {
		s := Start(t)
		_, err := Run("--port", strconv.Itoa(s.Port()))
		if !errors.Is(err, errPortTaken) {
			t.Errorf("Run() = %v", err)
		}
	})
}

// Fails when launch starts the process on its caller's goroutine instead of one that keeps its thread: the threads
// below end with their goroutines, and the kernel takes the servers with them.
func TestOutlivesStartingThread(t *testing.T) {
	var servers [2]*Server // two threads at a time: one may be the main thread, which never ends
	var errs [2]error
	var locked, started sync.WaitGroup
	locked.Add(len(servers))
	for i := range servers {
		started.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			locked.Done()
			locked.Wait()
			servers[i], errs[i] = Run()
		})
	}
	started.Wait()
	for i, s := range servers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		defer s.Close()
	}
	for range 50 {
		for _, s := range servers {
			if s.PID() == 0 {
				t.Fatal("the server ended with the thread that started it")
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Fails without the death signal of dieWithParent.
func TestDiesWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("only Linux can promise this")
		return
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	child.Process.Kill()
	child.Wait()
	var pid int
	var dir string
	if _, err := fmt.Sscan(line, &pid, &dir); err != nil {
		t.Fatalf("child said %q: %v", line, err)
	}
	defer os.RemoveAll(dir)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if gone(pid) {
			return
		}
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the server outlives the program that started it")
		}
	}
}

// gone is also true of a process that is dead and that nobody has waited for: in a container there may be no init.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}
