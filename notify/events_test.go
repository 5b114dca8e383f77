package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestEveryKindOfEvent runs commands of every class; what Redis tells of each comes in order and whole.
func TestEveryKindOfEvent(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{AuditEvery: never})
	for _, c := range []struct {
		commands string
		want     string
	}{
		{"SET a 1", "set a"},
		{"SET a 1", "set a"},
		{"GET a", ""},
		{"GET absent", ""},
		{"SET a 1 EX 100", "set a, expire a"},
		{"PERSIST a", "persist a"},
		{"EXPIRE a 100", "expire a"},
		{"APPEND a x", "append a"},
		{"MSET b 1 c 1", "set b, set c"},
		{"INCR c", "incrby c"},
		{"RENAME b d", "rename_from b, rename_to d"},
		{"COPY d e", "copy_to e"},
		{"MOVE e 1", "move_from e"},
		{"GETDEL d", "del d"},
		{"DEL a c", "del a, del c"},
		{"UNLINK absent", ""},
		{"HSET h f 1 g 1", "hset h"},
		{"HSET h f 1", "hset h"},
		{"HDEL h f g", "hdel h, del h"},
		{"RPUSH l 1 2", "rpush l"},
		{"LPOP l", "lpop l"},
		{"RPOP l", "rpop l, del l"},
		{"SADD s 1", "sadd s"},
		{"SREM s 1", "srem s, del s"},
		{"ZADD z 1 m", "zadd z"},
		{"ZREM z m", "zrem z, del z"},
		{"XADD x * f 1", "xadd x"},
		{"XTRIM x MAXLEN 0", "xtrim x"},
		{"SETBIT bits 0 1", "setbit bits"},
		{"PFADD hll 1", "pfadd hll"},
		{"SET soon 1 PX 1", "set soon, expire soon, expired soon"},
		{"EVAL redis.call('set',KEYS[1],1)redis.call('del',KEYS[1]) 1 ev", "set ev, del ev"},
		{"PUBLISH __keyspace@0__:p touch", "touch p"},
		{"PUBLISH __keyspace@0__:p keymiss", ""}, // a read is no change
		{"PUBLISH other:p touch", ""},
	} {
		before := len(r.events())
		run(t, rdb, c.commands)
		if strings.Contains(c.want, "expired") {
			r.awaitEvent(t, "expired soon", 1)
		}
		fenced(t, l)
		if got := strings.Join(r.events()[before:], ", "); got != c.want {
			t.Errorf("%s told %q, want %q", c.commands, got, c.want)
		}
	}
	before := len(r.events())
	if _, err := rdb.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		p.Set(context.Background(), "m", 1, 0)
		p.LPush(context.Background(), "n", 1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	fenced(t, l)
	if got, want := r.events()[before:], []string{"set m", "lpush n"}; !slices.Equal(got, want) {
		t.Errorf("MULTI told %q, want %q", got, want)
	}
	ev := r.told[len(r.told)-1]
	if ev.Channel != "__keyspace@0__:n" || ev.Pattern != "__keyspace@0__:*" || ev.Payload != "lpush" || ev.At.IsZero() {
		t.Errorf("the event is not whole: %+v", ev)
	}
	if st := l.Stats(); st.Events != uint64(len(r.told)-1) || st.Gaps != 0 {
		t.Errorf("Stats %+v after %d events", st, len(r.told))
	}
}

func TestEvictionIsToldOf(t *testing.T) {
	srv := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
	rdb := srv.Client(t)
	_, r := recorded(t, rdb, Options{AuditEvery: never})
	for i := 0; i < 400; i++ {
		do(t, rdb, "SET", fmt.Sprintf("k%03d", i), strings.Repeat("x", 10_000))
	}
	r.await(t, "an eviction", func(events []string) bool {
		return slices.ContainsFunc(events, func(s string) bool { return strings.HasPrefix(s, "evicted ") })
	})
}

func TestKeyeventChannels(t *testing.T) {
	srv := redistest.Start(t, "--notify-keyspace-events", "K$")
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{Channels: Keyevent, Prefixes: []string{"a:"}, AuditEvery: never})
	run(t, rdb, "SET a:1 1", "SET b:1 1", "DEL a:1", "GET a:1", "FLUSHDB")
	fenced(t, l)
	if err := l.Subscribe(testContext(t), "b:", "a:x"); err != nil {
		t.Fatal(err)
	}
	run(t, rdb, "SET b:1 1", "SET a:x 1", "PUBLISH __keyspace@0__:a:1 touch")
	fenced(t, l)
	same(t, r, "synced", "set a:1", "del a:1", "flush", "set b:1", "set a:x")
	if want := []string{"$K>AKE"}; !slices.Equal(r.configs, want) && !slices.Equal(r.configs, []string{"K$>AKE"}) {
		t.Errorf("config changes %q: what was set must stay, and A and E be added", r.configs)
	}
	if st := l.Stats(); st.Planned != 1 {
		t.Errorf("Planned = %d", st.Planned)
	}
}

func TestDatabases(t *testing.T) {
	srv := redistest.Start(t, "--databases", "4")
	rdb := srv.Client(t, func(o *redis.Options) { o.DB = 2 })
	for _, c := range []struct {
		dbs  []int
		want []string
	}{
		{nil, []string{"synced", "set 2:k"}},
		{[]int{3, 1, 3}, []string{"synced", "set 1:k", "set 3:k"}},
		{[]int{AllDBs}, []string{"synced", "set k", "set 1:k", "set 2:k", "set 3:k"}},
	} {
		for _, ch := range []Channels{Keyspace, Keyevent} {
			l, r := recorded(t, rdb, Options{DBs: c.dbs, Channels: ch, Prefixes: []string{"k"}})
			for db := range 4 {
				other := srv.Client(t, func(o *redis.Options) { o.DB = db })
				run(t, other, "SET k 1", "SET other 1")
			}
			// A channel that only looks like one: over all databases the pattern's star matches it too.
			run(t, rdb, "PUBLISH __keyspace@x__:k set", "PUBLISH __keyspace@0__:x__:k set", "PUBLISH __keyevent@x__:set k")
			fenced(t, l)
			same(t, r, c.want...)
			if got := reasons(l); got != "" {
				t.Errorf("dbs %v: unproven: %s", c.dbs, got)
			}
			l.Close()
		}
	}
	_, err := Listen(testContext(t), rdb, Options{DBs: []int{9}})
	wantFault(t, err, MissingDatabase, "databases <a number above that of every database used>")
	gone := srv.Client(t, func(o *redis.Options) { o.DB = 9 })
	_, err = Listen(testContext(t), gone, Options{})
	wantFault(t, err, MissingDatabase, "databases <a number above that of every database used>")
}

// TestFlushIsHeardInOrder: a flush has its place among the events, in MULTI and in scripts too. It is no gap, and not one
// either when the next audits find the markers written anew.
func TestFlushIsHeardInOrder(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{AuditEvery: quick})
	ctx := context.Background()
	run(t, rdb, "SET a 1", "FLUSHALL", "SET b 1", "FLUSHDB", "SET c 1",
		"EVAL redis.call('set','d',1)redis.call('flushall')redis.call('set','e',1) 0")
	if _, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "f", 1, 0)
		p.FlushDB(ctx)
		p.Set(ctx, "g", 1, 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	run(t, rdb, "FLUSHALL", "SWAPDB 8 9", "FLUSHALL ASYNC") // the last of an empty server
	fenced(t, l)
	same(t, r, "synced", "set a", "flush", "set b", "flush", "set c", "set d", "flush", "set e", "set f", "flush", "set g", "flush", "flush")
	awaitAudits(t, srv, 5)
	same(t, r, "synced", "set a", "flush", "set b", "flush", "set c", "set d", "flush", "set e", "set f", "flush", "set g", "flush", "flush")
	if n, err := rdb.Exists(ctx, "freshet:marker").Result(); n != 1 || err != nil {
		t.Errorf("the marker is not written anew: %d, %v", n, err)
	}
}

// awaitAudits waits until the server has answered n more audits.
func awaitAudits(t testing.TB, srv *redistest.Server, n int) {
	t.Helper()
	rdb := srv.Client(t)
	calls := func() (n int) {
		info := rdb.Info(testContext(t), "commandstats").Val()
		if _, tail, ok := strings.Cut(info, "cmdstat_info:calls="); ok {
			fmt.Sscanf(tail, "%d", &n)
		}
		return n
	}
	seen, polls := calls(), 0
	eventually(t, "audits", func() bool { polls++; return calls()-seen-polls >= n })
}

func TestPrefixesMatchExactlyTheirKeys(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	prefixes := []string{"p:", "p:more:", "[a-z]", "st*r", "q?", `back\slash`, "^x", "]", "sp ace", "\x00\xff", "ü__:", "-"}
	l, r := recorded(t, rdb, Options{Prefixes: prefixes})
	var want []string
	want = append(want, "synced")
	for _, p := range prefixes {
		do(t, rdb, "SET", p+"k", 1)
		do(t, rdb, "SET", p, 1)
		want = append(want, "set "+p+"k", "set "+p)
	}
	for _, other := range []string{"a", "p", "m", "stxr", "qq", "backslash", "x", "other", `\[a-z]`, "b-z]", "\x00"} {
		do(t, rdb, "SET", other, 1)
	}
	fenced(t, l)
	same(t, r, want...)
}

// TestSubscribePlanned: a prefix added later is no gap, is told from Subscribe's return on, and a key that both an
// old and a new prefix cover is told once.
func TestSubscribePlanned(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{Prefixes: []string{"long:er", "x"}})
	run(t, rdb, "SET long:1 1", "SET long:er 1")
	if err := l.Subscribe(testContext(t), "long:", "y", "long:er", "long:est"); err != nil {
		t.Fatal(err)
	}
	run(t, rdb, "SET long:2 1", "SET long:er 2", "SET y 1", "SET x 1")
	fenced(t, l)
	want := []string{"synced", "set long:er", "set long:2", "set long:er", "set y", "set x"}
	same(t, r, want...)
	if err := l.Subscribe(testContext(t), "y2", "xx"); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.Planned != 2 || st.Gaps != 0 {
		t.Errorf("Stats: %+v", st)
	}
	// The next session subscribes to what has been added.
	run(t, rdb, "CLIENT KILL TYPE pubsub")
	fenced(t, l)
	run(t, rdb, "SET long:er 3", "SET y2 1")
	fenced(t, l)
	same(t, r, append(want, "gap connection", "synced", "set long:er", "set y2")...)
	if err := l.Subscribe(testContext(t), ""); err == nil {
		t.Error("an empty prefix was taken")
	}
}
