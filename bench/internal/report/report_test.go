package report

import (
	"bytes"
	"encoding/csv"
	"flag"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for want, got := range map[string]Spread{
		"2.00":              SpreadOf(2),
		"2.00 (1.00..9.00)": SpreadOf(9, 1, 2),
		"2.50 (1.00..9.00)": SpreadOf(9, 1, 2, 3),
		"5000":              SpreadOf(5000.1, 5000.2, 5000.3), // no further apart than the digits show
	} {
		if got.String() != want {
			t.Errorf("%+v is %q, want %q", got, got, want)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		s, t Spread
		want bool
	}{
		{SpreadOf(90, 93, 94), SpreadOf(100), true},
		{SpreadOf(96), SpreadOf(100), false},                 // by too little
		{SpreadOf(80, 80, 101), SpreadOf(100), false},        // not in each round
		{SpreadOf(90, 93, 94), SpreadOf(85, 100, 120), true}, // the other's lucky round does not count
		{SpreadOf(0), SpreadOf(0), false},
	} {
		if got := c.s.Below(c.t, 0.05); got != c.want {
			t.Errorf("%v below %v: %v", c.s, c.t, got)
		}
	}
}

func TestCells(t *testing.T) {
	for want, v := range map[string]any{
		"12.35": 12.345678, "123.5": 123.456, "123456": 123456.4, "0.12": 0.1234, "0.0012": 0.00123, "1.234e+13": 1.234e13,
		"-5.50": -5.5, "0.00": 0.0, "NaN": math.NaN(), "text": "text", "7": 7, "true": true,
		"1.23ms": 1234567 * time.Nanosecond, "457µs": 456789 * time.Nanosecond, "12ns": 12 * time.Nanosecond, "-1.5s": -1500 * time.Millisecond,
	} {
		if got := cell(v); got != want {
			t.Errorf("cell(%v) = %q, want %q", v, got, want)
		}
	}
}

func sample(args ...string) (o *Out, stdout, stderr *bytes.Buffer, err error) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	o = New("sample", args, stdout, stderr)
	if err := o.Parse(o.Flags("sample tests"), args); err != nil {
		return o, stdout, stderr, err
	}
	o.Table("first", []string{"name", "figure", "life"}, [][]any{
		{"a|b", SpreadOf(1, 2, 3), 2 * time.Second},
		{"ä", 4.5, time.Millisecond},
	})
	o.Table("second", []string{"x"}, [][]any{{1}})
	o.Chart(Chart{Title: "lines & more", LogX: true, LogY: true, Series: []Series{{Name: "one", X: []float64{1, 10, 0}, Y: []float64{5, 0, 7}}}})
	o.Chart(Chart{Title: "bars", Labels: []string{"p", "q"}, Series: []Series{{Name: "one", Y: []float64{1, 2}}, {Name: "two", Y: []float64{3, 0}}}})
	o.Chart(Chart{Title: "logarithmic bars", LogY: true, Labels: []string{"somebody with a long name", "another whose name is long", "a third one"},
		Series: []Series{{Name: "one", Y: []float64{1, 250, 0}}, {Name: "two", Y: []float64{1e6, 30, 4}}}})
	o.Chart(Chart{Title: "no bars", LogY: true, Labels: []string{"p"}, Series: []Series{{Name: "one", Y: []float64{0}}}})
	o.Chart(Chart{Title: "nothing", LogX: true, LogY: true, Series: []Series{{Name: "one"}}})
	o.Note("%s loses", "somebody")
	return o, stdout, stderr, o.Flush()
}

func TestText(t *testing.T) {
	_, stdout, _, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	want := `
first
 name             figure    life
  a|b  2.00 (1.00..3.00)      2s
  ä                 4.50     1ms
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if !strings.Contains(squeeze(stdout.String()), squeeze(want)) || !strings.Contains(stdout.String(), "somebody loses") || !strings.Contains(stdout.String(), "cores") {
		t.Errorf("got:\n%s", stdout)
	}
}

func TestCSV(t *testing.T) {
	_, stdout, _, err := sample("-csv")
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(stdout.String(), "\n\n")
	rows, err := csv.NewReader(strings.NewReader(first)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%q, %v", rows, err)
	}
	for i, want := range []string{"table,name,figure,figure min,figure max,life", "first,a|b,2,1,3,2000000000", "first,ä,4.5,4.5,4.5,1000000"} {
		if got := strings.Join(rows[i], ","); got != want {
			t.Errorf("row %d is %s, want %s", i, got, want)
		}
	}
	if second != "table,x\nsecond,1\n" {
		t.Errorf("the second table is %q", second)
	}
}

func TestMarkdown(t *testing.T) {
	o, _, _, err := sample("-json")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	o.Result().Tables[0].Markdown(&b)
	want := "**first**\n\n| name | figure | life |\n|---|---:|---:|\n| a\\|b | 2.00 (1.00..3.00) | 2s |\n| ä | 4.50 | 1ms |\n\n"
	if b.String() != want {
		t.Errorf("got:\n%s", &b)
	}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"out.png", "out.svg", "out.html"} {
		if _, _, stderr, err := sample("-plot", filepath.Join(dir, name)); err != nil || !strings.Contains(stderr.String(), "chart: ") {
			t.Fatalf("%s: %v, %s", name, err, stderr)
		}
	}
	img, err := os.Open(filepath.Join(dir, "out-2.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if _, err := png.Decode(img); err != nil {
		t.Error(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "out.html"))
	if err != nil || strings.Count(string(page), "<svg") != 5 || strings.Contains(string(page), "<?xml") || !strings.Contains(string(page), "lines &amp; more") {
		t.Errorf("%v, or not five pictures in:\n%.300s", err, page)
	}
	if _, _, _, err := sample("-plot", filepath.Join(dir, "none", "x.svg")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func TestHelp(t *testing.T) {
	if _, _, stderr, err := sample("-h"); err != flag.ErrHelp || !strings.Contains(stderr.String(), "sample tests") {
		t.Errorf("%v, %s", err, stderr)
	}
}

func TestProgress(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "bar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := New("x", nil, f, f)
	silent := o.Progress("no terminal", 10)
	if silent.Add(5); silent.out != nil {
		t.Error("a bar on what is no terminal")
	}
	silent.Done()
	p := &Progress{out: f, label: "work", total: 10, start: time.Now().Add(-10 * time.Second)}
	p.Add(5)
	p.Add(1) // too soon to draw again
	p.Done()
	p.Add(1)
	got, err := os.ReadFile(f.Name())
	if err != nil || string(got) != "\r\x1b[Kwork [===============               ] 50%, 10s left\r\x1b[K" {
		t.Errorf("%q, %v", got, err)
	}
}

// A logarithmic bar begins below the least figure, and its axis is labelled with the figures themselves.
func TestLogBars(t *testing.T) {
	c := Chart{Series: []Series{{Y: []float64{0, 1, 250}}, {Y: []float64{-3, 1e6}}}}
	if got := c.floor(); got != -1 {
		t.Errorf("the least figure is 1: floor %v, want -1, so that its bar can be seen", got)
	}
	if got := (Chart{Series: []Series{{Y: []float64{0}}}}).floor(); got != 0 {
		t.Errorf("no figure: floor %v", got)
	}
	var labels []string
	for _, tick := range (powers{-1}).Ticks(0, 2.5) {
		if tick.Value > 2.5 {
			t.Errorf("a tick at %v, above the axis", tick.Value)
		}
		if tick.Label != "" {
			labels = append(labels, tick.Label)
		}
	}
	if got := strings.Join(labels, " "); got != "0.1 1 10" {
		t.Errorf("labels %q", got)
	}
}

func TestQuantile(t *testing.T) {
	figures := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		if got := Quantile(figures, q); got != want {
			t.Errorf("Quantile(1..10, %v) = %v, want %v", q, got, want)
		}
	}
}
