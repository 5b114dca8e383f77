package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
)

// quickstart runs the program to its end.
func quickstart(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestEmbedded(t *testing.T) {
	leak.Check(t)
	status, stdout, stderr := quickstart(t.Context())
	if status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{
		"embedded Redis", "cold miss", "warm hit", "SET ", "DEL ", "expiry (PX)", "round trip", "old reads after it",
		"loads                           1", "hit ratio", "staleness",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("nothing says %q in:\n%s", want, stdout)
		}
	}
}

// What a program reads must not change its name.
func TestJSON(t *testing.T) {
	leak.Check(t)
	status, stdout, stderr := quickstart(t.Context(), "-json")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	var doc map[string]any
	in := json.NewDecoder(strings.NewReader(stdout))
	if err := in.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if err := in.Decode(new(any)); err != io.EOF {
		t.Errorf("more than one document: %v", err)
	}
	eviction := "at_once max_ns median_ns rounds"
	for path, want := range map[string]string{
		"":                 "broken evictions fence held herd read server sum",
		"server":           "addr embedded key_prefix switched_on version",
		"read":             "cold_miss_ns warm_hit_ns warm_hits",
		"evictions":        "del expiry set",
		"evictions/set":    eviction,
		"evictions/del":    eviction,
		"evictions/expiry": eviction,
		"fence":            "old_reads rtt",
		"fence/rtt":        "max_ns median_ns rounds",
		"herd":             "gets joined load_ns loads took_ns",
		"sum":              "hit_ratio hits loads max_staleness_ns max_staleness_seen_ns misses staleness_ns",
	} {
		at := doc
		for name := range strings.SplitSeq(path, "/") {
			if name != "" {
				at, _ = at[name].(map[string]any)
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(at)), " "); got != want {
			t.Errorf("%q holds %q, want %q", path, got, want)
		}
	}

	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	switch {
	case !r.Held || r.Broken == nil || len(r.Broken) != 0:
		t.Errorf("held %v, broken %q", r.Held, r.Broken)
	case !r.Server.Embedded || r.Server.Version == "":
		t.Errorf("server %+v", r.Server)
	case r.Read.ColdMiss <= 0 || r.Read.WarmHit <= 0 || r.Read.WarmHits == 0:
		t.Errorf("read %+v", r.Read)
	case r.Evictions.Set.Rounds != evictions || r.Evictions.Del.Rounds != evictions || r.Evictions.Expiry.Rounds != expiries:
		t.Errorf("evictions %+v", r.Evictions)
	case r.Fence.RTT.Rounds != fences || r.Fence.RTT.Median <= 0 || r.Fence.OldReads != 0:
		t.Errorf("fence %+v", r.Fence)
	case r.Herd.Gets != gets || r.Herd.Loads != 1 || r.Herd.Took <= 0:
		t.Errorf("herd %+v", r.Herd)
	case r.Sum.HitRatio <= 0 || r.Sum.HitRatio > 1 || r.Sum.Loads == 0 || r.Sum.MaxStaleness != maxStaleness:
		t.Errorf("sum %+v", r.Sum)
	}
}

func TestRealServer(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	if err := rdb.Set(t.Context(), "product:42", "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := quickstart(t.Context(), "-redis", srv.Addr(), "-json")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Server.Embedded || r.Server.Addr != srv.Addr() || !slices.Equal(r.Server.SwitchedOn, []string{"", "AK"}) {
		t.Errorf("server %+v", r.Server)
	}
	onlyKey(t, rdb, "product:42")

	_, stdout, _ = quickstart(t.Context(), "-redis", "redis://"+srv.Addr()+"/3")
	if strings.Contains(stdout, "embedded") || strings.Contains(stdout, "now on") || !strings.Contains(stdout, srv.Addr()) {
		t.Errorf("stdout begins %q", strings.SplitN(stdout, "\n", 2)[0])
	}
	onlyKey(t, rdb, "product:42")
}

// onlyKey fails t unless key is all there is in all databases. Each of the two keys in tearDown was left out to see it.
func onlyKey(t *testing.T, rdb *redis.Client, key string) {
	t.Helper()
	info, err := rdb.Info(t.Context(), "keyspace").Result()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(info, "keys=") != 1 || !strings.Contains(info, "db0:keys=1,") || rdb.Exists(t.Context(), key).Val() != 1 {
		t.Errorf("left behind: %q", info)
	}
}

// stopper ends ctx at the first sight of a text.
type stopper struct {
	sight string
	stop  context.CancelFunc
}

func (s stopper) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(s.sight)) {
		s.stop()
	}
	return len(b), nil
}

func TestInterrupted(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	if err := rdb.Set(t.Context(), "mine", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, sight := range []string{"A near cache", "DEL", "all answered"} {
		ctx, cancel := context.WithCancel(t.Context())
		var stderr bytes.Buffer
		status := run(ctx, []string{"-redis", srv.Addr()}, stopper{sight, cancel}, &stderr)
		cancel()
		if status != 1 || stderr.String() != "quickstart: interrupted\n" {
			t.Errorf("interrupted at %q: status %d, stderr %q", sight, status, &stderr)
		}
		onlyKey(t, rdb, "mine")
	}
}

// With events that do not reach the ledger the program must find out: it is a check, not a show. (The guard is taken
// out by the switch that the module's tests have for that.)
func TestFindsOldReads(t *testing.T) {
	leak.Check(t)
	broken := guard.Without(t.Context(), guard.Slots)
	status, _, stderr := quickstart(broken)
	if status != 1 || !strings.Contains(stderr, "after SET: reads are still old") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}

	d := &demo{keys: "test:"}
	defer d.tearDown(io.Discard)
	if err := d.setUp(broken, &redis.Options{Addr: notifytest.Start(t).Addr}); err != nil {
		t.Fatal(err)
	}
	if err := d.fence(t.Context(), page{io.Discard}); err != nil {
		t.Fatal(err)
	}
	d.report.Herd.Loads = 2
	d.report.Sum.MaxStalenessSeen = time.Second
	d.report.judge()
	if d.report.Fence.OldReads == 0 || d.report.Held || len(d.report.Broken) != 3 {
		t.Errorf("%d old reads after fences; broken %q", d.report.Fence.OldReads, d.report.Broken)
	}
}

func TestCannotBeUsed(t *testing.T) {
	leak.Check(t)
	srv := redistest.Start(t)
	srv.AddUser(t, "reader", "on", ">secret", "~*", "&*", "+@all", "-config")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for _, c := range []struct {
		what   string
		args   []string
		status int
		say    []string
	}{
		{"off, and not to be switched on", []string{"-redis", "redis://reader:secret@" + srv.Addr()}, 1,
			[]string{"notifications are off", "may not switch them on", "\n    notify-keyspace-events KA\n"}},
		{"wrong password", []string{"-redis", "redis://reader:wrong@" + srv.Addr()}, 1,
			[]string{"takes no such user name and password", "redis://user:password@" + srv.Addr()}},
		{"no such database", []string{"-redis", "redis://" + srv.Addr() + "/99"}, 1, []string{"no such database"}},
		{"nobody there", []string{"-redis", nobody.Addr().String()}, 1, []string{"cannot be reached", "-redis host:port"}},
		{"no port", []string{"-redis", "localhost"}, 2, []string{`"localhost"`, "give host:port"}},
		{"no URL", []string{"-redis", "http://u:secret@localhost"}, 2, []string{"redis://user:password@host:port/db"}},
		{"no flag", []string{"localhost:6379"}, 2, []string{"localhost:6379", "-redis"}},
		{"unknown flag", []string{"-yaml"}, 2, []string{"-yaml", "-json"}},
		{"help", []string{"-h"}, 0, []string{"-redis", "-json"}},
	} {
		status, stdout, stderr := quickstart(t.Context(), c.args...)
		if status != c.status || stdout != "" || strings.Contains(stderr, "secret") {
			t.Errorf("%s: status %d, stdout %q, stderr %q", c.what, status, stdout, stderr)
		}
		for _, say := range c.say {
			if !strings.Contains(stderr, say) {
				t.Errorf("%s: nothing says %q in %q", c.what, say, stderr)
			}
		}
	}
	if info := srv.Client(t).Info(t.Context(), "keyspace").Val(); strings.Contains(info, "keys=") {
		t.Errorf("left behind: %q", info)
	}
}
