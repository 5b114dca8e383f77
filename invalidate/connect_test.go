package invalidate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

func TestConnectRefusesClients(t *testing.T) {
	leak.Check(t)
	for _, rdb := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil)} {
		if _, err := Connect(t.Context(), rdb, Options{}); err == nil || !strings.Contains(err.Error(), "client is nil") {
			t.Errorf("%#v: %v", rdb, err)
		}
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	both := redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	for _, rdb := range []redis.UniversalClient{cluster, ring, failover, both} {
		_, err := Connect(t.Context(), rdb, Options{Notify: notify.Options{StartDown: true}})
		if !errors.Is(err, notify.ErrUnsupported) {
			t.Errorf("%T: %v", rdb, err)
		}
	}
	for _, c := range []interface{ Close() error }{cluster, ring, failover, both} {
		_ = c.Close()
	}
}

// Every field that cannot be used is named.
func TestConnectRefusesOptions(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	most := maxSlots // no constant: where an int has 32 bits, twice that is below 0
	for field, o := range map[string]Options{
		"Options.Slots is -1":                   {Slots: -1},
		"Options.Slots is 512":                  {Slots: 512},
		"Options.Slots is 1025":                 {Slots: 1025},
		fmt.Sprint("Options.Slots is ", 2*most): {Slots: 2 * most},
		"Options.Notify.DBs":                    {Notify: notify.Options{DBs: []int{1}}},
		"Options.DBs is empty":                  {Notify: notify.Options{DBs: []int{}}},
		"Options.Notify.Channels":               {Notify: notify.Options{Channels: notify.Keyevent}},
		"Options.Prefixes is empty":             {Notify: notify.Options{Prefixes: []string{}}},
		"Options.Prefixes holds an empty":       {Notify: notify.Options{Prefixes: []string{"a", ""}}},
		"Options.Flags is 9":                    {Notify: notify.Options{Flags: 9}},
		"Options.Heartbeat is -1ns":             {Notify: notify.Options{Heartbeat: -1}},
		"Options.PongTimeout is -1ns":           {Notify: notify.Options{PongTimeout: -1}},
		"Options.PongTimeout (1ms) is below":    {Notify: notify.Options{PongTimeout: time.Millisecond}},
		"Options.AuditEvery is 1ns":             {Notify: notify.Options{AuditEvery: 1}},
	} {
		if _, err := Connect(t.Context(), rdb, o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, ok := range []int{0, minSlots, 1 << 22} {
		if err := (&Options{Slots: ok}).Validate(); err != nil {
			t.Error(err)
		}
	}
}

// What the operator must mend fails at once, with StartDown too, and says how to mend it.
func TestConnectSetupErrors(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	s.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all")
	s.AddUser(t, "mute", "on", ">secret", "~*", "resetchannels", "+@all")
	old := stub(t, tooOld)
	bare := redistest.Start(t)
	for what, c := range map[string]struct {
		rdb     *redis.Client
		opts    notify.Options
		missing string
	}{
		"wrong password": {s.Client(t, as("app"), func(o *redis.Options) { o.Password = "wrong" }), notify.Options{}, notify.MissingAuth},
		"no permission":  {s.Client(t, as("mute")), notify.Options{}, notify.MissingACL},
		"flags":          {bare.Client(t), notify.Options{Flags: notify.FlagsVerify}, notify.MissingFlags},
		"too old":        {redis.NewClient(&redis.Options{Addr: old}), notify.Options{}, notify.MissingVersion},
		"no database":    {s.Client(t, inDB(99)), notify.Options{}, notify.MissingDatabase},
	} {
		for _, startDown := range []bool{false, true} {
			c.opts.StartDown = startDown
			_, err := Connect(soon(t), c.rdb, Options{Notify: c.opts})
			var fault *notify.SetupError
			if !errors.As(err, &fault) || fault.Missing != c.missing || fault.Fix == "" {
				t.Errorf("%s (StartDown %v): %v", what, startDown, err)
			}
		}
		_ = c.rdb.Close()
	}
}

// tooOld is a server from before RESP3.
func tooOld(args []string) string {
	const info = "# Server\r\nredis_version:5.0.14\r\nrun_id:abc\r\n"
	switch strings.ToUpper(args[0]) {
	case "INFO":
		return fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
	case "ROLE":
		return "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
	}
	return fmt.Sprintf("-ERR unknown command `%s`\r\n", args[0])
}

// stub is a server that gives answer's answers.
func stub(t *testing.T, answer func(args []string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					args, err := command(in)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer(args)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func command(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

// Redis is away when the service starts: without StartDown that fails, with it loads go through, fences wait, and it
// goes live by itself.
func TestStartDown(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t) // its port stays its own while it is down
	s.Kill()
	rdb := s.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	if _, err := Connect(soon(t), rdb, Options{}); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("without StartDown: %v", err)
	}
	var d diary
	tr := connect(t, rdb, Options{Hooks: d.hooks(), Notify: notify.Options{
		StartDown: true, Backoff: func(int) time.Duration { return 10 * time.Millisecond },
	}})
	if h := tr.Health(); tr.Synced() || h.Synced || h.Staleness != math.MaxInt64 || len(h.Reasons) == 0 {
		t.Errorf("Health while down: %+v", h)
	}
	if tr.Staleness() != math.MaxInt64 {
		t.Errorf("Staleness without any proof is %v", tr.Staleness())
	}
	for what, f := range map[string]func(context.Context) error{"Fence": tr.Fence, "WaitSynced": tr.WaitSynced} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := f(ctx); !errors.Is(err, ErrUnsynced) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s while down: %v", what, err)
		}
		cancel()
	}
	// A load is proof of its own meanwhile, for as long as its reader's bound.
	v := load(t, tr, t.Context(), Key("k"))
	if age, st := v.Check(long); st != Current || age > within {
		t.Errorf("just loaded: %v, %v", st, age)
	}
	if _, st := v.Check(0); st != Unproven {
		t.Errorf("with no bound to spare: %v", st)
	}
	if err := tr.Touch(soon(t), Key("k")); !errors.Is(err, ErrNotAnnounced) {
		t.Errorf("Touch while down: %v", err)
	}
	fenced := make(chan error, 1)
	go func() { fenced <- tr.Fence(soon(t)) }()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := tr.WaitSynced(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-fenced; err != nil {
		t.Errorf("a fence from before: %v", err)
	}
	fence(t, tr)
	if h := tr.Health(); !h.Synced || len(h.Reasons) != 0 || h.Staleness > within || h.Nodes[0].RunID == "" || h.Nodes[0].Addr != s.Addr() {
		t.Errorf("Health when live: %+v", h)
	}
	if v.Valid(long) {
		t.Error("what was loaded before the first subscription was confirmed is valid")
	}
	if got := d.read(); !slices.Contains(got, "all: synced") {
		t.Errorf("hooks %q", got)
	}
	v = load(t, tr, t.Context(), Key("k"))
	set(t, s.Client(t), "k", 1)
	fence(t, tr)
	if v.Valid(long) {
		t.Error("live, and an event goes unheard")
	}
}

func TestHealth(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	tr := connect(t, s.Client(t, func(o *redis.Options) { o.MaxRetries = -1 }), Options{})
	before := tr.Health()
	if !before.Synced || len(before.Reasons) != 0 || before.Nodes[0].Version == "" {
		t.Errorf("before: %+v", before)
	}
	s.Kill()
	eventually(t, "the loss is noticed", func() bool { return !tr.Synced() })
	if h := tr.Health(); h.Synced || len(h.Reasons) == 0 || h.Nodes[0].RunID != before.Nodes[0].RunID {
		t.Errorf("during: %+v", h)
	}
	lost := tr.Staleness()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := tr.WaitSynced(soon(t)); err != nil {
		t.Fatal(err)
	}
	fence(t, tr)
	if h := tr.Health(); !h.Synced || len(h.Reasons) != 0 || h.Nodes[0].RunID == before.Nodes[0].RunID {
		t.Errorf("after: %+v (staleness while lost %v)", h, lost)
	}
	if st := tr.Stats(); st.Gaps != 1 || st.GapsByReason[notify.GapConnection] != 1 || st.Epochs != 2 || st.FenceRTT <= 0 {
		t.Errorf("Stats: %+v", st)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if h := tr.Health(); h.Synced || !slices.Equal(h.Reasons, []string{"closed"}) {
		t.Errorf("closed: %+v", h)
	}
}

// Close is safe twice, from several goroutines, with fences and covers under way; afterwards every method says so and
// what was cached is dead.
func TestClose(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb, p := through(t, s)
	tr := connect(t, rdb, Options{FollowCaches: true, Notify: patient})
	v := load(t, tr, t.Context(), Tag("t"))
	running, _ := tr.Record(t.Context())
	subscription(p).Hold(faultproxy.ToServer) // nothing is answered any more
	subscription(p).Hold(faultproxy.ToClient)
	waits := map[string]chan error{}
	for what, f := range map[string]func() error{
		"Fence": func() error { return tr.Fence(t.Context()) },
		"Cover": func() error { return tr.Cover(t.Context(), "a:") },
	} {
		done := make(chan error, 1)
		waits[what] = done
		go func() { done <- f() }()
	}
	time.Sleep(10 * time.Millisecond) // so that they do wait; they may as well come after Close
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for what, done := range waits {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("%s during Close: %v", what, err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	for what, err := range map[string]error{
		"Fence":      tr.Fence(t.Context()),
		"WaitSynced": tr.WaitSynced(t.Context()),
		"Touch":      tr.Touch(t.Context(), Key("k")),
		"Cover":      tr.Cover(t.Context(), "b:"),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if tr.Synced() || v.Valid(long) {
		t.Error("alive after Close")
	}
	if _, ok := running.Seal(); ok {
		t.Error("a load that was running at Close may be stored")
	}
	after, _ := tr.Record(t.Context())
	if _, ok := after.Seal(); ok {
		t.Error("a load that began after Close may be stored")
	}
	tr.Forget(Key("k"))
	_ = tr.Stats()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
}

// Close beside Cover: nothing is left behind and nothing races.
// Seen to race now and then without the lock around closed and wg.Go in Cover and Close; always, with a pause between
// the two in Cover.
func TestCloseBesideCover(t *testing.T) {
	leak.Check(t)
	rdb := redistest.Start(t).Client(t)
	for range 60 {
		tr := connect(t, rdb, Options{FollowCaches: true})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := tr.Cover(t.Context(), "a:"); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { _ = tr.Close() })
		wg.Wait()
	}
}
