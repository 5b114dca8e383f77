package size

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func liveOut() (*report.Out, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	return report.New("size", nil, &stdout, &stderr), &stderr
}

// What a real server executed is what is sampled: reads and writes by key, of
// the database asked for, with a password between.
func TestListen(t *testing.T) {
	leak.Check(t)
	server := redistest.Start(t, "--requirepass secret")
	client := func(db int) *redis.Client {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: "secret", DB: db})
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
	rdb, other := client(2), client(0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const rounds = 50
	go func() {
		for !monitored(ctx, rdb) {
		}
		for i := range rounds {
			rdb.Get(ctx, fmt.Sprintf("user:%d", i%5))
			other.Get(ctx, "elsewhere:1")
			rdb.MSet(ctx, "cart:1", "\r\n\"", "cart:2", "x")
		}
		rdb.Del(ctx, "last:1")
	}()
	o := options{rate: 1, share: 0.95, cut: cut{":", 1}}
	o.live = liveOptions{url: "redis://:secret@" + server.Addr() + "/2", span: time.Minute, most: 2*rounds + 1, yes: true}
	out, _ := liveOut()
	s, err := listen(context.WithoutCancel(ctx), o, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]tally{}
	for _, tl := range s.prefixes.busiest(10) {
		got[tl.prefix] = tl
	}
	want := map[string]tally{"user:": {"user:", rounds, 0}, "cart:": {"cart:", 0, 2 * rounds}}
	for prefix, w := range want {
		if got[prefix] != w {
			t.Errorf("%s: %+v, want %+v", prefix, got[prefix], w)
		}
	}
	if _, there := got["elsewhere:"]; there || s.reads != rounds {
		t.Errorf("%d reads, %+v: want %d and nothing of database 0", s.reads, got, rounds)
	}
}

// monitored reports whether somebody listens.
func monitored(ctx context.Context, rdb *redis.Client) bool {
	list, err := rdb.ClientList(ctx).Result()
	return err != nil || strings.Contains(list, "cmd=monitor")
}

func TestConsent(t *testing.T) {
	o := liveOptions{span: time.Second, most: 10}
	for answer, agreed := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "": false, "\n": false} {
		out, asked := liveOut()
		err := consent(o, "server:1", 500, out, strings.NewReader(answer))
		if (err == nil) != agreed || !strings.Contains(asked.String(), "server:1") || !strings.Contains(asked.String(), "500") {
			t.Errorf("%q: %v after %q", answer, err, asked)
		}
	}
}

// A server that says no, or nothing, is an error and not a hang.
func TestListenRefused(t *testing.T) {
	leak.Check(t)
	for what, reply := range map[string]string{"NOPERM": "-NOPERM no permissions\r\n", "EOF": ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			bufio.NewReader(conn).ReadString('\n')
			conn.Write([]byte(reply))
		}()
		opts := &redis.Options{Network: "tcp", Addr: l.Addr().String(), DialTimeout: time.Second}
		if _, err := openMonitor(context.Background(), opts); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		l.Close()
		<-done
	}
}

// An interrupt ends the listening, and what was heard is kept.
func TestListenInterrupted(t *testing.T) {
	leak.Check(t)
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := openMonitor(ctx, &redis.Options{Network: "tcp", Addr: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	s := newStream("x", 1, cut{":", 1})
	cancel()
	out, _ := liveOut()
	if _, err := m.follow(ctx, rdb, liveOptions{span: time.Hour, most: 1000}, "0", s, out); err != nil {
		t.Error(err)
	}
}
