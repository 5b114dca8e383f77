// Package redistest runs real Redis servers for tests.
//
// [Start] finds the binary, picks a loopback port, makes a directory, starts the server and asks it, over a Unix
// socket that only that very process can own, until it answers. The test then kills, pauses and restarts it as it
// likes; at the test's end it is killed and waited for. A missing binary fails the test: a test that is skipped
// because its server is not there proves nothing and says so to nobody. [StartCluster] and [StartSentinels] run groups
// of such servers, which the test can also part.
//
// The binary is redis-server from PATH, or the one that the environment variable FRESHET_REDIS_SERVER names (a newer
// Redis, a valkey-server). It runs without persistence unless the arguments ask for it.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/faultproxy"
)

// BinaryEnv is the environment variable that names another server binary than redis-server from PATH.
const BinaryEnv = "FRESHET_REDIS_SERVER"

// ErrNotFound is returned, wrapped, when there is no server binary. Its text says how to install one.
var ErrNotFound = errors.New("redis-server not found: apt-get install -y redis-server (Debian/Ubuntu), " +
	"or see https://redis.io/docs/latest/operate/oss_and_stack/install/")

// Both bounds are generous: they end a test that hangs, they measure nothing.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
)

// Server is one server: an address, a directory and arguments that outlive its processes. Its methods may be called
// from several goroutines. Those that fail return the error and, for a server from [Start], also fail the test, so
// a test need not look.
type Server struct {
	t      testing.TB // nil for a server from Run
	binary string
	wire   Wire
	file   []string // the configuration file, if any
	args   []string // as the caller gave them
	dir    string
	port   int
	doors  []*faultproxy.Proxy // all that its peers dial, the first being its address; none when they dial port itself
	marks  []string            // what tells the connections that it dials itself from its peers'

	admin *redis.Client // of the server itself, past every proxy; nil for a server from Run

	mu       sync.Mutex // guards what follows
	proc     *process   // nil when closed or when no start has succeeded
	paused   bool
	isolated bool // by a test, from its group
}

// Start runs a server until the end of the test. Arguments are those of the command line, in any of the forms
// "--appendonly", "yes" or "--appendonly yes", perhaps after the path of a configuration file; they override the
// defaults (loopback, no persistence).
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return Wire{}.Start(t, args...)
}

// until closes s at the end of the test.
func (s *Server) until(t testing.TB) {
	s.t = t
	s.admin = s.Client(t, func(o *redis.Options) { o.Network, o.Addr, o.TLSConfig = "unix", s.socket(), nil })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of %s at %s:\n%s", s.binary, s.Addr(), s.Log())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Run is Start for programs that are not tests. Whoever runs a server closes it.
func Run(args ...string) (*Server, error) { return Wire{}.run(args...) }

func (w Wire) run(args ...string) (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	// Not the test's own directory: its name holds the test's, and a Unix socket's path is at most 107 bytes.
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	s := &Server{binary: binary, wire: w, args: args, dir: dir}
	if len(args) > 0 && !strings.HasPrefix(args[0], "--") {
		s.file, s.args = args[:1], args[1:]
	}
	for range 10 {
		if s.port, err = freePort(w.host()); err != nil {
			break
		}
		// Between the look and the server's bind another process may have taken the port.
		if err = s.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func find() (string, error) {
	name := os.Getenv(BinaryEnv)
	if name == "" {
		name = "redis-server"
	}
	binary, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNotFound, err)
	}
	return binary, nil
}

// start runs a process on s.port and waits until it answers. It holds mu throughout, so that no Kill or Close can
// miss the process.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := append(s.wire.args(s.port),
		"--unixsocket", s.socket(), "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0", // else a replica's first sync waits 5 s for others
	)
	logStart := s.logSize()
	proc, err := launch(s.binary, slices.Concat(s.file, args, s.args), s.dir, s.logPath())
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	if err := s.awaitAnswer(proc); err != nil {
		proc.kill()
		log := s.logFrom(logStart)
		if bytes.Contains(log, []byte("Address already in use")) {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return fmt.Errorf("redistest: %s at %s: %w; its output:\n%s", s.binary, s.Addr(), err, tail(log))
	}
	s.proc, s.paused = proc, false
	return nil
}

// Door is the proxy at Addr, for further faults between a server of a group and those who dial it. It is nil for any
// other server.
func (s *Server) Door() *faultproxy.Proxy {
	if len(s.doors) == 0 {
		return nil
	}
	return s.doors[0]
}

// Addr is host:port, the same after every restart.
func (s *Server) Addr() string {
	return net.JoinHostPort(s.wire.called(), strconv.Itoa(s.Port()))
}

// Port is the TCP port of Addr.
func (s *Server) Port() int {
	if door := s.Door(); door != nil {
		return portOf(door.Addr())
	}
	return s.port
}

// Dir is the server's directory: its dump, its append-only files, its log. It is removed by Close.
func (s *Server) Dir() string { return s.dir }

// PID is the running process, or 0 when there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.ended() {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Client returns a client of the server that is closed at the test's end. Each of opts may change its options.
func (s *Server) Client(t testing.TB, opts ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: s.Addr(), TLSConfig: s.wire.ClientTLS()}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClient(o)
	closeAtEnd(t, rdb)
	return rdb
}

// Kill ends the process as a crash or kill -9 would and waits until it is gone. Without a process it does nothing.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.kill()
	}
	return nil
}

// Stop ends the process as an operator would (SIGTERM: it saves what it is configured to save) and waits until it is
// gone. A paused process is resumed for it. Without a process it does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.ended() {
		return nil
	}
	s.proc.signal(syscall.SIGTERM)
	s.proc.signal(thaw)
	select {
	case <-s.proc.done:
		return nil
	case <-time.After(stopTimeout):
		s.proc.kill()
		return s.fail(fmt.Errorf("redistest: %s did not end within %v of SIGTERM and was killed", s.Addr(), stopTimeout))
	}
}

// Restart stops the process if it still runs and starts another with the same port, directory and arguments. What it
// finds again is what the server has kept: nothing, unless the arguments ask for persistence. Restart returns when
// the new process answers.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	deadline := time.Now().Add(stopTimeout)
	err := s.start()
	for errors.Is(err, errPortTaken) && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond) // a stranger's connection that goes out from our port ends some time
		err = s.start()
	}
	return s.fail(err)
}

// Pause freezes the process (SIGSTOP): its connections stay open and silent, as behind a dead link or a stalled VM.
func (s *Server) Pause() error { return s.signal("pause", freeze) }

// Resume ends Pause.
func (s *Server) Resume() error { return s.signal("resume", thaw) }

func (s *Server) signal(what string, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.ErrProcessDone
	if s.proc != nil {
		err = s.proc.signal(sig)
		s.paused = sig == freeze
	}
	if err != nil {
		return s.fail(fmt.Errorf("redistest: %s %s: %w", what, s.Addr(), err))
	}
	return nil
}

// Close kills the process, waits for it and removes the directory. It may be called twice.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}

func (s *Server) fail(err error) error {
	if err != nil && s.t != nil {
		s.t.Helper()
		s.t.Error(err)
	}
	return err
}

// StartReplica runs a replica of s until the test's end and returns once its first sync is done.
func (s *Server) StartReplica(t testing.TB, args ...string) *Server {
	t.Helper()
	r := s.wire.Start(t, append([]string{"--replicaof", s.wire.host(), strconv.Itoa(s.Port())}, args...)...)
	await(t, "first sync", func() error { return r.follows(s) })
	return r
}

// AddUser creates an ACL user with the given rules, e.g. "on", ">secret", "~*", "&*", "+@all". A restart forgets it.
func (s *Server) AddUser(t testing.TB, name string, rules ...string) {
	t.Helper()
	cmd := []any{"ACL", "SETUSER", name}
	for _, r := range rules {
		cmd = append(cmd, r)
	}
	if err := s.Client(t).Do(context.Background(), cmd...).Err(); err != nil {
		t.Fatalf("redistest: ACL SETUSER %s: %v", name, err)
	}
}

// Knows reports whether the server has a command, and tells the test's log if it has not.
func (s *Server) Knows(t testing.TB, command string) bool {
	t.Helper()
	info, err := s.Client(t).Do(context.Background(), "COMMAND", "INFO", command).Slice()
	if err != nil || len(info) != 1 {
		t.Fatalf("redistest: COMMAND INFO %s: %v, %v", command, info, err)
	}
	if info[0] == nil {
		t.Logf("NOT RUN: this server has no %s", command)
	}
	return info[0] != nil
}

// Version is what the binary says of itself: its product, such as "Redis" or "Valkey", and its version, such as
// "7.0.15".
func (s *Server) Version() (product, version string, err error) {
	out, err := exec.Command(s.binary, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("redistest: %s --version: %w", s.binary, err)
	}
	fields := strings.Fields(string(out))
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			return fields[0], v, nil
		}
	}
	return "", "", fmt.Errorf("redistest: %s --version: no version in %q", s.binary, out)
}

// Log is the tail of the server's output, over all its processes.
func (s *Server) Log() string { return string(tail(s.logFrom(0))) }

func (s *Server) logPath() string { return filepath.Join(s.dir, "output.log") }
func (s *Server) socket() string  { return filepath.Join(s.dir, "s") }

func (s *Server) logSize() int { return len(s.logFrom(0)) }

func (s *Server) logFrom(start int) []byte {
	b, err := os.ReadFile(s.logPath())
	if err != nil || start > len(b) {
		return nil
	}
	return b[start:]
}

func tail(b []byte) []byte {
	const most = 4 << 10
	return b[max(0, len(b)-most):]
}
