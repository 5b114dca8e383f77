package notifytest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify/notifytest"
)

// wire is a connection without a client library: what it reads can be compared byte by byte.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
	n int
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &wire{t: t, Conn: c, r: bufio.NewReader(c)}
}

// send writes lines of words; it does not wait for an answer.
func (w *wire) send(lines ...string) {
	w.t.Helper()
	var b strings.Builder
	for _, line := range lines {
		words := strings.Split(line, " ")
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		w.t.Fatal(err)
	}
}

// until returns all bytes up to the answer to a PING sent now.
func (w *wire) until() string {
	w.t.Helper()
	w.n++
	nonce := fmt.Sprintf("nonce-%d", w.n)
	w.send("PING " + nonce)
	var b strings.Builder
	for !strings.HasSuffix(b.String(), nonce+"\r\n") {
		line, err := w.r.ReadString('\n')
		if err != nil {
			w.t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestWireAsRedis compares whole byte streams: confirmations, events, null
// invalidations of flushes in their place among them, PONGs, in both protocols.
func TestWireAsRedis(t *testing.T) {
	real, ours := redistest.Start(t), notifytest.Start(t)
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			var streams [2]string
			for i, addr := range []string{real.Addr(), ours.Addr} {
				listener, writer := dial(t, addr), dial(t, addr)
				writer.send("CONFIG SET notify-keyspace-events KEA")
				writer.send("FLUSHALL")
				writer.until()
				listener.send("HELLO " + proto)
				listener.until() // holds the version and the id
				listener.send("CLIENT TRACKING ON BCAST PREFIX nothing-has-this-prefix")
				listener.send("PSUBSCRIBE __keyspace@0__:*", "SUBSCRIBE __keyevent@0__:set other", "SUBSCRIBE other", "PSUBSCRIBE a* b*")
				streams[i] += listener.until()
				for _, line := range []string{
					"SET a 1", "FLUSHALL", "SET b 1", "MULTI|SET c 1|FLUSHDB|SET d 1|EXEC",
					"EVAL redis.call('SET','e','1');redis.call('FLUSHALL');redis.call('SET','f','1') 0",
					"PUBLISH other x", "PUBLISH ab y", "FLUSHALL", "SWAPDB 0 1", "FLUSHDB ASYNC",
				} {
					writer.send(strings.Split(line, "|")...)
					writer.until()
					streams[i] += listener.until()
				}
				for _, line := range []string{
					"UNSUBSCRIBE other", "PUNSUBSCRIBE a* none", "PING", "UNSUBSCRIBE", "UNSUBSCRIBE",
					"PUNSUBSCRIBE b*", // which of several goes first is the server's affair
					"PUNSUBSCRIBE", "PUNSUBSCRIBE",
				} {
					listener.send(line)
					streams[i] += listener.until()
				}
				listener.send("PSUBSCRIBE x")
				if proto == "2" {
					listener.send("GET a")
				}
				listener.send("QUIT")
				b, err := io.ReadAll(listener.r)
				if err != nil {
					t.Fatal(err)
				}
				streams[i] += string(b)
			}
			if streams[0] != streams[1] {
				t.Errorf("\n got %q\nwant %q", streams[1], streams[0])
			}
		})
	}
}

// TestOwnPushesWait: what a RESP3 subscriber's own command publishes comes
// after its reply, never inside it. Seen to fail with a push that never defers.
func TestOwnPushesWait(t *testing.T) {
	s := notifytest.Start(t)
	w := dial(t, s.Addr)
	w.send("CONFIG SET notify-keyspace-events Kg$", "HELLO 3", "PSUBSCRIBE *")
	w.until()
	w.send("MULTI", "SET a 1", "DEL a", "EXEC")
	got := w.until()
	want := "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n" +
		">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$16\r\n__keyspace@0__:a\r\n$3\r\nset\r\n" +
		">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$16\r\n__keyspace@0__:a\r\n$3\r\ndel\r\n$7\r\nnonce-2\r\n"
	if got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestBlockedClients are served by the writes of others, and by nobody once they have gone.
func TestBlockedClients(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "Klz")
	l := listen(t, rdb, "__keyspace@0__:*")
	blocked := func(lines ...string) *wire {
		w := dial(t, s.Addr)
		w.send(lines...)
		w.until()
		return w
	}
	await := func(cmd string) {
		t.Helper()
		for !strings.Contains(rdb.ClientList(ctx).Val(), "cmd="+cmd) {
			time.Sleep(time.Millisecond)
		}
	}
	gone := blocked("PING")
	gone.send("BRPOP q 0")
	await("brpop")
	_ = gone.Close()
	for strings.Contains(rdb.ClientList(ctx).Val(), "cmd=brpop") {
		time.Sleep(time.Millisecond)
	}

	w := blocked("PING")
	w.send("BLPOP q 0")
	await("blpop")
	rdb.RPush(ctx, "q", "x", "y")
	if got, want := w.until(), "*2\r\n$1\r\nq\r\n$1\r\nx\r\n$7\r\nnonce-2\r\n"; got != want {
		t.Errorf("BLPOP: got %q, want %q", got, want)
	}
	if got, want := l.drain(), []string{"__keyspace@0__:q rpush", "__keyspace@0__:q lpop"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if n := rdb.LLen(ctx, "q").Val(); n != 1 {
		t.Errorf("%d left, want 1: the client that had gone took one", n)
	}

	rdb.XAdd(ctx, &redis.XAddArgs{Stream: "s", ID: "1-1", Values: []string{"a", "old"}})
	w.send("XREAD BLOCK 0 STREAMS s $")
	await("xread")
	rdb.XAdd(ctx, &redis.XAddArgs{Stream: "s", ID: "2-1", Values: []string{"a", "new"}})
	if got := w.until(); !strings.Contains(got, "new") || strings.Contains(got, "old") {
		t.Errorf("XREAD: got %q", got)
	}
	w.send("BZPOPMIN none 0.02")
	if got, want := w.until(), "*-1\r\n$7\r\nnonce-4\r\n"; got != want {
		t.Errorf("BZPOPMIN: got %q, want %q", got, want)
	}
}

func TestKill(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	for name, kill := range map[string]func(id int64, addr string) []any{
		"type": func(int64, string) []any { return []any{"CLIENT", "KILL", "TYPE", "pubsub"} },
		"id":   func(id int64, _ string) []any { return []any{"CLIENT", "KILL", "ID", id} },
		"addr": func(_ int64, addr string) []any { return []any{"CLIENT", "KILL", "ADDR", addr} },
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, s.Addr)
			w.send("CLIENT ID")
			var id int64
			if _, err := fmt.Fscanf(w.r, ":%d\r\n", &id); err != nil {
				t.Fatal(err)
			}
			w.send("SUBSCRIBE x")
			w.until()
			if n, err := rdb.Do(ctx, kill(id, w.LocalAddr().String())...).Int(); n != 1 || err != nil {
				t.Fatalf("killed %d, %v", n, err)
			}
			if b, err := io.ReadAll(w.r); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("read %q, %v after the kill", b, err)
			}
			if err := rdb.Ping(ctx).Err(); err != nil {
				t.Errorf("the killer: %v", err)
			}
		})
	}
}

// TestStalledSubscriber: one who does not read holds up nobody, and is dropped.
// Seen to fail without the bound in queue.
func TestStalledSubscriber(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	w := dial(t, s.Addr)
	w.send("SUBSCRIBE x")
	w.until()
	payload := strings.Repeat("x", 1<<20)
	for range 200 {
		if n, err := rdb.Publish(ctx, "x", payload).Result(); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			return // gone
		}
	}
	t.Error("still subscribed with 200 MB unread")
}

func TestBadInput(t *testing.T) {
	s := notifytest.Start(t)
	for _, in := range []string{"*x\r\n", "*1\r\nx\r\n", "*1\r\n$-1\r\n", "*1\r\n$999999999999\r\n", "*2000000\r\n", strings.Repeat("x", 1<<17) + "\r\n"} {
		w := dial(t, s.Addr)
		_, _ = io.WriteString(w, in)
		b, err := io.ReadAll(w.r)
		if !strings.HasPrefix(string(b), "-ERR Protocol error") {
			t.Errorf("%.20q: answer %q, %v", in, b, err)
		}
	}
	w := dial(t, s.Addr)
	_, _ = io.WriteString(w, "*-1\r\n*0\r\n\r\n$x\r\nPING  inline \r\n")
	for name := range strings.SplitSeq("SET GET DEL EXPIRE RENAME COPY MOVE RESTORE HDEL HEXPIRE HSETEX LMPOP BLPOP BZMPOP SMOVE ZADD ZINCRBY GEOADD GEORADIUS XADD XGROUP XREADGROUP XCLAIM XREAD SUBSCRIBE PUBLISH CONFIG CLIENT HELLO EVAL MSET BITOP SWAPDB SELECT TTL HTTL PING LMOVE SETBIT SETRANGE", " ") {
		for _, args := range []string{"", " x", " x y", " x 1 y", " x STREAMS", " STORE", " 1 STORE x"} {
			if name != "SUBSCRIBE" && (name != "BLPOP" || args == "") {
				w.send(name + args)
			}
		}
	}
	w.until()
}
