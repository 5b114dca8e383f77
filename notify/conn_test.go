package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestWatchedConn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	now := time.Second
	w, conn := watch(client, func() time.Duration { return now })
	if _, ok := conn.(syscall.Conn); !ok {
		t.Error("go-redis can no longer look at the socket")
	}
	now = 2 * time.Second
	if _, err := conn.Write([]byte("x")); err != nil || w.lastRead.Load() != int64(time.Second) {
		t.Errorf("a write counted as a read: %v, %v", w.lastRead.Load(), err)
	}
	server.Write([]byte("y"))
	if _, err := conn.Read(make([]byte, 1)); err != nil || w.lastRead.Load() != int64(2*time.Second) {
		t.Errorf("a read was not noted: %v, %v", w.lastRead.Load(), err)
	}
	pipe, _ := net.Pipe()
	defer pipe.Close()
	if _, conn := watch(pipe, func() time.Duration { return 0 }); func() bool { _, ok := conn.(syscall.Conn); return ok }() {
		t.Error("a connection without a socket has one")
	}
}

func TestTLS(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	addr := encrypted(t, srv.Addr())
	rdb := srv.Client(t, func(o *redis.Options) {
		o.Addr, o.TLSConfig = addr, &tls.Config{InsecureSkipVerify: true}
	})
	l, r := recorded(t, rdb, Options{AuditEvery: quick})
	run(t, rdb, "SET a 1", "FLUSHALL", "CLIENT KILL TYPE pubsub")
	r.awaitEvent(t, "synced", 2)
	run(t, rdb, "SET b 1")
	fenced(t, l)
	same(t, r, "synced", "set a", "flush", "gap connection", "synced", "set b")
}

// encrypted is the address of a TLS front of addr.
func encrypted(t *testing.T, addr string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", addr)
			if err != nil {
				front.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				io.Copy(to, from)
				to.Close()
				from.Close()
			}
			wg.Go(func() { pass(back, front) })
			wg.Go(func() { pass(front, back) })
		}
	})
	t.Cleanup(func() { listener.Close(); wg.Wait() })
	return listener.Addr().String()
}
