package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

const reportUsage = `report runs the commands one after another and writes their tables and notes to one Markdown file, their
charts beside it, each with the machine, the versions and the date. Sections of the file that are not run (-only,
or without -traces) stay as they are. Commands that need a server start one of their own where redis-server is
installed (apt-get install redis-server). It takes a while; -quick takes minutes.`

// section is one run of the report. The commands' own defaults are what is published.
type section struct {
	title   string
	command string
	args    []string
	traces  bool // replays the published traces
}

// sections are in the file's order.
func sections() []section {
	falls := []string{"-writes", "0.05", "-ttl", "60s"}
	points := []string{"-points", "1,5,20", "-rounds", "1"} // long; ristretto in a tight loop alone has rounds that differ by more than a point
	near := []string{"-only", "arc-OLTP,cache2k-orm-night,cache2k-web12,adaptsize,thesios-files"}
	return []section{
		{title: "Hit ratios, published traces", command: "hitratio", args: points, traces: true},
		{title: "Hit ratios under invalidation, published traces", command: "hitratio", args: slices.Concat(points, near, falls), traces: true},
		{title: "Hit ratios, made-up workloads", command: "hitratio"},
		{title: "Hit ratios under invalidation, made-up workloads", command: "hitratio", args: falls},
		{title: "Sizes foretold and replayed", command: "size", args: []string{"-check"}, traces: true},
		{title: "Latency", command: "latency"},
		{title: "Staleness", command: "staleness"},
		{title: "Ingest", command: "ingest"},
		{title: "Herds", command: "herd"},
	}
}

func (s section) slug() string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(s.title), ",", ""), " ", "-")
}

func reportCommand(all []report.Command) report.Command {
	return report.Command{Name: "report", Short: "run the set and write RESULTS.md", Run: func(ctx context.Context, args []string, out *report.Out) error {
		f := out.Flags(reportUsage)
		file := f.String("o", "bench/RESULTS.md", "the `file` to write; charts go to a folder of its name beside it")
		traces := f.String("traces", "", "also replay the published traces in this `folder`")
		only := f.String("only", "", "of the sections, these, separated by commas: the `names` of commands, or of sections as their charts have them")
		if err := out.Parse(f, args); err != nil {
			return err
		}
		chosen, err := choose(all, *traces, *only)
		if err != nil {
			return err
		}
		return write(ctx, *file, *traces, chosen, all, out)
	}}
}

func choose(all []report.Command, traces, only string) (out []section, err error) {
	want := strings.Split(only, ",")
	for _, s := range sections() {
		if _, there := find(all, s.command); there && (only == "" || contains(want, s.command) || contains(want, s.slug())) && (traces != "" || !s.traces) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-only: %q: no such section in the report, or it needs -traces", only)
	}
	return out, nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if strings.TrimSpace(l) == s {
			return true
		}
	}
	return false
}

func find(all []report.Command, name string) (report.Command, bool) {
	for _, c := range all {
		if c.Name == name {
			return c, true
		}
	}
	return report.Command{}, false
}

// write runs the sections. What fails is said in its place, and the rest goes on; an interrupt ends it with what there
// is, and what was in the file of the others stays.
func write(ctx context.Context, file, traces string, chosen []section, all []report.Command, out *report.Out) error {
	texts, err := kept(file)
	if err != nil {
		return err
	}
	pictures := strings.TrimSuffix(file, filepath.Ext(file))
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return err
	}
	bar := out.Progress("report", len(chosen))
	defer bar.Done()
	var failures []error
	var rows [][]any
	for _, s := range chosen {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		text, err := s.run(ctx, traces, pictures, all, out)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.command, err))
		}
		if ctx.Err() == nil || texts[s.title] == "" {
			texts[s.title] = text
		}
		rows = append(rows, []any{s.title, s.command, time.Since(start), err == nil})
		if err := os.WriteFile(file, page(texts), 0o644); err != nil {
			return err
		}
		bar.Add(1)
	}
	bar.Done()
	out.Table("Written to "+file, []string{"section", "command", "took", "finished"}, rows)
	return errors.Join(failures...)
}

// run gives the section's text, also where it failed.
func (s section) run(ctx context.Context, traces, pictures string, all []report.Command, out *report.Out) (string, error) {
	args := append([]string{"-seed", fmt.Sprint(out.Seed)}, s.args...)
	public := s.args // the folder of the traces is the reader's own
	if s.traces {
		args = append(args, "-traces", traces)
		public = append([]string{"-traces", "DIR"}, public...)
	}
	if out.Quick {
		args = append(args, "-quick")
		public = append(slices.Clone(public), "-quick")
	}
	command, _ := find(all, s.command)
	o := report.New(s.command, args, io.Discard, io.Discard)
	err := command.Run(ctx, args, o)
	if errors.Is(err, flag.ErrHelp) {
		err = nil
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "`%s`\n\n", strings.Join(append([]string{"go run ./bench", s.command}, public...), " "))
	if err != nil {
		fmt.Fprintf(&text, "Not finished: %v.\n\n", err)
	}
	o.Result().Markdown(&text)
	err = errors.Join(err, draw(&text, pictures, s.slug()+".svg", o.Result().Charts))
	fmt.Fprintf(&text, "\n%s\n", strings.TrimSpace(report.ThisMachine().String()))
	return text.String(), err
}

const (
	preface = "# Results\n\nWritten by `go run ./bench report`; [README.md](README.md) says how to read each figure. The figures depend on the\n" +
		"machine: compare what stands in one table.\n"
	heading = "\n## "
)

// page puts the sections' texts into one file.
func page(texts map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString(preface)
	for _, s := range sections() {
		if t := texts[s.title]; t != "" {
			fmt.Fprintf(&b, "%s%s\n\n%s\n", heading, s.title, strings.TrimSpace(t))
		}
	}
	return b.Bytes()
}

// kept are the texts of a page that was written before, by title.
func kept(file string) (map[string]string, error) {
	texts := map[string]string{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return texts, nil
	}
	if err != nil {
		return nil, err
	}
	parts := strings.Split(string(b), heading)
	for _, part := range parts[1:] {
		title, text, _ := strings.Cut(part, "\n")
		texts[title] = text
	}
	return texts, nil
}

func draw(page io.Writer, folder, name string, charts []report.Chart) error {
	if len(charts) == 0 {
		return nil
	}
	files, err := report.Draw(filepath.Join(folder, name), charts)
	for i, f := range files {
		fmt.Fprintf(page, "![%s](%s)\n", charts[i].Title, filepath.ToSlash(filepath.Join(filepath.Base(folder), filepath.Base(f))))
	}
	return err
}
