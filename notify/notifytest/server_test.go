package notifytest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/leak"
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
					"UNSUBSCRIBE other", "PUNSUBSCRIBE a* none", "PING", "UNSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PUNSUBSCRIBE",
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
// after its reply, never inside it. Guard: conn.push without its deferral.
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

// TestFlagsAsRedis: seeded; every set of letters must come back as a server gives it.
func TestFlagsAsRedis(t *testing.T) {
	ctx := context.Background()
	real, ours := redistest.Start(t).Client(t), notifytest.Start(t).Client(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	values := []string{"", "KEA", "A", "Kg", "K E", "KEAnm", "g$lshzxetd", "o", "k"}
	for range 300 {
		var b strings.Builder
		for range rnd.IntN(9) {
			b.WriteByte("KEg$lshzxetdmnAKEgx!"[rnd.IntN(20)])
		}
		values = append(values, b.String())
	}
	get := func(c *redis.Client, v string) string {
		err := c.ConfigSet(ctx, "notify-keyspace-events", v).Err()
		now, getErr := c.ConfigGet(ctx, "notify-keyspace-*").Result()
		return fmt.Sprintln(now, err, getErr)
	}
	for _, v := range values {
		if got, want := get(ours, v), get(real, v); got != want {
			t.Errorf("%q: got %s want %s", v, got, want)
		}
	}
}

// TestFlagsChoose: an event needs K or E, and its class.
func TestFlagsChoose(t *testing.T) {
	s := notifytest.Start(t)
	rdb := s.Client(t)
	l := listen(t, rdb)
	for flags, want := range map[string][]string{
		"":   nil,
		"A":  nil,
		"K":  nil,
		"K$": {"__keyspace@0__:k set"},
		"Eg": {"__keyevent@0__:del k"},
		"Ex": nil,
	} {
		enable(t, rdb, flags)
		c := rdb.Conn()
		_ = do(c, "SET k v")
		_ = do(c, "DEL k")
		_ = c.Close()
		if got := l.drain(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", flags, got, want)
		}
	}
}

// TestGlobAsRedis: seeded; KEYS uses the matcher that patterns use. miniredis
// has another, so ours is seen through PUBSUB CHANNELS.
func TestGlobAsRedis(t *testing.T) {
	ctx := context.Background()
	real, ours := redistest.Start(t).Client(t), notifytest.Start(t).Client(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	word := func(alphabet string, n int) string {
		b := make([]byte, rnd.IntN(n))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	var names []string
	for range 150 {
		names = append(names, word("abc-]^*\xff", 6))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	sub := ours.Subscribe(ctx, names...)
	t.Cleanup(func() { _ = sub.Close() })
	for range names {
		if _, err := sub.ReceiveTimeout(ctx, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if err := real.Set(ctx, name, "", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		pattern := word(`aabc*?[]^-\`+"\xff", 9)
		want, err := real.Keys(ctx, pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ours.PubSubChannels(ctx, pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		if pattern != "" && !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", pattern, got, want)
		}
	}
}

// TestExpiry: keys nobody touches are expired by wall time and announced, and TTLs run.
func TestExpiry(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "Kx")
	ps := rdb.PSubscribe(ctx, "__keyspace@*__:*")
	t.Cleanup(func() { _ = ps.Close() })
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	rdb.Set(ctx, "late", "v", 80*time.Millisecond)
	rdb.Set(ctx, "soon", "v", 30*time.Millisecond)
	rdb.Set(ctx, "kept", "v", time.Hour)
	for _, want := range []struct {
		key   string
		after time.Duration
	}{{"soon", 30 * time.Millisecond}, {"late", 80 * time.Millisecond}} {
		m, err := ps.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel != "__keyspace@0__:"+want.key || m.Payload != "expired" {
			t.Errorf("got %v, want %s expired", m, want.key)
		}
		if took := time.Since(begin); took < want.after-time.Millisecond {
			t.Errorf("%s expired after %v, before its time", want.key, took)
		}
	}
	if n := rdb.Exists(ctx, "soon", "late", "kept").Val(); n != 1 {
		t.Errorf("%d keys left, want 1", n)
	}
	if ttl := rdb.PTTL(ctx, "kept").Val(); ttl > time.Hour-80*time.Millisecond || ttl < time.Minute {
		t.Errorf("PTTL %v: the clock stands still", ttl)
	}
	if ttl := rdb.TTL(ctx, "kept").Val(); ttl != time.Hour {
		t.Errorf("TTL %v: Redis rounds to 1h", ttl)
	}
}

// TestFastForward: deadlines follow every way a TTL can be given, kept, moved and taken away.
func TestFastForward(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "KEA")
	for _, tc := range []struct{ name, lines, want string }{
		{"given", "SET k v EX 100|SETEX k2 100 v|SET k3 v|EXPIRE k3 100", "k expired,k2 expired,k3 expired"},
		{"given anew", "SET k v EX 100|SET k v|SET k2 v EX 100|EXPIRE k2 1000|SET k3 v EX 100|PERSIST k3|SET k4 v EX 1000|EXPIRE k4 100 LT", "k4 expired"},
		{"kept", "SET k v EX 100|SET k w KEEPTTL|SET i 1 EX 100|INCR i|SET a x EX 100|APPEND a y", "k expired,i expired,a expired"},
		{"moved", "SET a v EX 100|RENAME a b|COPY b c|SET d v|COPY d b REPLACE|SET e v EX 100|SET f v|RENAME f e", "c expired"},
		{"deleted", "SET a v EX 100|DEL a|SET a v|RPUSH l x|EXPIRE l 100|LPOP l|RPUSH l x|SET b v EX 100|FLUSHALL|SET b v", ""},
		{"script", "EVAL redis.call('SET','k','v','EX','100') 0|MULTI|SET m v EX 100|EXEC", "k expired,m expired"},
		{"fields", "HSET h f 1 g 2 i 3|HEXPIRE h 100 FIELDS 2 f g|HSET h g 3|HSETEX s EX 100 FIELDS 1 f v|HSETEX p EX 100 FIELDS 1 f v|HPERSIST p FIELDS 1 f|RENAME h r|HSETEX d EX 100 FIELDS 1 f v|HDEL d f|HSETNX d f w", "r hexpired,s hexpired,s del"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rdb.FlushAll(ctx)
			c := rdb.Conn()
			for line := range strings.SplitSeq(tc.lines, "|") {
				if err := do(c, line); err != nil {
					t.Fatal(line, err)
				}
			}
			_ = c.Close()
			l := listen(t, rdb, "__keyspace@0__:*")
			s.FastForward(99 * time.Second)
			if got := l.drain(); len(got) > 0 {
				t.Errorf("too early: %q", got)
			}
			s.FastForward(2 * time.Second)
			var want []string
			if tc.want != "" {
				want = strings.Split(tc.want, ",")
			}
			got := l.drain()
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], "__keyspace@0__:")
			}
			slices.Sort(got) // keys due together have no order
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestFieldTTLs(t *testing.T) {
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "Kgh")
	l, c := listen(t, rdb, "__keyspace@0__:*"), rdb.Conn()
	for _, step := range [][2]string{
		{"HSET h a 1 b 2", "hset"}, {"HEXPIRE h 100 FIELDS 2 a none", "hexpire"}, {"HEXPIRE h 100 FIELDS 1 none", ""},
		{"HEXPIRE h 50 GT FIELDS 1 a", ""}, {"HPERSIST h FIELDS 1 b", ""}, {"HPERSIST h FIELDS 2 a b", "hpersist"},
		{"HSETEX h EX 100 FIELDS 1 a v", "hset hexpire"}, {"HSETEX h KEEPTTL FIELDS 1 a v", "hset"}, {"HSETEX h FNX FIELDS 1 a v", ""},
		{"HEXPIRE h 0 FIELDS 1 a", "hdel"}, {"HEXPIRE h 0 FIELDS 1 b", "hdel del"}, {"HSETEX h PXAT 1 FIELDS 1 a v", "hset hdel del"},
	} {
		if err := do(c, step[0]); err != nil {
			t.Fatal(step[0], err)
		}
		var got []string
		for _, e := range l.drain() {
			got = append(got, strings.TrimPrefix(e, "__keyspace@0__:h "))
		}
		if strings.Join(got, " ") != step[1] {
			t.Errorf("%q: got %q, want %q", step[0], got, step[1])
		}
	}
	ctx := context.Background()
	rdb.HSet(ctx, "t", "f", 1)
	rdb.HExpire(ctx, "t", 10*time.Second, "f")
	s.FastForward(4 * time.Second)
	if left := rdb.HPTTL(ctx, "t", "f", "none").Val(); len(left) != 2 || left[0] > 6000 || left[0] < 1000 || left[1] != -2 {
		t.Errorf("HPTTL %v", left)
	}
}

// TestRestore: a payload is each server's own, so it cannot stand in a history.
func TestRestore(t *testing.T) {
	ctx := context.Background()
	var results [2]string
	for i, rdb := range []*redis.Client{redistest.Start(t).Client(t), notifytest.Start(t).Client(t)} {
		enable(t, rdb, "KEA")
		l := listen(t, rdb)
		rdb.Set(ctx, "k", "v", 0)
		payload := rdb.Dump(ctx, "k").Val()
		l.drain()
		for _, args := range [][]any{
			{"RESTORE", "r", 0, payload}, {"RESTORE", "r", 0, payload}, {"RESTORE", "r", 100000, payload, "REPLACE"},
			{"RESTORE", "r", 1, payload, "REPLACE", "ABSTTL"}, {"RESTORE", "r", 1, payload, "ABSTTL"}, {"EXISTS", "r"}, {"SET", "r", "v"}, {"TTL", "r"},
		} {
			n, err := rdb.Do(ctx, args...).Result()
			results[i] += fmt.Sprintln(n, err, l.drain())
		}
	}
	if results[0] != results[1] {
		t.Errorf("got\n%s\nwant\n%s", results[1], results[0])
	}
}

// TestPingAfterEvents: a PING sent after a write was answered is answered
// after the write's events, with other writers at work. The subscriber's queue
// is filled under the lock; guard: queue events after unlocking in run.
func TestPingAfterEvents(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "KEA")
	l := listen(t, rdb, "__keyspace@0__:mine:*")
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() {
			for ctx.Err() == nil {
				rdb.Incr(ctx, "other")
			}
		})
	}
	for i := range 300 {
		key := fmt.Sprint("mine:", i)
		if err := rdb.Set(ctx, key, i, 0).Err(); err != nil {
			t.Error(err)
		}
		if got := l.drain(); len(got) != 1 || got[0] != "__keyspace@0__:"+key+" set" {
			t.Errorf("%s: got %q before the PONG", key, got)
		}
	}
	cancel()
	others.Wait()
}

// TestNothingLost: two clients that write one key at once, no event lost and none too many.
// Guard: the lock in run.
func TestNothingLost(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	enable(t, rdb, "K$sg")
	l := listen(t, rdb, "__keyspace@0__:k")
	var added, removed int64
	var mu sync.Mutex
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for i := range 200 {
				a, r := int64(0), int64(0)
				if i%2 == 0 {
					a = rdb.SAdd(ctx, "k", "m").Val()
				} else {
					r = rdb.SRem(ctx, "k", "m").Val()
				}
				mu.Lock()
				added, removed = added+a, removed+r
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	counts := make(map[string]int64)
	for _, e := range l.drain() {
		counts[strings.TrimPrefix(e, "__keyspace@0__:k ")]++
	}
	if counts["sadd"] != added || counts["srem"] != removed || counts["del"] != removed {
		t.Errorf("events %v, want %d sadd, %d srem and del", counts, added, removed)
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

func TestWhatClientsAsk(t *testing.T) {
	ctx := context.Background()
	s := notifytest.Start(t)
	rdb := s.Client(t)
	infos := rdb.Info(ctx).Val()
	for _, want := range []string{"redis_version:7.", "\r\nrun_id:", "\r\nrole:master\r\n", "tcp_port:" + s.Addr[strings.LastIndex(s.Addr, ":")+1:]} {
		if !strings.Contains(infos, want) {
			t.Errorf("INFO %q lacks %q", infos, want)
		}
	}
	if one := rdb.Info(ctx, "replication").Val(); strings.Contains(one, "run_id") || !strings.HasPrefix(one, "# Replication\r\n") {
		t.Errorf("INFO replication: %q", one)
	}
	if got := fmt.Sprint(rdb.Do(ctx, "ROLE").Result()); got != "[master 0 []] <nil>" {
		t.Errorf("ROLE: %s", got)
	}
	if got, err := rdb.ConfigGet(ctx, "maxmemory").Result(); len(got) != 0 || err != nil {
		t.Errorf("CONFIG GET of another: %v, %v", got, err)
	}
	for line, want := range map[string]string{
		"CLIENT MAINT_NOTIFICATIONS ON": "ERR unknown subcommand",
		"CLIENT TRACKING ON":            "ERR notifytest: CLIENT TRACKING without BCAST",
		"CONFIG SET maxmemory 1":        "ERR Unknown option",
		"CONFIG":                        "ERR wrong number",
		"SORT x":                        "ERR unknown command",
	} {
		c := rdb.Conn()
		if err := do(c, line); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
		_ = c.Close()
	}
	s.Miniredis().RequireAuth("secret")
	w := dial(t, s.Addr)
	w.send("PSUBSCRIBE *", "CONFIG GET x", "GET k", "HELLO 3 AUTH default wrong", "HELLO 3 AUTH default secret", "CONFIG GET x")
	got := w.until()
	if want := strings.Repeat("-NOAUTH Authentication required.\r\n", 3) + "-WRONGPASS invalid username-password pair\r\n%7\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStalledSubscriber: one who does not read holds up nobody, and is dropped.
// Guard: the bound in conn.queue.
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

// TestClose: twice, at once, with a blocked client, a subscriber, an open MULTI and a silent connection.
func TestClose(t *testing.T) {
	leak.Check(t)
	s, err := notifytest.Run()
	if err != nil {
		t.Fatal(err)
	}
	var wires []*wire
	for _, lines := range [][]string{{"PING"}, {"PING", "BLPOP q 0"}, {"PSUBSCRIBE *"}, {"MULTI", "SET a b"}} {
		w := dial(t, s.Addr)
		w.send(lines...)
		wires = append(wires, w)
	}
	wires[0].until()
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.FastForward(time.Second) // harmless
	for _, w := range wires {
		if _, err := io.ReadAll(w.r); errors.Is(err, context.DeadlineExceeded) {
			t.Error("still open")
		}
	}
	if _, err := net.Dial("tcp", s.Addr); err == nil {
		t.Error("still listening")
	}
}
