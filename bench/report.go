package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
)

const reportUsage = `report runs the commands one after another and writes their tables and notes to one Markdown file, their
charts beside it, with the machine, the versions and the date. Commands that need a server start one of their
own where redis-server is installed (apt-get install redis-server). It takes a while; -quick takes minutes.`

// section is one run of the report. The commands' own defaults are what is published.
type section struct {
	title   string
	command string
	args    []string
}

func sections(traces string) []section {
	all := []section{
		{"Hit ratios, made-up workloads", "hitratio", nil},
		{"Hit ratios under invalidation, made-up workloads", "hitratio", []string{"-writes", "0.05", "-ttl", "60s"}},
	}
	if traces != "" {
		all = append(all,
			section{"Hit ratios, published traces", "hitratio", []string{"-traces", traces, "-points", "1,5,20"}},
			section{"Hit ratios under invalidation, published traces", "hitratio", []string{"-traces", traces, "-points", "1,5,20", "-writes", "0.05", "-ttl", "60s"}},
			section{"Sizes foretold and replayed", "size", []string{"-traces", traces, "-check"}})
	}
	return append(all,
		section{"Latency", "latency", nil}, section{"Staleness", "staleness", nil},
		section{"Ingest", "ingest", nil}, section{"Herds", "herd", nil})
}

func reportCommand(all []report.Command) report.Command {
	return report.Command{Name: "report", Short: "run the set and write RESULTS.md", Run: func(ctx context.Context, args []string, out *report.Out) error {
		f := out.Flags(reportUsage)
		file := f.String("o", "bench/RESULTS.md", "the `file` to write; charts go to a folder of its name beside it")
		traces := f.String("traces", "", "also replay the published traces in this `folder`")
		only := f.String("only", "", "of the `commands`, these, separated by commas")
		if err := out.Parse(f, args); err != nil {
			return err
		}
		chosen, err := choose(sections(*traces), all, *only)
		if err != nil {
			return err
		}
		return write(ctx, *file, chosen, all, out)
	}}
}

func choose(from []section, all []report.Command, only string) (out []section, err error) {
	want := strings.Split(only, ",")
	for _, s := range from {
		if _, there := find(all, s.command); there && (only == "" || contains(want, s.command)) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-only: %q: no such command in the report", only)
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

// write runs the sections. What fails is said in its place, and the rest goes
// on; an interrupt ends it with what there is.
func write(ctx context.Context, file string, chosen []section, all []report.Command, out *report.Out) error {
	var page bytes.Buffer
	fmt.Fprintf(&page, "# Results\n\nWritten by `go run ./bench report`; [README.md](README.md) says how to read each figure.\n"+
		"The figures depend on the machine:\n%s\n", report.ThisMachine())
	pictures := strings.TrimSuffix(file, filepath.Ext(file))
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return err
	}
	bar := out.Progress("report", len(chosen))
	defer bar.Done()
	var failures []error
	var rows [][]any
	for i, s := range chosen {
		if ctx.Err() != nil {
			break
		}
		args := append([]string{"-seed", fmt.Sprint(out.Seed)}, s.args...)
		if out.Quick {
			args = append(args, "-quick")
		}
		command, _ := find(all, s.command)
		o := report.New(s.command, args, io.Discard, io.Discard)
		start := time.Now()
		err := command.Run(ctx, args, o)
		if errors.Is(err, flag.ErrHelp) {
			err = nil
		}
		fmt.Fprintf(&page, "\n## %s\n\n`go run ./bench %s%s`\n\n", s.title, s.command, public(s.args, out.Quick))
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.command, err))
			fmt.Fprintf(&page, "Not finished: %v.\n\n", err)
		}
		o.Result().Markdown(&page)
		if err := draw(&page, pictures, fmt.Sprintf("%02d-%s.svg", i+1, s.command), o.Result().Charts); err != nil {
			failures = append(failures, err)
		}
		rows = append(rows, []any{s.title, s.command, time.Since(start), err == nil})
		bar.Add(1)
	}
	bar.Done()
	out.Table("Written to "+file, []string{"section", "command", "took", "finished"}, rows)
	return errors.Join(append(failures, os.WriteFile(file, page.Bytes(), 0o644))...)
}

// public is args as anybody may type them: the folder of the traces is the reader's own.
func public(args []string, quick bool) string {
	s := ""
	for i, a := range args {
		if i > 0 && args[i-1] == "-traces" {
			a = "DIR"
		}
		s += " " + a
	}
	if quick {
		s += " -quick"
	}
	return s
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
