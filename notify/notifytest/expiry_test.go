package notifytest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify/notifytest"
)

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
