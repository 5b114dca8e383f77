package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// patience ends a test that hangs; it measures nothing.
const patience = 30 * time.Second

// screen is an output that can be waited for.
type screen struct {
	over    <-chan struct{} // closed when nothing more will come; may be nil
	mu      sync.Mutex
	text    []byte
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, b...)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// await waits until the nth line that contains text is complete.
func (s *screen) await(t *testing.T, text string, nth int) {
	t.Helper()
	limit := time.After(patience)
	for {
		s.mu.Lock()
		changed, seen := s.changed, 0
		for line := range strings.Lines(string(s.text)) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				seen++
			}
		}
		s.mu.Unlock()
		if seen >= nth {
			return
		}
		select {
		case <-changed:
		case <-s.over:
			t.Fatalf("it ended without %q, %d times, in:\n%s", text, nth, s)
		case <-limit:
			t.Fatalf("not within %v: %q, %d times, in:\n%s", patience, text, nth, s)
		}
	}
}

// watching is the program, running.
type watching struct {
	out, errs *screen
	stop      context.CancelFunc
	status    chan int
}

// start runs the program and returns when it says that it is synced.
func start(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watching{newScreen(), newScreen(), stop, make(chan int, 1)}
	ended := make(chan struct{})
	w.out.over = ended
	go func() {
		defer close(ended)
		w.status <- run(ctx, args, w.out, w.errs)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Logf("watch %q wrote\n%s\nand on stderr\n%s", args, w.out, w.errs)
		}
	})
	w.out.await(t, "synced", 1)
	return w
}

// over reports whether the program has ended.
func (w *watching) over() bool {
	select {
	case <-w.out.over:
		return true
	default:
		return false
	}
}

// end waits for the end of the program and returns what it wrote, times cut out.
func (w *watching) end(t *testing.T) string {
	t.Helper()
	select {
	case status := <-w.status:
		if status != 0 {
			t.Errorf("status %d; stderr: %s", status, w.errs)
		}
	case <-time.After(patience):
		t.Fatalf("it does not end; so far:\n%s", w.out)
	}
	return times.ReplaceAllString(w.out.String(), "T")
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|\d\d:\d\d:\d\d\.\d{3}`)

func do(t *testing.T, rdb *redis.Client, args ...any) {
	t.Helper()
	if err := rdb.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

// odd holds all that can go wrong in a key: no UTF-8, a terminal's escape, a quote, a comma, ends of lines.
const odd = "product:\xff\x1b[2J\"a\",\r\n<b>"

func TestFormats(t *testing.T) {
	odd64 := base64.StdEncoding.EncodeToString([]byte(odd))
	leak.Check(t)
	srv := notifytest.Start(t)
	rdb := srv.Client(t)
	for _, c := range []struct{ format, want string }{
		{"text", "T  ----  synced: what follows is complete\n" +
			"T  db0   set         product:1\n" +
			"T  db0   hset        \"product:\\xff\\x1b[2J\\\"a\\\",\\r\\n<b>\"\n" +
			"T  ----  flush: every key may have changed\n" +
			"T  db0   set         product:é\n"},
		{"csv", "time,kind,db,event,key,reason,dropped\n" +
			"T,synced,,,,,\n" +
			"T,change,0,set,product:1,,\n" +
			"T,change,0,hset,\"product:\xff\x1b[2J\"\"a\"\",\r\n<b>\",,\n" +
			"T,flush,,,,,\n" +
			"T,change,0,set,product:é,,\n"},
		{"json", `{"time":"T","kind":"synced"}` + "\n" +
			`{"time":"T","kind":"change","db":0,"event":"set","key":"product:1"}` + "\n" +
			`{"time":"T","kind":"change","db":0,"event":"hset","key_base64":"` + odd64 + `"}` + "\n" +
			`{"time":"T","kind":"flush"}` + "\n" +
			`{"time":"T","kind":"change","db":0,"event":"set","key":"product:é"}` + "\n"},
	} {
		w := start(t, "-redis", srv.Addr, "-pattern", "product:*", "-format", c.format, "-count", "3")
		do(t, rdb, "SET", "order:1", "1")
		do(t, rdb, "SET", "product:1", "1")
		do(t, rdb, "HSET", odd, "f", "1")
		do(t, rdb, "FLUSHALL")
		do(t, rdb, "SET", "product:é", "1")
		same(t, c.format, w.end(t), c.want)
	}
}

// What csv and json write, a reader of theirs gives back. (Go's own of csv takes \r from before \n, so there is none here.)
func TestFormatsRoundTrip(t *testing.T) {
	for _, key := range []string{"", " a", `"`, "a,b\n\n", "\x00\xff\"\",", `\.`, "é", "\u2028<>&", strings.Repeat("\xc3", 5)} {
		ev := notify.Event{Name: key, Key: key, DB: 15, At: time.Unix(1, 2000)}
		var out bytes.Buffer
		if err := formats["csv"](&out)(ev); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&out).ReadAll()
		want := []string{"1970-01-01T00:00:01.000002Z", "change", "15", key, key, "", ""}
		if err != nil || len(rows) != 2 || !slices.Equal(rows[1], want) {
			t.Errorf("csv of %q comes back as %q, %v", key, rows, err)
		}
		out.Reset()
		if err := formats["json"](&out)(ev); err != nil {
			t.Fatal(err)
		}
		var back object
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || *back.DB != 15 ||
			textOf(back.Key, back.KeyBase64) != key || textOf(back.Event, back.EventBase64) != key {
			t.Errorf("json of %q comes back as %+v, %v", key, back, err)
		}
	}
}

func textOf(s *string, b []byte) string {
	if s != nil {
		return *s
	}
	return string(b)
}

func TestDatabases(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	one := srv.Client(t, func(o *redis.Options) { o.DB = 1 })
	zero := srv.Client(t)
	for _, c := range []struct{ db, want string }{
		{"1", "T,synced,,,,,\nT,change,1,set,a,,\nT,change,1,del,a,,\n"},
		{"-1", "T,synced,,,,,\nT,change,0,set,a,,\nT,change,1,set,a,,\n"},
	} {
		w := start(t, "-redis", srv.Addr(), "-db", c.db, "-format", "csv", "-count", "2")
		do(t, zero, "SET", "a", "1")
		do(t, one, "SET", "a", "1")
		do(t, one, "DEL", "a")
		same(t, "-db "+c.db, w.end(t), "time,kind,db,event,key,reason,dropped\n"+c.want)
		do(t, zero, "DEL", "a")
		nothingLeft(t, zero)
	}
}

// nothingLeft waits until there is no key in any database: what expires is gone a little later. (Tried without
// removeMarkers, and with one that knows database 0 alone.)
func nothingLeft(t *testing.T, rdb *redis.Client) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		info, err := rdb.Info(t.Context(), "keyspace").Result()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(info, "keys=") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %s", info)
		}
	}
}

func TestEventsByName(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	w := start(t, "-redis", srv.Addr(), "-pattern", "product:[12]", "-events", "expired, del", "-format", "csv", "-count", "2")
	do(t, rdb, "SET", "product:1", "1", "PX", "1")
	w.out.await(t, "expired,product:1", 1)
	do(t, rdb, "SET", "product:2", "1")
	do(t, rdb, "SET", "product:3", "1")
	do(t, rdb, "DEL", "product:3", "product:2")
	same(t, "events", w.end(t), "time,kind,db,event,key,reason,dropped\nT,synced,,,,,\n"+
		"T,change,0,expired,product:1,,\nT,change,0,del,product:2,,\n")
	nothingLeft(t, rdb)
}

func TestGap(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	w := start(t, "-redis", srv.Addr(), "-format", "json")
	do(t, rdb, "SET", "a", "1")
	w.out.await(t, `"key":"a"`, 1)
	do(t, rdb, "CLIENT", "KILL", "TYPE", "pubsub")
	w.out.await(t, `"synced"`, 2)
	do(t, rdb, "SET", "b", "1")
	w.out.await(t, `"key":"b"`, 1)
	do(t, rdb, "DEL", "a", "b")
	w.out.await(t, `"del"`, 2)
	w.stop() // as Ctrl-C does
	same(t, "stdout", w.end(t), `{"time":"T","kind":"synced"}
{"time":"T","kind":"change","db":0,"event":"set","key":"a"}
{"time":"T","kind":"gap","reason":"connection"}
{"time":"T","kind":"synced"}
{"time":"T","kind":"change","db":0,"event":"set","key":"b"}
{"time":"T","kind":"change","db":0,"event":"del","key":"a"}
{"time":"T","kind":"change","db":0,"event":"del","key":"b"}
`)
	errs := w.errs.String()
	for _, want := range []string{`switched notifications on: notify-keyspace-events was "", now "AK"`, "lost " + srv.Addr()} {
		if !strings.Contains(errs, want) {
			t.Errorf("nothing says %q in %q", want, errs)
		}
	}
	nothingLeft(t, rdb)
}

// A reader that is too slow costs events, and it is said how many.
func TestOverflow(t *testing.T) {
	for format, want := range map[string]string{
		"text": "T  ----  gap: 3 events dropped, they were read too slowly; complete again from here\n",
		"csv":  "time,kind,db,event,key,reason,dropped\nT,gap,,,,overflow,3\n",
		"json": `{"time":"T","kind":"gap","reason":"overflow","dropped":3}` + "\n",
	} {
		var out bytes.Buffer
		if err := formats[format](&out)(notify.Event{Kind: notify.Gap, Reason: notify.GapOverflow, Dropped: 3}); err != nil {
			t.Fatal(err)
		}
		same(t, format, times.ReplaceAllString(out.String(), "T"), want)
	}
}

// Of a pattern with a literal beginning Redis sends that alone: a user who may subscribe to nothing else can watch it. (Tried
// without options.prefixes: the server refuses.)
func TestSubscribesToThePrefixAlone(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	srv.AddUser(t, "app", "on", ">secret", "~*", "+@all", "resetchannels", `&__keyspace@0__:prod\[:*`)
	t.Setenv("REDISCLI_AUTH", "secret")
	w := start(t, "-redis", srv.Addr(), "-user", "app", "-pattern", `prod\[:?`, "-count", "1")
	do(t, srv.Client(t), "MSET", "prod[:22", "1", "prod[:2", "1")
	if out := w.end(t); !strings.Contains(out, "set         prod[:2\n") || strings.Contains(out, "22") {
		t.Errorf("stdout: %s", out)
	}
	if status := run(t.Context(), []string{"-redis", srv.Addr(), "-user", "app"}, newScreen(), w.errs); status != 1 ||
		!strings.Contains(w.errs.String(), "\n    ACL SETUSER app") {
		t.Errorf("with every key: status %d, stderr %s", status, w.errs)
	}
}

func TestLiteralPrefix(t *testing.T) {
	for glob, want := range map[string]string{
		"*": "", "product:*": "product:", "a?b": "a", "a[bc]": "a", `a\*b*`: "a*b", `a\\*`: `a\`, "whole": "whole",
		`a\`: `a\`, "": "", `\[x\]?`: "[x]", "\xff*": "\xff",
	} {
		if got := literalPrefix(glob); got != want {
			t.Errorf("of %q: %q, want %q", glob, got, want)
		}
	}
}

// With -trust nothing is asked, changed or written, so a user that may only listen will do.
func TestTrust(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t, "--notify-keyspace-events", "KA")
	srv.AddUser(t, "ears", "on", ">secret", "resetkeys", "allchannels", "-@all",
		"+psubscribe", "+subscribe", "+ping", "+hello", "+info", "+role", "+client")
	rdb := srv.Client(t)
	w := start(t, "-redis", srv.Addr(), "-user", "ears", "-password", "secret", "-trust", "-count", "1")
	do(t, rdb, "SET", "a", "1")
	if out := w.end(t); !strings.Contains(out, "set         a\n") {
		t.Errorf("stdout: %s", out)
	}
	if errs := w.errs.String(); !strings.Contains(errs, "unproven") {
		t.Errorf("nothing says what is not proven: %q", errs)
	}
	do(t, rdb, "DEL", "a")
	nothingLeft(t, rdb)
}

func TestReaderGone(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	status := run(t.Context(), []string{"-redis", srv.Addr()}, gone{}, newScreen())
	if status != 0 {
		t.Errorf("status %d", status)
	}
	nothingLeft(t, srv.Client(t))
}

// gone is a pipe that nobody reads any more.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, &net.OpError{Op: "write", Err: syscall.EPIPE} }

func TestCannotBeUsed(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	srv.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all", "-config|set")
	srv.AddUser(t, "blind", "on", ">secret", "~*", "&*", "+@all", "-config")
	srv.AddUser(t, "mute", "on", ">secret", "~product:*", "&*", "+@all", "-config")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	off := []string{"notifications are off", "may not switch them on", "\n    notify-keyspace-events KA\n"}
	for _, c := range []struct {
		what   string
		args   []string
		status int
		say    []string
	}{
		{"off, seen by CONFIG GET", []string{"-user", "app", "-password", "secret"}, 1, off},
		{"off, seen by canary", []string{"-user", "blind", "-password", "secret"}, 1, off},
		{"no telling", []string{"-user", "mute", "-password", "secret"}, 1,
			[]string{"\n    ACL SETUSER mute +config|get +config|set\n"}},
		{"wrong password", []string{"-user", "app", "-password", "wrong"}, 1, []string{"takes no such user name and password"}},
		{"no such database", []string{"-db", "99"}, 1, []string{"no such database"}},
		{"nobody there", []string{"-redis", nobody.Addr().String()}, 1, []string{"cannot be reached", "-redis host:port"}},
		{"no such class", []string{"-pattern", "a[b"}, 2, []string{`"a[b"`, "close the class"}},
		{"not an event", []string{"-events", "set,keymiss"}, 2, []string{"keymiss", "leave it out"}},
		{"no port", []string{"-redis", "localhost"}, 2, []string{"-redis", `"localhost"`, "give host:port"}},
		{"expanded by the shell", []string{"-pattern", "a.go", "b.go"}, 2, []string{`"b.go"`, "quote the pattern"}},
		{"no pattern", []string{"-pattern", ""}, 2, []string{"-pattern", "'*'"}},
		{"no format", []string{"-format", "xml"}, 2, []string{"-format", `"xml"`, "csv, json, text"}},
		{"count", []string{"-count", "-1"}, 2, []string{"-count is -1", "0 for no end"}},
		{"db", []string{"-db", "-2"}, 2, []string{"-db is -2", "-1 is all"}},
		{"event", []string{"-events", "set,,del"}, 2, []string{"-events", "empty name"}},
		{"unknown flag", []string{"-yaml"}, 2, []string{"-yaml", "-h"}},
		{"not a number", []string{"-count", "many"}, 2, []string{"-count", `"many"`}},
		{"help", []string{"-h"}, 0, []string{"-redis", "-pattern", "key_base64"}},
	} {
		stdout, stderr := newScreen(), newScreen()
		status := run(t.Context(), append([]string{"-redis", srv.Addr()}, c.args...), stdout, stderr)
		errs := stderr.String()
		if status != c.status || stdout.String() != "" || strings.Contains(errs, "secret") {
			t.Errorf("%s: status %d, stdout %q, stderr %q", c.what, status, stdout, errs)
		}
		for _, say := range c.say {
			if !strings.Contains(errs, say) {
				t.Errorf("%s: nothing says %q in %q", c.what, say, errs)
			}
		}
	}
	nothingLeft(t, srv.Client(t))
}
