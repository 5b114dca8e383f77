package latency

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

func measured(t *testing.T, ctx context.Context, args ...string) (text string, r report.Result, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	out := report.New("latency", args, &stdout, &stderr)
	err = run(ctx, args, out)
	return stdout.String(), out.Result(), err
}

func TestRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"-keys":                 {"-keys", "1000"},
		`"8"`:                   {"-keys", "1024,8"},
		`"x"`:                   {"-keys", "x"},
		"-rounds":               {"-rounds", "-1"},
		"no part":               {"-only", "hit,hot"},
		"no side":               {"-sides", "freshet,none"},
		`"more"`:                {"more"},
		"flag provided but not": {"-nonsense"},
	} {
		if _, r, err := measured(t, context.Background(), args...); err == nil || !strings.Contains(err.Error(), want) || len(r.Tables) > 0 {
			t.Errorf("latency %q: %v, want %s and no table", args, err, want)
		}
	}
	t.Setenv(redistest.BinaryEnv, "no-such-server")
	if _, _, err := measured(t, context.Background()); err == nil || !strings.Contains(err.Error(), "apt-get install") || !strings.Contains(err.Error(), "-quick") {
		t.Errorf("without a server: %v, want how to get one, and that -quick needs none", err)
	}
}

// check looks at the shape of a table: as many rows as sides, every figure there and, for times, above zero.
func check(t *testing.T, table report.Table, sides int, absent ...string) {
	t.Helper()
	if len(table.Rows) != sides {
		t.Errorf("%q has %d rows, want %d", table.Title, len(table.Rows), sides)
	}
	for _, row := range table.Rows {
		gone := false
		for _, name := range absent {
			gone = gone || row[0] == name
		}
		for i, c := range table.Columns[2:] {
			s, there := row[i+2].(report.Spread)
			if there == gone {
				t.Errorf("%q, %v: %s is %v", table.Title, row[0], c, row[i+2])
			}
			if there && c == "mean" && !(s.Min > 0) {
				t.Errorf("%q, %v: a mean of %v", table.Title, row[0], s)
			}
		}
	}
}

// With -quick, the embedded Redis is enough; who needs more is in the tables, without figures, and named.
func TestQuick(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto", "otter")
	text, r, err := measured(t, context.Background(), "-quick", "-keys", "16", "-rounds", "1")
	if err != nil {
		t.Fatal(err)
	}
	absent := []string{"rueidis DoCache", "go-redis client-side cache"}
	for i, rows := range []int{11, 11, 11, 11, 3, 7, 3, 6} {
		check(t, r.Tables[i], rows, absent...)
	}
	if len(r.Tables) != 8 || len(r.Charts) != 8 {
		t.Errorf("%d tables, %d charts", len(r.Tables), len(r.Charts))
	}
	for _, name := range absent {
		if !strings.Contains(text, name+" cannot run on the embedded Redis") {
			t.Errorf("no word about %s in:\n%s", name, text)
		}
	}
	if !strings.Contains(text, "readings of the clock") {
		t.Errorf("no word about the clock in:\n%s", text)
	}
}

// On a real server all take part, and a fence lets nobody read what was before it.
func TestServer(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto", "otter", "rueidis")
	s, err := openServer(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var stdout, stderr bytes.Buffer
	b := &bench{server: s, clock: calibrate(), out: report.New("latency", nil, &stdout, &stderr)}
	b.options = options{sizes: []int{16}, rounds: 2, sides: sides(), effort: effort{1, 64, 50, 20, 20}}
	for _, p := range parts {
		if err := p.run(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	tables := b.out.Result().Tables
	for i, rows := range []int{11, 11, 11, 11, 3, 7, 3, 6} {
		check(t, tables[i], rows)
	}
	b.notes()
}

func TestInterrupted(t *testing.T) {
	leak.Check(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, r, err := measured(t, ctx, "-quick"); err == nil || len(r.Tables) > 0 {
		t.Errorf("interrupted at once: %v, %d tables", err, len(r.Tables))
	}
	// The second round is interrupted: the first is shown.
	var stdout, stderr bytes.Buffer
	b := &bench{out: report.New("latency", nil, &stdout, &stderr), server: &server{}, options: options{rounds: 3}}
	all := []entrant{{side{name: "freshet", value: shared}, &opened{}}, {side{name: "otter", value: shared}, &opened{}}}
	err := b.contest(t.Context(), "A hit: of a test", nanos, missColumns, all, func(int) {}, func(_ context.Context, e entrant, round int) (figure, error) {
		if round == 1 {
			return figure{}, context.Canceled
		}
		return figure{mean: map[string]float64{"freshet": 20, "otter": 10}[e.name]}, nil
	})
	if err == nil || len(b.out.Result().Tables) != 1 || b.out.Result().Tables[0].Rows[0][2] != report.SpreadOf(20) {
		t.Errorf("%v, %+v: want the first round's figures", err, b.out.Result().Tables)
	}
	if b.notes(); !strings.Contains(stdout.String(), "Where we lose: otter, a hit: mean 10.00 against 20.00 ns") {
		t.Errorf("otter is twice as fast, and:\n%s", &stdout)
	}
}

// What the clock costs is taken off, and never more than there is.
func TestClock(t *testing.T) {
	c := calibrate()
	if c.cost < 0 || c.cost > time.Millisecond {
		t.Errorf("a reading of the clock costs %v", c.cost)
	}
	c.cost = 30
	if got := c.between(100, 150); got != 20 {
		t.Errorf("50 ns less the clock's 30 are %v", got)
	}
	if got := c.between(100, 120); got != 0 {
		t.Errorf("20 ns less the clock's 30 are %v", got)
	}
}

// Orders hold every key about as often as they should, and the same for the same seed.
func TestOrders(t *testing.T) {
	for _, o := range orders {
		const n = 64
		order := orderOf(o.skew, n, 7)
		if len(order) != orderLength {
			t.Fatalf("%s: %d reads", o.name, len(order))
		}
		if !slices.Equal(order, orderOf(o.skew, n, 7)) {
			t.Errorf("%s: the same seed, another order", o.name)
		}
		counts := make([]int, n)
		for _, k := range order {
			counts[k]++
		}
		least, most := orderLength, 0
		for _, c := range counts {
			least, most = min(least, c), max(most, c)
		}
		if even := most < 2*least; least == 0 || even != (o.skew == 0) {
			t.Errorf("%s: keys are read %d to %d times", o.name, least, most)
		}
	}
}

// What never gets into memory ends the run with a reason, not with misses sold as hits.
func TestFill(t *testing.T) {
	missed := uint64(0)
	o := &opened{read: func(int) (int64, error) { missed++; return 0, nil }, missed: func() uint64 { return missed }}
	if err := o.fill(t.Context(), 4); err == nil || !strings.Contains(err.Error(), "not all are in memory") {
		t.Errorf("a cache that keeps nothing: %v", err)
	}
}
