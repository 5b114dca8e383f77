package notifytest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

// tick is how often keys that nobody touches are looked at for expiry. A key
// that a command touches is expired at that moment, as in Redis.
const tick = 5 * time.Millisecond

// Server is a running embedded Redis. As in Redis, notifications are off until
// CONFIG SET notify-keyspace-events switches them on; Freshet does so itself.
// All methods may be called from any goroutine.
type Server struct {
	// Addr is the host:port on loopback where the server listens.
	Addr string

	mini     *miniredis.Miniredis
	srv      *server.Server // mini's dispatcher; it has no listener
	listener net.Listener
	runID    string
	started  time.Time
	owned    map[string]handler // commands kept here; read only
	writes   map[string]command // commands of miniredis that change something; read only

	stop   chan struct{}
	closed sync.Once
	done   sync.WaitGroup // accept loop, expiry, connections

	mu      sync.Mutex // one command at a time; guards what follows
	ending  bool
	flags   flags
	conns   map[int64]*conn
	lastID  int64
	expiry  expiry
	fields  fieldTTLs
	changed chan struct{}    // closed and replaced by each change: wakes blocked clients
	ours    bool             // the next dispatch into miniredis comes from here, not from a script
	caller  *conn            // whose script is running
	scripts map[any]*session // the running script's sessions, by miniredis's context
}

// Start runs a server that is closed at the end of the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Run runs a server outside a test, on a free port of the loopback interface.
// Whoever calls it calls Close.
func Run() (*Server, error) {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails
	s := &Server{
		mini:    miniredis.NewMiniRedis(),
		runID:   hex.EncodeToString(id),
		started: time.Now(),
		owned:   ownedCommands(),
		writes:  writeCommands(),
		stop:    make(chan struct{}),
		conns:   make(map[int64]*conn),
		expiry:  newExpiry(),
		fields:  make(fieldTTLs),
		changed: make(chan struct{}),
		scripts: make(map[any]*session),
	}
	unused, err := s.mini.Dial() // starts it without a listener: nobody can write past us by accident
	if err != nil {
		return nil, fmt.Errorf("notifytest: start miniredis: %w", err)
	}
	_ = unused.Close()
	s.srv = s.mini.Server()
	s.srv.SetPreHook(s.fromScript)

	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.mini.Close()
		return nil, fmt.Errorf("notifytest: listen on loopback: %w", err)
	}
	s.Addr = s.listener.Addr().String()
	s.done.Go(s.accept)
	s.done.Go(s.expire)
	return s, nil
}

// Client returns a new client of this server, closed at the end of the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Miniredis is the store underneath, for looking at data and for RequireAuth.
// What is written through it directly sends no notification and does not
// expire; SetError silences the events of scripts; it has no address of its
// own, and Host and Port panic. To move time use [Server.FastForward].
func (s *Server) Miniredis() *miniredis.Miniredis { return s.mini }

// FastForward brings every deadline nearer by d, and removes and announces the
// keys that are due before it returns.
func (s *Server) FastForward(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiry.shift(d)
	s.fields.shift(d)
	s.reap()
}

// Close disconnects every client and waits for all goroutines. It may be
// called more than once, and at the same time; each call waits. The error is
// always nil.
func (s *Server) Close() error {
	s.closed.Do(func() {
		s.mu.Lock()
		s.ending = true
		close(s.stop)
		_ = s.listener.Close()
		for _, c := range s.conns {
			c.kill()
		}
		s.mu.Unlock()
		s.done.Wait()
		s.mini.Close()
	})
	return nil
}

func (s *Server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.stop:
				return
			case <-time.After(tick): // out of descriptors: the next may succeed
				continue
			}
		}
		s.mu.Lock()
		if s.ending {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.lastID++
		c := newConn(s, s.lastID, nc)
		s.conns[c.id] = c
		s.done.Go(c.read)
		s.done.Go(c.write)
		s.done.Go(c.serve)
		s.mu.Unlock()
	}
}

func (s *Server) expire() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.mu.Lock()
			s.reap()
			s.mu.Unlock()
		}
	}
}
