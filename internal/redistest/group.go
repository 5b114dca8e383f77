package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/faultproxy"
)

// groupTimeout bounds every wait for servers to agree. It ends a test that hangs, it measures nothing.
const groupTimeout = 60 * time.Second

// startBehind runs a server until the end of the test at door, which it is to announce. args are asked for again when
// a port that they name turns out to be taken.
func (w Wire) startBehind(t testing.TB, door *faultproxy.Proxy, args func() []string) *Server {
	t.Helper()
	var s *Server
	var err error
	for range 10 {
		if s, err = w.run(args()...); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	door.SetTarget(net.JoinHostPort(w.host(), strconv.Itoa(s.port)))
	s.doors = []*faultproxy.Proxy{door}
	s.until(t)
	return s
}

// asReplica are the arguments with which a replica announces door to its primary, and the mark that it so leaves before
// it asks for anything.
func (w Wire) asReplica(door *faultproxy.Proxy) (args []string, mark string) {
	port := strconv.Itoa(portOf(door.Addr()))
	return []string{"--replica-announce-ip", w.called(), "--replica-announce-port", port},
		fmt.Sprintf("listening-port\r\n$%d\r\n%s\r\n", len(port), port)
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Role is what a server that a test has started says it is: "master", "slave" or "sentinel".
func (s *Server) Role(t testing.TB) string {
	t.Helper()
	role, err := s.admin.Do(context.Background(), "ROLE").Slice()
	if err != nil || len(role) == 0 {
		t.Fatalf("redistest: ROLE of %s: %v", s.Addr(), err)
	}
	return fmt.Sprint(role[0])
}

// follows says what a server lacks to be p itself or a replica of p that is in sync.
func (s *Server) follows(p *Server) error {
	info, err := s.admin.Info(context.Background(), "replication").Result()
	if err != nil {
		return err
	}
	want := []string{"role:master"}
	if s != p {
		want = []string{fmt.Sprintf("master_port:%d\r\n", p.Port()), "master_link_status:up"}
	}
	for _, w := range want {
		if !strings.Contains(info, w) {
			return fmt.Errorf("%s: no %q in %q", s.Addr(), w, info)
		}
	}
	return nil
}

// await polls until ok has nothing to object.
func await(t testing.TB, what string, ok func() error) {
	t.Helper()
	for deadline := time.Now().Add(groupTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("redistest: %s: not within %v: %v", what, groupTimeout, err)
		}
	}
}

// insist asks, and asks again while nothing comes of it: servers may give up in silence, after five seconds.
func insist(t testing.TB, what string, ask, done func() error) {
	t.Helper()
	var asked time.Time
	await(t, what, func() error {
		err := done()
		if err != nil && time.Since(asked) > 6*time.Second {
			if err := ask(); err != nil {
				return err
			}
			asked = time.Now()
		}
		return err
	})
}

// closeAtEnd closes a client that the test may have closed itself.
func closeAtEnd(t testing.TB, rdb io.Closer) {
	t.Cleanup(func() {
		if err := rdb.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Errorf("redistest: close client: %v", err)
		}
	})
}
