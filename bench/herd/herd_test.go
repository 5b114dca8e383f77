package herd

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/leak"
)

// dieEnv makes a worker of these tests die before it is ready.
const dieEnv = "FRESHET_BENCH_TEST_DIE"

// TestMain lets this program be its own worker, as the bench is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "herd" && os.Args[2] == workerArg {
		if os.Getenv(dieEnv) != "" {
			fmt.Fprintln(os.Stderr, "no more")
			os.Exit(3)
		}
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func herds(t *testing.T, ctx context.Context, args ...string) (r report.Result, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	out := report.New("herd", args, &stdout, &stderr)
	err = run(ctx, args, out)
	return out.Result(), err
}

func TestRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"-processes":            {"-processes", "1,x"},
		`"33"`:                  {"-processes", "33"},
		`"0"`:                   {"-goroutines", "0"},
		"-keys":                 {"-keys", "-1"},
		"-rounds":               {"-rounds", "1001"},
		"-takes":                {"-takes", "1us"},
		"no side":               {"-sides", "freshet,none"},
		`"more"`:                {"more"},
		`"worker"`:              {"worker", "more"},
		"flag provided but not": {"-nonsense"},
	} {
		if r, err := herds(t, context.Background(), args...); err == nil || !strings.Contains(err.Error(), want) || len(r.Tables) > 0 {
			t.Errorf("herd %q: %v, want %s and no table", args, err, want)
		}
	}
}

// column is the cells of t by side.
func column(t *testing.T, table report.Table, name string) map[string]any {
	t.Helper()
	for i, c := range table.Columns {
		if c == name {
			cells := make(map[string]any)
			for _, row := range table.Rows {
				cells[row[0].(string)] = row[i]
			}
			return cells
		}
	}
	t.Fatalf("%q: no column %q in %q", table.Title, name, table.Columns)
	return nil
}

func one(f float64) report.Spread { return report.SpreadOf(f) }

// Freshet's loads are one for each process and key, whoever gives up, and giving up harms nobody else.
func TestHerds(t *testing.T) {
	leak.Check(t)
	r, err := herds(t, context.Background(), "-processes", "2", "-goroutines", "8", "-keys", "2", "-rounds", "2", "-takes", "100ms")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != len(scenarios) || len(r.Charts) != 2 {
		t.Fatalf("%d tables, %d charts: want one for each scenario, and two", len(r.Tables), len(r.Charts))
	}
	for i, table := range r.Tables {
		if len(table.Rows) != len(sides()) {
			t.Errorf("%q has %d rows", table.Title, len(table.Rows))
		}
		if got := column(t, table, "loads")["freshet"]; got != one(2*2) {
			t.Errorf("%q: Freshet's loads are %v, want 4: 2 processes, 2 keys", table.Title, got)
		}
		if got := column(t, table, "per process and key")["freshet"]; got != one(1) {
			t.Errorf("%q: %v loads a process and key", table.Title, got)
		}
		if scenarios[i] != all {
			if got := column(t, table, "errors, % of who stayed")["freshet"]; got != one(0) {
				t.Errorf("%q: %v %% of those who stayed got an error from Freshet", table.Title, got)
			}
		}
	}
	if got := column(t, r.Tables[half], "of them stopped")["freshet"]; got != one(0) {
		t.Errorf("%v of Freshet's loads were stopped while callers waited", got)
	}
	loads := column(t, r.Tables[calm], "loads")
	for _, s := range sides() {
		got := loads[s.name].(report.Spread)
		if got.Min < 2*2 || got.Max > 2*2*8 {
			t.Errorf("%s: %v loads: a process knows nothing of the other, and nobody asks twice", s.name, got)
		}
	}
}

// What was done before an interrupt is shown, and nothing where there is nothing.
func TestInterrupted(t *testing.T) {
	leak.Check(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := herds(t, ctx, "-quick"); err == nil || len(r.Tables) > 0 {
		t.Errorf("interrupted at once: %v, %d tables", err, len(r.Tables))
	}
	var stdout, stderr bytes.Buffer
	out := report.New("herd", nil, &stdout, &stderr)
	o, err := parse([]string{"-quick", "-sides", "otter,freshet"}, out)
	if err != nil {
		t.Fatal(err)
	}
	show(out, o, results{setting{calm, 2, 64, 1}: {{tally: tally{begun: 8}, waits: []float64{1}}}})
	if tables := out.Result().Tables; len(tables) != 1 || len(tables[0].Rows) != 1 || tables[0].Rows[0][0] != "freshet" {
		t.Errorf("one finding gave %v", tables)
	}
}

func TestWorkers(t *testing.T) {
	leak.Check(t)
	ctx := context.Background()
	t.Run("dies", func(t *testing.T) {
		t.Setenv(dieEnv, "1")
		if _, err := hire(ctx, 2, setup{}); err == nil || !strings.Contains(err.Error(), "no more") {
			t.Errorf("a worker that died: %v, want its last words", err)
		}
	})
	t.Run("cannot", func(t *testing.T) {
		if _, err := hire(ctx, 1, setup{Sides: []string{"none"}}); err == nil || !strings.Contains(err.Error(), `no side "none"`) {
			t.Errorf("a worker that cannot: %v", err)
		}
	})
	// A program that does not know the argument would start itself without end. Without the look at workerEnv in hire
	// this hires a worker.
	t.Run("within a worker", func(t *testing.T) {
		t.Setenv(workerEnv, "1")
		if _, err := hire(ctx, 1, setup{}); err == nil || !strings.Contains(err.Error(), "as a worker") {
			t.Errorf("a worker hired workers: %v", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		o, err := openOrigin(time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		c, err := hire(ctx, 1, setup{Origin: o.url, Sides: []string{"nothing"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.dismiss()
		soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if _, err := c.step(soon, 1, order{Side: "nothing", Keys: []string{"a/0"}, Callers: 1}); err != context.DeadlineExceeded {
			t.Errorf("a worker that does not come back: %v", err)
		}
	})
}

// The origin counts what reaches it, for the burst that it belongs to, and whose client hung up.
func TestOrigin(t *testing.T) {
	leak.Check(t)
	o, err := openOrigin(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	l := newLoader(o.url)
	defer l.client.CloseIdleConnections()
	for i := range 3 {
		if v, err := l.load(t.Context(), fmt.Sprintf("a&b/%d", i)); err != nil || v != valueOf(fmt.Sprintf("a&b/%d", i)) {
			t.Errorf("%q, %v", v, err)
		}
	}
	if err := o.settle(t.Context()); err != nil {
		t.Error(err)
	}
	if got := o.of("a&b"); got != (tally{begun: 3}) || o.of("other") != (tally{}) {
		t.Errorf("%+v, want 3 loads", got)
	}

	long, err := openOrigin(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer long.close()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, long.url+"?key=c/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.client.Do(r) // comes back with the head: the load has begun
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	if err := long.settle(t.Context()); err != nil || long.of("c") != (tally{begun: 1, stopped: 1}) {
		t.Errorf("%v, %+v: want one load, stopped", err, long.of("c"))
	}
}
