package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func wantFault(t testing.TB, err error, missing, fix string) {
	t.Helper()
	var fault *SetupError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a SetupError", err)
	}
	if fault.Missing != missing || fault.Fix != fix {
		t.Errorf("%v\nmissing %q, fix %q; want %q, %q", err, fault.Missing, fault.Fix, missing, fix)
	}
}

func as(user string) func(*redis.Options) {
	return func(o *redis.Options) { o.Username, o.Password = user, "secret" }
}

const quick = 20 * time.Millisecond

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		was     string
		opts    Options
		changed string // what Config is told
		fix     string // of the SetupError, if it fails
	}{
		{"", Options{}, ">AK", ""},
		{"KEA", Options{}, "", ""},
		{"Ex", Options{}, "xE>AKE", ""},
		{"Km", Options{Channels: Keyevent}, "Km>AKEm", ""},
		{"KA", Options{Flags: FlagsVerify}, "", ""},
		{"", Options{Flags: FlagsVerify}, "", "notify-keyspace-events KA"},
		{"Kg$m", Options{Flags: FlagsVerify, Channels: Keyevent}, "", "notify-keyspace-events KmEA"},
		{"", Options{Flags: FlagsTrust}, "", ""},
	} {
		srv := redistest.Start(t, "--notify-keyspace-events", c.was)
		rdb := srv.Client(t)
		r := newRecorder()
		c.opts.Hooks = r.hooks()
		l, err := Listen(testContext(t), rdb, c.opts)
		if c.fix != "" {
			wantFault(t, err, MissingFlags, c.fix)
			if !errors.Is(err, ErrNotEnabled) {
				t.Errorf("%q: %v is no ErrNotEnabled", c.was, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.was, err)
			continue
		}
		if got := strings.Join(r.configs, " "); got != c.changed {
			t.Errorf("%q: changed %q, want %q", c.was, got, c.changed)
		}
		trusted := strings.Contains(reasons(l), "flags unproven")
		if trusted != (c.opts.Flags == FlagsTrust) {
			t.Errorf("%q: unproven: %s", c.was, reasons(l))
		}
		if c.opts.Flags == FlagsTrust {
			if n := rdb.DBSize(testContext(t)).Val(); n != 0 {
				t.Error("FlagsTrust wrote a key")
			}
		}
		l.Close()
	}
}

// TestFlagsSwitchedOff: somebody clears the flags; the audit finds it and the next session sets them again.
// Without the comparison of flags in audit, the gap never comes.
func TestFlagsSwitchedOff(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{AuditEvery: quick})
	for i, flags := range []string{"", "K", "EA", "Kg$"} {
		do(t, rdb, "CONFIG", "SET", "notify-keyspace-events", flags)
		r.awaitEvent(t, "gap flags", i+1)
		r.awaitEvent(t, "synced", i+2)
	}
	do(t, rdb, "CONFIG", "SET", "notify-keyspace-events", "AKEm") // more is not less
	awaitAudits(t, srv, 3)
	run(t, rdb, "SET k 1")
	fenced(t, l)
	if got := r.events(); got[len(got)-2] != "synced" || got[len(got)-1] != "set k" {
		t.Errorf("told %q", got)
	}
}

// TestSwapDB: nothing is sent; the audit finds another database's marker, or none.
// Without the comparison in auditMarkers, the gap never comes.
func TestSwapDB(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	l, r := recorded(t, rdb, Options{AuditEvery: quick})
	_, all := recorded(t, rdb, Options{AuditEvery: quick, DBs: []int{AllDBs}})
	run(t, rdb, "SWAPDB 0 1")
	r.awaitEvent(t, "gap marker", 1)
	all.awaitEvent(t, "gap marker", 1)
	r.awaitEvent(t, "synced", 2)
	run(t, rdb, "SWAPDB 1 0")
	r.awaitEvent(t, "gap marker", 2)
	r.awaitEvent(t, "synced", 3)
	// A flush elsewhere excuses nothing: it is heard, the markers are found in place, and a later swap is found.
	run(t, srv.Client(t, func(o *redis.Options) { o.DB = 5 }), "SET x 1", "FLUSHDB")
	awaitAudits(t, srv, 5)
	run(t, rdb, "SWAPDB 0 7")
	r.awaitEvent(t, "gap marker", 3)
	if st := l.Stats(); st.GapsByReason[GapMarker] != 3 {
		t.Errorf("Stats: %+v", st)
	}
}

// TestMarkerIsWrittenAnew: a flush takes the marker along. What the flush excuses is one loss: after the marker is back, a
// silent loss is a gap again.
func TestMarkerIsWrittenAnew(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	_, r := recorded(t, rdb, Options{AuditEvery: quick})
	run(t, rdb, "FLUSHALL")
	r.awaitEvent(t, "flush", 1)
	eventually(t, "the marker to be back", func() bool { return rdb.Exists(testContext(t), "freshet:marker").Val() == 1 })
	awaitAudits(t, srv, 3)
	run(t, rdb, "DEL freshet:marker")
	r.awaitEvent(t, "gap marker", 1)
	same(t, r, "synced", "flush", "gap marker")
}

// TestMendedByAnother: notifications are switched off, and the first listener that notices switches them on again. The
// others find them on whenever they look, and are told all the same, whatever they subscribe to and in which database.
// Without the calls of tell in setFlags they go on as if nothing had been lost.
func TestMendedByAnother(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	var others []*recorder
	for _, o := range []struct {
		db   int
		opts Options
	}{
		{0, Options{}}, {0, Options{Prefixes: []string{"p:"}}}, {3, Options{Prefixes: []string{"p:"}, Namespace: "other:"}},
		{0, Options{Channels: Keyevent}},
	} {
		o.opts.AuditEvery = time.Hour // they never look
		_, r := recorded(t, srv.Client(t, func(opts *redis.Options) { opts.DB = o.db }), o.opts)
		others = append(others, r)
	}
	_, mender := recorded(t, rdb, Options{AuditEvery: quick})
	before := len(others)
	run(t, rdb, "CONFIG SET notify-keyspace-events KEA")
	do(t, rdb, "CONFIG", "SET", "notify-keyspace-events", "")
	mender.awaitEvent(t, "gap flags", 1)
	mender.awaitEvent(t, "synced", 2)
	for _, r := range others[:before] {
		r.awaitEvent(t, "gap flags", 1)
		r.awaitEvent(t, "synced", 2)
	}
}

// TestAuditImpossible: the questions get no answer although the stream goes on.
// Without the limit in audits, the gap never comes.
func TestAuditImpossible(t *testing.T) {
	srv := redistest.Start(t)
	rdb, p := through(t, srv)
	_, r := recorded(t, rdb, Options{AuditEvery: quick, PongTimeout: 400 * time.Millisecond, Heartbeat: quick})
	p.Having("freshet:marker").Drop(faultproxy.ToClient)
	r.awaitEvent(t, "gap audit", 1)
	p.Having("freshet:marker").Pass()
	r.awaitEvent(t, "synced", 2)
}

// TestAuditConnectionLost is no gap: the audit takes another connection.
func TestAuditConnectionLost(t *testing.T) {
	srv := redistest.Start(t)
	rdb, p := through(t, srv)
	l, r := recorded(t, rdb, Options{AuditEvery: quick, PongTimeout: 10 * time.Second})
	for range 3 {
		p.Having("freshet:marker").Cut(faultproxy.RST)
		awaitAudits(t, srv, 2)
	}
	run(t, rdb, "SET k 1")
	fenced(t, l)
	same(t, r, "synced", "set k")
}

// TestAnotherServer: the subscription stays where it is while the address leads elsewhere, as behind a load balancer.
// Without the comparison of run ids in compare, the gap never comes.
func TestAnotherServer(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	rdb, p := through(t, one)
	_, r := recorded(t, rdb, Options{AuditEvery: quick, PongTimeout: 10 * time.Second})
	p.SetTarget(two.Addr())
	p.Having("freshet:marker").Cut(faultproxy.RST)
	r.awaitEvent(t, "gap runid", 1)
	r.awaitEvent(t, "synced", 2)
	run(t, two.Client(t), "SET k 1")
	r.awaitEvent(t, "set k", 1)
}

// TestRole: a replica is refused, and a primary that becomes one is a gap until it is a primary again.
// Without the comparison of roles in compare, the gap never comes.
func TestRole(t *testing.T) {
	leak.Check(t)
	primary := redistest.Start(t)
	replica := primary.StartReplica(t)
	_, err := Listen(testContext(t), replica.Client(t), Options{StartDown: true})
	wantFault(t, err, MissingRole, `redis.Options{Addr: "`+primary.Addr()+`"}`)

	run(t, replica.Client(t), "REPLICAOF NO ONE")
	l, r := recorded(t, replica.Client(t), Options{AuditEvery: quick})
	run(t, replica.Client(t), "REPLICAOF 127.0.0.1 1") // nobody there: it keeps its data, and says nothing
	r.awaitEvent(t, "gap role", 1)
	eventually(t, "the reason", func() bool { return strings.Contains(reasons(l), "replica") })
	if l.Status().Synced {
		t.Error("synced with a replica")
	}
	run(t, replica.Client(t), "REPLICAOF NO ONE")
	r.awaitEvent(t, "synced", 2)
}

// TestWithoutCONFIG: the canary proves what CONFIG does not tell, again and again.
func TestWithoutCONFIG(t *testing.T) {
	leak.Check(t)
	for _, opts := range []Options{
		{},
		{Prefixes: []string{"k"}},
		{Flags: FlagsVerify, Prefixes: []string{"fr", "k"}},
		{Channels: Keyevent},
		{DBs: []int{AllDBs}},
		{Channels: Keyevent, DBs: []int{3, 0}},
	} {
		srv := redistest.Start(t, "--notify-keyspace-events", "KEA")
		srv.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all", "-config")
		opts.AuditEvery = quick
		l, r := recorded(t, srv.Client(t, as("app")), opts)
		if got := reasons(l); !strings.Contains(got, "flags unproven: CONFIG refused, canary only") || strings.Contains(got, "\n") {
			t.Errorf("%+v: unproven: %s", opts, got)
		}
		awaitAudits(t, srv, 3)
		root := srv.Client(t)
		run(t, root, "SET k 1")
		fenced(t, l)
		same(t, r, "synced", "set k")
		do(t, root, "CONFIG", "SET", "notify-keyspace-events", "KEA") // drops a class, see below
		do(t, root, "CONFIG", "SET", "notify-keyspace-events", "KEg$lszxetd")
		r.awaitEvent(t, "gap flags", 1)
		eventually(t, "the reason", func() bool { return strings.Contains(reasons(l), "did not come for classes h") })
		do(t, root, "CONFIG", "SET", "notify-keyspace-events", "KEA")
		r.awaitEvent(t, "synced", 2)
		l.Close()
		keys, err := root.Keys(testContext(t), "freshet:canary:*").Result()
		if err != nil || len(keys) != 0 {
			t.Errorf("canaries left: %q, %v", keys, err)
		}
	}
}

// noperm is a refusal, which servers word differently.
var noperm = regexp.MustCompile(`NOPERM [^()\n]*`)

// TestPermissions: what a user may not do is said with the line that mends it, or told as unproven.
func TestPermissions(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags string
		rules string
		opts  Options
		fault string // Missing, if it fails
		want  string // its Fix, or else the reasons
	}{
		{"all", "", "~* &* +@all", Options{}, "", ""},
		{"no psubscribe", "", "~* &* +@all -psubscribe", Options{Prefixes: []string{"p:"}},
			MissingACL, "ACL SETUSER app +psubscribe &__keyspace@0__:p:*"},
		{"no channel", "", "~* resetchannels &other +@all", Options{Prefixes: []string{"p:", "[q"}},
			MissingACL, `ACL SETUSER app +psubscribe "&__keyspace@0__:\\[q*" &__keyspace@0__:p:*`},
		{"the pattern alone", "KA", "~* resetchannels &__keyspace@0__:p:* +@all", Options{Prefixes: []string{"p:"}}, "",
			`flags that another process mends unheard: "__keyspace@0__:freshet:mended" may not be subscribed: ` +
				"NOPERM ..."},
		{"the pattern and the word", "KA", "~* resetchannels &__keyspace@0__:p:* &__keyspace@0__:freshet:mended +@all",
			Options{Prefixes: []string{"p:"}}, "", ""},
		{"no ping", "", "~* &* +@all -ping", Options{}, MissingACL, "ACL SETUSER app +ping"},
		{"no config set, flags set", "KA", "~* &* +@all -config|set", Options{}, "", ""},
		{"no config set, no flags", "K", "~* &* +@all -config|set", Options{}, MissingFlags, "notify-keyspace-events KA"},
		{"no config, no flags", "", "~* &* +@all -config", Options{}, MissingFlags, "notify-keyspace-events KA"},
		{"no config, no canary", "KA", "~other &* +@all -config", Options{}, MissingACL, "ACL SETUSER app +config|get +config|set"},
		{"no config, no canary channel", "KA", "~* resetchannels &__keyspace@0__:p:* +@all -config", Options{Prefixes: []string{"p:"}},
			MissingACL, "ACL SETUSER app +subscribe &__keyspace@0__:freshet:canary:*"},
		{"no config, some classes", "KA", "~* &* +@all -config -lpush -set", Options{}, "",
			"flags unproven: CONFIG refused, canary only (evictions and module events cannot be provoked)\n" +
				"flags unproven: class $ (NOPERM ...)\n" +
				"flags unproven: class l (NOPERM ...)\n" +
				"swapdb unproven: the marker freshet:marker of database 0 may not be written or read"},
		{"no info", "KA", "~* &* +@all -info", Options{}, "", "identity unproven: the server does not tell its run id"},
		{"no tracking", "KA", "~* &* +@all -client|tracking", Options{}, "",
			"flush unheard until the next audit: no RESP3 tracking: NOPERM ..."},
		{"no marker", "KA", "~other &* +@all", Options{}, "",
			"swapdb unproven: the marker freshet:marker of database 0 may not be written or read"},
		{"no audits", "KA", "~other &* +@all", Options{AuditEvery: -1}, "",
			"swapdb and switched-off notifications unproven: audits are off"},
		{"read only", "KA", "%R~* &* +@read +@connection +psubscribe", Options{Flags: FlagsTrust}, "",
			"flags unproven: FlagsTrust asks nothing\nidentity unproven: the server does not tell its run id\n" +
				"swapdb unproven: the marker freshet:marker of database 0 may not be written or read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := redistest.Start(t, "--notify-keyspace-events", c.flags)
			srv.AddUser(t, "app", append([]string{"on", ">secret"}, strings.Fields(c.rules)...)...)
			r := newRecorder()
			c.opts.Hooks = r.hooks()
			if c.opts.AuditEvery == 0 {
				c.opts.AuditEvery = quick
			}
			l, err := Listen(testContext(t), srv.Client(t, as("app")), c.opts)
			if c.fault != "" {
				wantFault(t, err, c.fault, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if c.opts.AuditEvery > 0 && !strings.Contains(c.rules, "-info") && c.name != "read only" {
				awaitAudits(t, srv, 2)
			}
			if got := noperm.ReplaceAllString(reasons(l), "NOPERM ..."); got != c.want {
				t.Errorf("unproven:\n%s\nwant:\n%s", got, c.want)
			}
			run(t, srv.Client(t), "SET p:k 1")
			fenced(t, l)
			same(t, r, "synced", "set p:k")
			log := srv.Client(t).Do(testContext(t), "ACL", "LOG").Val()
			if entries, _ := log.([]any); len(entries) > 6 {
				t.Errorf("refusals are repeated: %d entries in the ACL log", len(entries))
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	srv := redistest.Start(t)
	srv.AddUser(t, "app", "on", ">other", "~*", "&*", "+@all")
	_, err := Listen(testContext(t), srv.Client(t, as("app")), Options{StartDown: true})
	wantFault(t, err, MissingAuth, `redis.Options{Username: "app", Password: <the password of that user>}`)
	closed := redistest.Start(t, "--requirepass", "secret")
	_, err = Listen(testContext(t), redis.NewClient(&redis.Options{Addr: closed.Addr()}), Options{})
	wantFault(t, err, MissingAuth, `redis.Options{Username: "default", Password: <the password of that user>}`)
}

// TestPermissionLostLater keeps the listener down, with the reason in Status, until it is mended.
func TestPermissionLostLater(t *testing.T) {
	srv := redistest.Start(t)
	srv.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all")
	l, r := recorded(t, srv.Client(t, as("app")), Options{AuditEvery: never})
	srv.AddUser(t, "app", "resetchannels")
	r.awaitEvent(t, "gap connection", 1)
	eventually(t, "the reason", func() bool {
		return strings.Contains(reasons(l), "mend it with: ACL SETUSER app +psubscribe &__keyspace@0__:*")
	})
	srv.AddUser(t, "app", "&*")
	r.awaitEvent(t, "synced", 2)
}

// TestSubscribeRefused: the caller is told; what was subscribed before goes on without a gap.
func TestSubscribeRefused(t *testing.T) {
	srv := redistest.Start(t)
	srv.AddUser(t, "app", "on", ">secret", "~*", "resetchannels", "&__keyspace@0__:a*", "+@all")
	l, r := recorded(t, srv.Client(t, as("app")), Options{Prefixes: []string{"a"}})
	err := l.Subscribe(testContext(t), "b")
	wantFault(t, err, MissingACL, "ACL SETUSER app +psubscribe &__keyspace@0__:b*")
	run(t, srv.Client(t), "SET a 1", "SET b 1")
	fenced(t, l)
	same(t, r, "synced", "set a")
	srv.AddUser(t, "app", "&__keyspace@0__:b*")
	if err := l.Subscribe(testContext(t), "b"); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedClients(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	replicas := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})
	defer replicas.Close()
	slots := func(context.Context) ([]redis.ClusterSlot, error) { return nil, nil }
	madeUp := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ClusterSlots: slots})
	defer madeUp.Close()
	sentinels := &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}}
	failover := redis.NewFailoverClient(sentinels)
	defer failover.Close()
	replica := *sentinels
	replica.ReplicaOnly = true
	encrypted := *sentinels
	encrypted.TLSConfig = new(tls.Config)
	for _, c := range []struct {
		rdb      redis.UniversalClient
		sentinel *redis.FailoverOptions
		want     string
	}{
		{ring, nil, "*redis.Ring"},
		{replicas, nil, "ClusterOptions.ReadOnly"},
		{madeUp, nil, "ClusterOptions.ClusterSlots"},
		{failover, nil, "as Options.Sentinel"},
		{failover, &replica, "leave ReplicaOnly"},
	} {
		_, err := Listen(context.Background(), c.rdb, Options{StartDown: true, Sentinel: c.sentinel})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	one := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer one.Close()
	for _, c := range []struct {
		rdb  redis.UniversalClient
		opts Options
		want string
	}{
		{one, Options{Sentinel: sentinels}, "Options.Sentinel is set"},
		{failover, Options{Sentinel: &redis.FailoverOptions{MasterName: "m"}}, "SentinelAddrs and MasterName are needed"},
		{failover, Options{Sentinel: &encrypted}, "Options.Sentinel.TLSConfig"},
		{redis.NewClusterClient(&redis.ClusterOptions{}), Options{DBs: []int{1}}, "Options.DBs is [1]"},
	} {
		if _, err := Listen(context.Background(), c.rdb, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	for _, rdb := range []redis.UniversalClient{nil, (*redis.Client)(nil)} {
		if _, err := Listen(context.Background(), rdb, Options{}); err == nil || !strings.Contains(err.Error(), "client is nil") {
			t.Errorf("%v: %v", rdb, err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	if _, err := Listen(ended, rdb, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended ctx: %v", err)
	}
}

// TestUsersOptions: RESP2 asked for is RESP3 got; OnConnect runs; the client may be closed.
func TestUsersOptions(t *testing.T) {
	srv := redistest.Start(t)
	var met []string
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr(), Protocol: 2, ClientName: "mine", OnConnect: func(ctx context.Context, cn *redis.Conn) error {
		met = append(met, cn.ClientGetName(ctx).Val())
		return nil
	}})
	l, r := recorded(t, rdb, Options{AuditEvery: never})
	rdb.Close()
	if !slices.Equal(met, []string{"mine", "mine"}) {
		t.Errorf("OnConnect met %q, want the stream's connection and the audits'", met)
	}
	run(t, srv.Client(t), "FLUSHALL")
	fenced(t, l)
	same(t, r, "synced", "flush")
}
