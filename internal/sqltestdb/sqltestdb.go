//go:build unix

// Package sqltestdb runs real PostgreSQL and MariaDB servers for tests: on free loopback ports, in directories of their
// own, killed and waited for at the end. A missing server fails the test and says how to install it. It needs no driver:
// what is in the servers is for the tests to ask.
//
// The servers are those of PATH, so other versions are put in front there. Where the environment variable
// FRESHET_MYSQL_SERVER names a mysqld of MySQL 8 or later, that is run in MariaDB's place.
package sqltestdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/child"
)

// MySQLEnv is the environment variable that names a mysqld to run in MariaDB's place.
const MySQLEnv = "FRESHET_MYSQL_SERVER"

// ErrNotFound is returned, wrapped, when a server is not installed. Its text says how to.
var ErrNotFound = errors.New("database server not found: " +
	"apt-get install -y postgresql mariadb-server (Debian/Ubuntu), or put its programs into PATH")

// Server is a running database server.
type Server struct {
	Port int
	Dir  string

	cmd  *exec.Cmd
	done <-chan struct{} // closed when the process has been waited for
	args []string
	// ready is what the server writes when it lets clients in: PostgreSQL listens before that, and refuses them.
	ready string
}

// Addr is host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// Postgres starts PostgreSQL until the end of the test, with logical replication allowed. Its superuser is postgres,
// without a password.
func Postgres(t testing.TB) *Server {
	t.Helper()
	s, err := RunPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of %s's log:\n%s", s.args[0], s.Log())
		}
		s.Close()
	})
	return s
}

// RunPostgres is [Postgres] for a TestMain, which closes the server.
func RunPostgres() (*Server, error) {
	initdb, err := find("initdb")
	if err != nil {
		return nil, err
	}
	server, err := find("postgres")
	if err != nil {
		return nil, err
	}
	return run("postgres", "ready to accept connections", func(s *Server, data string) []string {
		return []string{initdb, "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"}
	}, func(s *Server, data string) []string {
		return []string{server, "-D", data, "-p", strconv.Itoa(s.Port), "-k", s.Dir, "-c", "listen_addresses=127.0.0.1",
			"-c", "fsync=off", "-c", "wal_level=logical", "-c", "max_connections=200"}
	})
}

// RunMySQL starts MariaDB, or what [MySQLEnv] names, for a TestMain, which closes the server. Its superuser is root, without
// a password.
func RunMySQL() (*Server, error) {
	if mysqld := os.Getenv(MySQLEnv); mysqld != "" {
		server, err := find(mysqld)
		if err != nil {
			return nil, err
		}
		return run("mysql", "ready for connections", func(s *Server, data string) []string {
			return []string{server, "--no-defaults", "--initialize-insecure", "--datadir=" + data, "--tmpdir=" + s.Dir}
		}, func(s *Server, data string) []string {
			return append(mysqlArgs(server, s, data), "--mysqlx=OFF", "--secure-file-priv=NULL") // no folder of the system
		})
	}
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	server, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	return run("mysql", "ready for connections", func(s *Server, data string) []string {
		return []string{install, "--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal", "--tmpdir=" + s.Dir,
			"--skip-test-db"}
	}, func(s *Server, data string) []string {
		return append(mysqlArgs(server, s, data), "--skip-name-resolve") // MySQL knows root at localhost by name alone
	})
}

// mysqlArgs are those that MariaDB and MySQL share.
func mysqlArgs(server string, s *Server, data string) []string {
	return []string{server, "--no-defaults", "--datadir=" + data, "--port=" + strconv.Itoa(s.Port),
		"--tmpdir=" + s.Dir, "--socket=" + filepath.Join(s.Dir, "sock"), "--pid-file=" + filepath.Join(s.Dir, "pid"),
		"--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
		"--innodb-buffer-pool-size=32M", "--max-connections=200"}
}

func run(account, ready string, prepare, serve func(*Server, string) []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "sqltestdb")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, ready: ready}
	fail := func(err error) (*Server, error) {
		os.RemoveAll(dir)
		return nil, err
	}
	attr, err := as(account, dir)
	if err != nil {
		return fail(err)
	}
	data := filepath.Join(dir, "data")
	args := prepare(s, data)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.SysProcAttr = dir, attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("sqltestdb: %s: %w\n%s", args[0], err, out))
	}
	for range 5 {
		if s.Port, err = freePort(); err != nil {
			break
		}
		s.args = serve(s, data)
		if err = s.start(attr()); err == nil {
			return s, nil
		}
	}
	return fail(err)
}

// as gives dir to account when we are root, for the servers refuse to run as root.
func as(account, dir string) (func() *syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return func() *syscall.SysProcAttr { return new(syscall.SysProcAttr) }, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("%w: no user %s: %w", ErrNotFound, account, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	return func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}, nil
}

const startTimeout = 60 * time.Second

func (s *Server) start(attr *syscall.SysProcAttr) error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = s.Dir, log, log, attr
	// SIGQUIT ends PostgreSQL at once, its children too.
	if s.done, err = child.Start(s.cmd, syscall.SIGQUIT); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		if s.answers() {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("sqltestdb: %s ended at once:\n%s", s.args[0], s.Log())
		default:
		}
		if time.Now().After(deadline) {
			s.kill()
			return fmt.Errorf("sqltestdb: %s does not answer within %v:\n%s", s.args[0], startTimeout, s.Log())
		}
	}
}

// answers reports whether the server lets clients in.
func (s *Server) answers() bool {
	if !strings.Contains(s.Log(), s.ready) {
		return false
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (s *Server) kill() {
	s.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-s.done:
	case <-time.After(3 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// Kill ends the process as a crash would; the data stay. Close is still needed.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// Close ends the server and removes its directory.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	s.kill()
	return os.RemoveAll(s.Dir)
}

func (s *Server) logPath() string { return filepath.Join(s.Dir, "log") }

// Log is the end of the server's output.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.logPath())
	return string(b[max(0, len(b)-4096):])
}

// find looks into PATH and where Debian and Fedora keep PostgreSQL's programs.
func find(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(p)
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/", "/usr/libexec/", "/usr/pgsql-*/bin/"} {
		found, _ := filepath.Glob(pattern + name)
		slices.Sort(found)
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%w (%s)", ErrNotFound, name)
}

// freePort returns a port that is free now, below the usual ephemeral ranges.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 15_000 + rand.IntN(17_000)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
