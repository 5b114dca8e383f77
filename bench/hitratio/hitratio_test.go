package hitratio

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/leak"
)

func replay(t *testing.T, ctx context.Context, args ...string) (text string, r report.Result, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	out := report.New("hitratio", args, &stdout, &stderr)
	err = run(ctx, args, out)
	if flushed := out.Flush(); flushed != nil {
		t.Error(flushed)
	}
	return stdout.String(), out.Result(), err
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	cut := filepath.Join(dir, "cut.lirs")
	if err := os.WriteFile(cut, []byte("1\n2\n3"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"-points":               {"-points", "1,x"},
		`"0"`:                   {"-points", "0"},
		`"NaN"`:                 {"-points", "NaN"},
		"no engine":             {"-engines", "LRU,none"},
		"no workload":           {"-only", "none"},
		"lirs-loop":             {"-traces", dir, "-only", "none"},
		"leave -trace out":      {"-trace", cut, "-only", "loop"},
		"no such file":          {"-traces", dir, "-only", "lirs-loop"},
		"cut.lirs: line 3":      {"-trace", cut},
		"no format":             {"-trace", "x:y"},
		"-writes":               {"-writes", "1"},
		"-rate":                 {"-ttl", "1s", "-rate", "0"},
		"-rounds":               {"-rounds", "-1"},
		"-reads":                {"-reads", "1"},
		"-json and -csv":        {"-json", "-csv"},
		".png, .svg":            {"-plot", "x.gif"},
		`"more"`:                {"more"},
		"flag provided but not": {"-nonsense"},
	} {
		if _, r, err := replay(t, context.Background(), args...); err == nil || !strings.Contains(err.Error(), want) || len(r.Tables) > 0 {
			t.Errorf("hitratio %q: %v, want %s and no table", args, err, want)
		}
	}
}

func TestRun(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto", "theine-go", "otter")
	plot := filepath.Join(t.TempDir(), "out.svg")
	args := []string{"-reads", "2000", "-points", "2,20", "-only", "loop,zipf 0.9", "-writes", "0.05", "-ttl", "1s", "-plot", plot}
	text, r, err := replay(t, context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 % writes, keys expire after 1s at 1000 reads a second", "zipf 0.9", "mean", "freshet", " cores, "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if rows := r.Tables[0].Rows; len(rows) != 5 || len(rows[0]) != 14 || len(r.Charts) != 2 {
		t.Errorf("%d rows, %d charts: want two workloads at two points and the mean, a chart for each workload", len(rows), len(r.Charts))
	}
	for _, name := range []string{"out-1.svg", "out-2.svg"} {
		if svg, err := os.ReadFile(filepath.Join(filepath.Dir(plot), name)); err != nil || !bytes.Contains(svg, []byte("freshet")) {
			t.Errorf("%s: %v, or no line of Freshet's", name, err)
		}
	}
}

func TestJSON(t *testing.T) {
	text, _, err := replay(t, context.Background(), "-json", "-engines", "LRU,OPT", "-trace", "../internal/trace/testdata/loop.lirs.gz", "-points", "100")
	if err != nil {
		t.Fatal(err)
	}
	var r report.Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	// Nine reads of three keys, all of which fit: six hits.
	if row := r.Tables[0].Rows[0]; row[0] != "loop.lirs.gz" || row[2] != 3.0 || int(row[3].(float64)+0.5) != 67 || row[3] != row[4] {
		t.Errorf("row %v: want 66.7 for both at 3 entries", row)
	}
}

// What was measured before the interrupt, or before a broken trace, is shown.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, r, err := replay(t, ctx, "-reads", "20000", "-engines", "LRU"); err == nil || len(r.Tables) > 0 {
		t.Errorf("interrupted at once: %v, %d tables", err, len(r.Tables))
	}
	bad := filepath.Join(t.TempDir(), "bad.lirs")
	if err := os.WriteFile(bad, []byte("1\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r, err := replay(t, context.Background(), "-engines", "LRU", "-trace", "../internal/trace/testdata/loop.lirs.gz", "-trace", bad, "-points", "50")
	if err == nil || !strings.Contains(err.Error(), "bad.lirs: line 2") || len(r.Tables) == 0 || len(r.Tables[0].Rows) != 2 {
		t.Errorf("a broken second trace: %v, %v", err, r.Tables)
	}
}
