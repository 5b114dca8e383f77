package notify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// stub is a server that answers as a test tells it: one that is too old, or lies. Anything that a real server can do is tested
// with a real one.
type stub struct {
	answers map[string]string // by the command's first word or words, upper case; else see answer
	resp2   bool
	mu      sync.Mutex
	subs    []net.Conn // connections that have subscribed
	wg      sync.WaitGroup
}

// newStub returns a stub and a client of it. Connections are pipes: the stub is reached by no other way.
func newStub(t testing.TB, answers map[string]string) (*stub, *redis.Client) {
	return newStubOver(t, answers, func() (client, server net.Conn) { return net.Pipe() })
}

func newStubOver(t testing.TB, answers map[string]string, connect func() (client, server net.Conn)) (*stub, *redis.Client) {
	s := &stub{answers: answers}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: func(context.Context, string, string) (net.Conn, error) {
		client, server := connect()
		s.wg.Go(func() { s.serve(server) })
		return client, nil
	}})
	t.Cleanup(func() { rdb.Close(); s.wg.Wait() })
	return s, rdb
}

func (s *stub) serve(conn net.Conn) {
	defer conn.Close()
	rd := bufio.NewReader(conn)
	out := make(chan string, 1024) // go-redis writes whole pipelines before it reads
	defer close(out)
	s.wg.Go(func() {
		for b := range out {
			if _, err := io.WriteString(conn, b); err != nil {
				for range out {
				}
				return
			}
		}
	})
	for {
		args, err := readCommand(rd)
		if err != nil {
			return
		}
		if strings.EqualFold(args[0], "PSUBSCRIBE") {
			s.mu.Lock()
			s.subs = append(s.subs, conn)
			s.mu.Unlock()
		}
		out <- s.answer(args)
	}
}

func readCommand(rd *bufio.Reader) ([]string, error) {
	line := func() (string, error) { l, err := rd.ReadString('\n'); return strings.TrimSpace(l), err }
	head, err := line()
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(head[1:])
	args := make([]string, n)
	for i := range args {
		if _, err := line(); err != nil { // nothing here holds a line break
			return nil, err
		}
		if args[i], err = line(); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func (s *stub) answer(args []string) string {
	line := strings.ToUpper(strings.Join(args, " "))
	var best string
	for prefix := range s.answers {
		if strings.HasPrefix(line, prefix) && len(prefix) > len(best) {
			best = prefix
		}
	}
	if best != "" {
		return s.answers[best]
	}
	push := ">"
	if s.resp2 {
		push = "*"
	}
	switch strings.ToUpper(args[0]) {
	case "HELLO":
		return "%4\r\n+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n+role\r\n+master\r\n"
	case "INFO":
		return bulk("# Server\r\nredis_version:7.0.0\r\nrun_id:abc\r\n")
	case "CONFIG":
		return "*2\r\n" + bulk(flagsName) + bulk("AKE")
	case "PING":
		if len(args) < 2 {
			return "+PONG\r\n"
		}
		if s.resp2 {
			return "*2\r\n+pong\r\n" + bulk(args[1])
		}
		return bulk(args[1])
	case "PSUBSCRIBE":
		var b strings.Builder
		for i, p := range args[1:] {
			fmt.Fprintf(&b, "%s3\r\n%s%s:%d\r\n", push, bulk("psubscribe"), bulk(p), i+1)
		}
		return b.String()
	case "GET":
		return bulk("marker")
	}
	return "+OK\r\n"
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// say sends bytes that nobody asked for to every subscriber.
func (s *stub) say(b string) {
	s.mu.Lock()
	subs := slices.Clone(s.subs)
	s.mu.Unlock()
	for _, conn := range subs {
		io.WriteString(conn, b)
	}
}

// old are the answers of Redis 5.
func old(version string) map[string]string {
	return map[string]string{
		"HELLO": "-ERR unknown command `HELLO`\r\n",
		"INFO":  bulk("redis_version:" + version + "\r\nrun_id:abc\r\n"),
		"ROLE":  "*3\r\n" + bulk("master") + ":0\r\n*0\r\n",
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		answers map[string]string
		want    string // part of the error
	}{
		{old("5.0.7"), "the server is version 5.0.7"},
		{old("many"), `the server calls its version "many"`},
		{map[string]string{"HELLO": "-ERR no\r\n", "INFO": "-ERR no\r\n"}, "does not tell its version"},
		{map[string]string{"HELLO": "-ERR no\r\n", "INFO": "*1\r\n:1\r\n", "ROLE": "*3\r\n:1\r\n:2\r\n:3\r\n"}, "does not tell its version"},
	} {
		_, rdb := newStub(t, c.answers)
		_, err := Listen(testContext(t), rdb, Options{})
		wantFault(t, err, MissingVersion, "Redis 6.0 or newer, or Valkey")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	_, rdb := newStub(t, map[string]string{"HELLO": "%2\r\n+version\r\n+7.0.0\r\n+role\r\n+sentinel\r\n", "ROLE": "*1\r\n+sentinel\r\n"})
	_, err := Listen(testContext(t), rdb, Options{})
	wantFault(t, err, MissingRole, "redis.Options{Addr: <the primary's address>}")
}

// TestRESP2: without RESP3 there is no tracking; a flush is found by its marker.
func TestRESP2(t *testing.T) {
	s, rdb := newStub(t, old("6.0.0"))
	s.resp2 = true
	l, r := recorded(t, rdb, Options{AuditEvery: never})
	if got, want := reasons(l), "flush unheard until the next audit: no RESP3 tracking: the server does not speak RESP3"; got != want {
		t.Errorf("unproven: %s\nwant: %s", got, want)
	}
	s.say("*4\r\n" + bulk("pmessage") + bulk("__keyspace@0__:*") + bulk("__keyspace@0__:k") + bulk("set"))
	fenced(t, l)
	same(t, r, "synced", "set k")
}

// lies are sent unasked into the stream. None may crash the process or pass for an event.
var lies = []string{
	"+PONG\r\n",
	"$3\r\nabc\r\n",
	":1\r\n",
	"_\r\n",
	"$-1\r\n",
	"*0\r\n",
	">0\r\n+x\r\n",
	"*1\r\n:1\r\n",
	"*1\r\n+message\r\n",
	"*2\r\n+message\r\n+a\r\n",
	"*3\r\n+message\r\n:1\r\n+a\r\n",
	"*3\r\n+message\r\n+a\r\n+b\r\n",
	"*3\r\n+message\r\n+a\r\n*1\r\n:1\r\n",
	"*3\r\n+smessage\r\n+a\r\n*1\r\n+b\r\n",
	"*4\r\n+pmessage\r\n+nobody\r\n+asked\r\n+this\r\n",
	"*4\r\n+pmessage\r\n:1\r\n:2\r\n:3\r\n",
	"*4\r\n+pmessage\r\n_\r\n_\r\n_\r\n",
	"*3\r\n+psubscribe\r\n+__keyspace@0__:*\r\n:1\r\n",
	"*3\r\n+psubscribe\r\n+__keyspace@0__:*\r\n+one\r\n",
	"*3\r\n+punsubscribe\r\n+__keyspace@0__:*\r\n:0\r\n",
	"*3\r\n+unsubscribe\r\n_\r\n:0\r\n",
	"*1\r\n+pong\r\n",
	"*2\r\n+pong\r\n:1\r\n",
	"*2\r\n+pong\r\n+x\r\n",
	"*2\r\n+what\r\n+x\r\n",
	"%1\r\n*0\r\n+x\r\n",
	"%1\r\n+a\r\n+x\r\n",
	"*-2\r\n",
	"*9223372036854775807\r\n",
	"$9223372036854775800\r\n",
	"-ERR out of the blue\r\n",
	"-NOPERM out of the blue\r\n",
	"-MOVED 1 127.0.0.1:1\r\n",
	"-READONLY x\r\n",
	"\r\n",
	"\x00\xff garbage\r\n",
	"HTTP/1.1 400 Bad Request\r\n\r\n",
}

// TestLyingServer: what it says unasked costs it the session, and nothing is told that was not an event.
func TestLyingServer(t *testing.T) {
	for _, lie := range lies {
		s, rdb := newStub(t, nil)
		l, r := recorded(t, rdb, Options{Heartbeat: never, PongTimeout: never, AuditEvery: never})
		s.say(lie)
		s.say("+more\r\n")
		r.await(t, fmt.Sprintf("a gap after %q", lie), func(events []string) bool { return len(events) > 1 })
		r.awaitEvent(t, "synced", 2)
		fenced(t, l)
		if got := r.events(); len(got) != 3 || !strings.HasPrefix(got[1], "gap ") {
			t.Errorf("%q: told %q", lie, got)
		}
		l.Close()
	}
}

// TestHarmlessOddities are no lies: newer servers may send them.
func TestHarmlessOddities(t *testing.T) {
	s, rdb := newStub(t, nil)
	l, r := recorded(t, rdb, Options{Heartbeat: never, PongTimeout: never, AuditEvery: never})
	for _, b := range []string{
		">2\r\n+invalidate\r\n*1\r\n+key\r\n",
		">1\r\n+invalidate\r\n",
		">2\r\n+some-new-push\r\n+x\r\n",
		"|1\r\n+attr\r\n+x\r\n>4\r\n+pmessage\r\n+__keyspace@0__:*\r\n+__keyspace@0__:k\r\n+set\r\n",
		">4\r\n+pmessage\r\n+__keyspace@0__:*\r\n+__keyspace@1__:k\r\n+set\r\n",
	} {
		s.say(b)
	}
	fenced(t, l)
	same(t, r, "synced", "set k")
}

// TestLyingAnswers: setup questions answered with the wrong shapes fail Listen, or are taken for refusals.
func TestLyingAnswers(t *testing.T) {
	shapes := []string{"+OK\r\n", ":1\r\n", "_\r\n", "*0\r\n", "*1\r\n*1\r\n:1\r\n", "%1\r\n+a\r\n:1\r\n", "-ERR no\r\n", "#t\r\n", ",1.5\r\n", "=7\r\ntxt:abc\r\n"}
	for _, question := range []string{"HELLO", "INFO", "ROLE", "CLIENT", "CONFIG GET", "GET", "SET", "PING", "PSUBSCRIBE", "EXISTS"} {
		for _, shape := range shapes {
			answers := map[string]string{question: shape}
			if question == "ROLE" {
				answers["HELLO"] = "-ERR no\r\n"
			}
			_, rdb := newStub(t, answers)
			ctx, cancel := context.WithTimeout(testContext(t), 5e9)
			l, err := Listen(ctx, rdb, Options{})
			if err == nil {
				l.Close()
			}
			if ctx.Err() != nil {
				t.Errorf("%s answered %q: Listen hung: %v", question, shape, err)
			}
			cancel()
		}
	}
}

// FuzzStream feeds the receive loop whatever a server may send.
func FuzzStream(f *testing.F) {
	for _, lie := range lies {
		f.Add([]byte(lie))
	}
	f.Add([]byte("*4\r\n+pmessage\r\n+__keyspace@0__:*\r\n+__keyspace@0__:k\r\n+set\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rdb := newStub(t, nil)
		r := newRecorder()
		l, err := Listen(testContext(t), rdb, Options{Heartbeat: never, PongTimeout: never, AuditEvery: never, Hooks: r.hooks(),
			Backoff: func(int) time.Duration { return never }})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.say(string(tame(b)))
		s.mu.Lock()
		s.subs[0].Close()
		s.mu.Unlock()
		r.await(t, "the end of the session", func(events []string) bool {
			return strings.HasPrefix(events[len(events)-1], "gap")
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, ev := range r.told {
			if _, _, key, ok := ParseChannel(ev.Channel); ev.Kind == Change && (!ok || key != ev.Key || ev.DB != 0) {
				t.Errorf("told %+v", ev)
			}
		}
	})
}

// tame shortens numbers: go-redis allocates whatever length a server states before it reads.
func tame(b []byte) []byte {
	var out []byte
	digits := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > 4 {
			continue
		}
		out = append(out, c)
	}
	return out
}
