package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/bench/internal/report"
)

// A report has what its commands gave, says what failed, and names nobody's folders.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "RESULTS.md")
	var got [][]string
	fake := func(name string, err error) report.Command {
		return report.Command{Name: name, Run: func(_ context.Context, args []string, out *report.Out) error {
			got = append(got, args)
			out.Table("table of "+name, []string{"figure"}, [][]any{{1.5}})
			out.Chart(report.Chart{Title: "chart of " + name, Series: []report.Series{{Name: "s", X: []float64{1, 2}, Y: []float64{3, 4}}}})
			out.Note("note of %s", name)
			return err
		}}
	}
	all := []report.Command{fake("hitratio", nil), fake("herd", errors.New("no server"))}
	var stdout, stderr bytes.Buffer
	args := []string{"-o", file, "-traces", dir, "-quick", "-seed", "7"}
	err := reportCommand(all).Run(context.Background(), args, report.New("report", args, &stdout, &stderr))
	if err == nil || !strings.Contains(err.Error(), "herd: no server") {
		t.Errorf("error %v, want the herd's", err)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## Hit ratios, published traces", " -writes 0.05 -ttl 60s -quick`", "**table of herd**",
		"- note of hitratio", "![chart of hitratio](RESULTS/hit-ratios-published-traces.svg)", "Not finished: no server", "cores",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
	if strings.Contains(string(page), dir) {
		t.Errorf("the traces' folder stands in:\n%s", page)
	}
	if len(got) != 5 || strings.Join(got[2], " ") != "-seed 7 -quick" {
		t.Errorf("ran %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "RESULTS", "herds.svg")); err != nil {
		t.Error(err)
	}
	if err := reportCommand(all).Run(context.Background(), []string{"-only", "none"}, report.New("report", nil, &stdout, &stderr)); err == nil {
		t.Error("-only none is fine")
	}
}

// What is not run again stays in the file, in its place.
func TestReportKeepsTheRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	round := 0
	fake := func(name string) report.Command {
		return report.Command{Name: name, Run: func(_ context.Context, _ []string, out *report.Out) error {
			out.Note("%s of round %d", name, round)
			return nil
		}}
	}
	all := []report.Command{fake("latency"), fake("staleness"), fake("herd")}
	for _, only := range []string{"latency,staleness,herd", "staleness"} {
		round++
		args := []string{"-o", file, "-only", only}
		if err := reportCommand(all).Run(context.Background(), args, report.New("report", args, io.Discard, io.Discard)); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{"# Results", "## Latency", "latency of round 1", "## Staleness", "staleness of round 2", "## Herds", "herd of round 1"} {
		i := strings.Index(string(page)[at:], want)
		if i < 0 {
			t.Fatalf("no %q after what is to come before it in:\n%s", want, page)
		}
		at += i
	}
	if n := strings.Count(string(page), "# Results"); n != 1 {
		t.Errorf("%d titles", n)
	}
}
