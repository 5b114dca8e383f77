package staleness

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/redis/go-redis/v9"
)

func measured(ctx context.Context, args ...string) (report.Result, error) {
	var stdout, stderr bytes.Buffer
	out := report.New("staleness", args, &stdout, &stderr)
	err := Command().Run(ctx, args, out)
	return out.Result(), err
}

// A subscriber that takes a lost connection for silence serves old values for
// ever; Freshet breaks no promise, and without a cache nothing is old.
func TestKill(t *testing.T) {
	leak.Check(t, "github.com/redis/rueidis")
	r, err := measured(t.Context(), "-faults", "kill", "-rounds", "1", "-duration", "2s", "-rate", "1000", "-keys", "512")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != 1 || len(r.Tables[0].Rows) != len(kinds()) || len(r.Charts) != 1 {
		t.Fatalf("not a row for each side: %+v", r)
	}
	table := r.Tables[0]
	at := func(side, column string) any {
		i := slices.IndexFunc(table.Rows, func(row []any) bool { return row[0] == side })
		return table.Rows[i][slices.Index(table.Columns, column)]
	}
	for _, k := range kinds() {
		if n := at(k.name, "reads").(int); n < 100 {
			t.Errorf("%s: %d reads prove little", k.name, n)
		}
	}
	for _, side := range []string{plain, fenced, withoutCache} {
		if n := at(side, "promise broken"); n != 0 {
			t.Errorf("%s: %d promises broken", side, n)
		}
		if n := at(side, "stale for ever").(report.Spread).Max; n != 0 {
			t.Errorf("%s: %v keys stale for ever", side, n)
		}
	}
	for _, side := range []string{fenced, withoutCache} {
		if at(side, "stale %").(report.Spread).Max != 0 {
			t.Errorf("%s: stale reads: %v", side, at(side, "stale %"))
		}
	}
	if at("naive", "stale for ever").(report.Spread).Max == 0 || at("naive", "promise broken") != "none made" {
		t.Errorf("the naive subscriber got away: %v", table.Rows)
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "Stale for ever after kill") {
		t.Errorf("nobody says so: %q", r.Notes)
	}
}

// Each fault is done, and Freshet keeps its promises in it.
func TestFaults(t *testing.T) {
	leak.Check(t)
	r, err := measured(t.Context(), "-faults", "calm,blackhole,flushall,restart", "-rounds", "1", "-duration", "1s", "-keys", "32", "-sides", "freshet,freshet fenced")
	if err != nil || len(r.Tables) != 4 {
		t.Fatal(err, r.Tables)
	}
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			if row[len(row)-1] != 0 {
				t.Errorf("%s: %v", table.Title, row)
			}
		}
	}
}

func TestInterrupted(t *testing.T) {
	leak.Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	r, err := measured(ctx, "-faults", "calm", "-sides", "no cache", "-duration", "1s", "-rounds", "1000")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if len(r.Tables) != 1 || len(r.Tables[0].Rows) != 1 {
		t.Errorf("what was done is not shown: %+v", r.Tables)
	}
}

// A hand-made history: what is stale, what stays so, and what breaks a promise.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	read := func(side string, version uint64, at time.Duration) history.Read {
		return history.Read{Instance: side, Key: "k0", Version: version, Start: at, End: at + ms, Hit: true}
	}
	h := &history.History{
		Writes: []history.Write{
			{Key: "k0", Version: 1, Outcome: history.Applied, Start: 0, End: ms},
			{Key: "k0", Version: 2, Outcome: history.Applied, Start: 10 * ms, End: 20 * ms},
		},
		Reads: []history.Read{
			read("loose", 1, 5*ms), read("loose", 1, 15*ms), read("loose", 1, 50*ms), read("loose", 1, 2000*ms),
			read("sharp", 2, 30*ms), read("sharp", 1, 21*ms), read("sharp", 2, 2000*ms),
			read("bound", 1, 500*ms),
		},
	}
	for i := range h.Reads {
		if h.Reads[i].Instance == "bound" {
			h.Reads[i].Bound = 100 * ms
		}
	}
	all := []*cast{{kind: kind{name: "loose"}}, {kind: kind{name: "sharp", fenced: true}}, {kind: kind{name: "bound", bound: 100 * ms}}}
	all[0].failed.Store(1)
	got, err := judge(h, all, 1, 1000*ms)
	if err != nil {
		t.Fatal(err)
	}
	loose, sharp, bound := got[0], got[1], got[2]
	if len(loose.staleness) != 3 || loose.quantile(1) != 30*ms || loose.quantile(0.5) != 0 || loose.forever != 1 || loose.unread != 0 || loose.broken != 0 || loose.failed != 1 || loose.hits != 3 {
		t.Errorf("loose: %+v", loose)
	}
	if sharp.broken != 1 || sharp.story == "" || sharp.forever != 0 || sharp.quantile(1) != ms {
		t.Errorf("sharp: %+v", sharp)
	}
	if bound.broken != 1 || bound.unread != 1 || bound.share(479*ms) != 100 || bound.share(480*ms) != 0 {
		t.Errorf("bound: %+v", bound)
	}
	err = broken([]result{{fault{name: "test"}, []sideResult{{kind{name: "sharp"}, []*tally{sharp}}}}})
	if err == nil || !strings.Contains(err.Error(), "sharp under test: 1 reads") {
		t.Errorf("a broken promise is no error: %v", err)
	}
}

func TestFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`-faults: no "flood": there are calm, kill, blackhole, flushall, restart`: {"-faults", "calm,flood"},
		`-sides: no "memcached"`:      {"-sides", "memcached"},
		"-duration: 10ms":             {"-duration", "10ms"},
		"-rounds: -1":                 {"-rounds", "-1"},
		"-writers: 0":                 {"-writers", "0"},
		"-readers: 99":                {"-readers", "99"},
		"-rate: NaN":                  {"-rate", "NaN"},
		"-keys: 1: want one for each": {"-keys", "1"},
		"belongs to no flag":          {"calm"},
	} {
		if _, err := measured(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv("FRESHET_REDIS_SERVER", "/nowhere/redis-server")
	if _, err := measured(t.Context(), "-quick"); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("%v does not say how to get a server", err)
	}
}

// A side that cannot be opened is an error that names it, and leaves nothing behind.
func TestOpenFails(t *testing.T) {
	leak.Check(t, "github.com/redis/rueidis")
	bad := kind{name: "bad", open: func(context.Context, string) (*side, error) { return nil, redis.ErrClosed }}
	o := options{kinds: append(kinds(), bad), duration: time.Second, rounds: 1, writers: 1, readers: 1, rate: 10, keys: 4}
	if _, err := o.course(t.Context(), faults()[0], 1); !errors.Is(err, redis.ErrClosed) || !strings.Contains(err.Error(), "bad") {
		t.Error(err)
	}
}

// Who promises what a subscription cannot keep is convicted: the naive subscriber, had it promised.
func TestConviction(t *testing.T) {
	leak.Check(t)
	boaster := kind{name: "boaster", fenced: true, open: naive}
	o := options{kinds: []kind{boaster}, duration: 1500 * time.Millisecond, rounds: 1, writers: 2, readers: 2, rate: 1000, keys: 128}
	tallies, err := o.course(t.Context(), faults()[1], 1)
	if err != nil {
		t.Fatal(err)
	}
	if tallies[0].broken == 0 || !strings.Contains(tallies[0].story, "k") {
		t.Errorf("%+v", tallies[0])
	}
}

// What would end a test is an error here; any other panic goes on.
func TestHands(t *testing.T) {
	h := new(hands)
	func() {
		defer func() {
			if recover() != h {
				t.Error("Fatalf returned, or panicked with another than what proxy looks for")
			}
		}()
		h.Fatalf("no port: %d", 1)
	}()
	if err := h.err(); err == nil || err.Error() != "no port: 1" {
		t.Error(err)
	}
}
