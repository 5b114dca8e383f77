// Package report is how every command of the bench speaks: the flags they all
// have, results as a table for people, JSON, CSV, Markdown and charts, and a
// progress bar on a terminal.
//
// A command makes its flag set with [Out.Flags], parses it, measures under
// [Out.Progress], and gives what it found to [Out.Table], [Out.Chart] and
// [Out.Note]. When its context ends it gives what it has so far, and returns
// the context's error.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// Command is one of the bench's commands.
type Command struct {
	Name  string
	Short string // one line, beginning with a verb
	Run   func(ctx context.Context, args []string, out *Out) error
}

// Out takes a command's results. It belongs to the goroutine that runs the
// command; [Progress] alone may be used by others.
type Out struct {
	Seed  uint64 // -seed: what every random choice of the command comes from
	Quick bool   // -quick: a short run

	json, csv bool
	plot      string
	stdout    io.Writer
	stderr    io.Writer
	result    Result
}

// Result is all that a command found.
type Result struct {
	Command string   `json:"command"`
	Args    []string `json:"args"`
	Machine Machine  `json:"machine"`
	Tables  []Table  `json:"tables"`
	Charts  []Chart  `json:"charts,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// Table is one of a result's. A cell is a string, a bool, an integer, a
// float64, a time.Duration or a [Spread]; a row has one for each column.
type Table struct {
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// New makes the Out of one command. Results go to stdout; progress, and a
// flag's complaints, to stderr.
func New(command string, args []string, stdout, stderr io.Writer) *Out {
	return &Out{Seed: 1, stdout: stdout, stderr: stderr, result: Result{Command: command, Args: slices.Clone(args), Machine: ThisMachine()}}
}

// Flags is a flag set with the flags that all commands have. usage is printed
// above the flags by -h.
func (o *Out) Flags(usage string) *flag.FlagSet {
	f := flag.NewFlagSet(o.result.Command, flag.ContinueOnError)
	f.SetOutput(o.stderr)
	f.Usage = func() {
		fmt.Fprintf(o.stderr, "%s\n\nFlags:\n", usage)
		f.PrintDefaults()
	}
	f.BoolVar(&o.json, "json", o.json, "print one JSON object instead of tables")
	f.BoolVar(&o.csv, "csv", o.csv, "print CSV instead of tables; a spread takes three columns")
	f.StringVar(&o.plot, "plot", o.plot, "write the charts to this `file`, .png, .svg or .html; several PNGs or SVGs are numbered")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "what every random choice comes from")
	f.BoolVar(&o.Quick, "quick", o.Quick, "a short run, within a minute on two cores")
	return f
}

// Parse parses args into f, checks the common flags, and refuses arguments
// that belong to no flag. After -h it returns [flag.ErrHelp].
func (o *Out) Parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: %q belongs to no flag; -h lists them", o.result.Command, f.Arg(0))
	}
	if o.json && o.csv {
		return errors.New("-json and -csv: choose one")
	}
	if ext := filepath.Ext(o.plot); o.plot != "" && ext != ".png" && ext != ".svg" && ext != ".html" {
		return fmt.Errorf("-plot: %q: want a file that ends in .png, .svg or .html", o.plot)
	}
	return nil
}

// Table adds a table. People see it at once.
func (o *Out) Table(title string, columns []string, rows [][]any) {
	t := Table{title, columns, rows}
	for i, row := range rows {
		if len(row) != len(columns) {
			panic(fmt.Sprintf("report: table %q: row %d has %d cells of %d", title, i, len(row), len(columns)))
		}
	}
	o.result.Tables = append(o.result.Tables, t)
	if o.people() {
		t.text(o.stdout)
	}
}

// Chart adds a chart, which is drawn when a -plot or a report asks for it.
func (o *Out) Chart(c Chart) { o.result.Charts = append(o.result.Charts, c) }

// Note adds a sentence to the result: what a figure means, or where we lose.
func (o *Out) Note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	o.result.Notes = append(o.result.Notes, n)
	if o.people() {
		fmt.Fprintln(o.stdout, n)
	}
}

func (o *Out) people() bool { return !o.json && !o.csv }

// Result is what was given so far.
func (o *Out) Result() Result { return o.result }

// Flush ends the command: it prints what is not for people, or the machine for
// people, and draws the charts. Also after an interrupt, with what there is.
func (o *Out) Flush() error {
	if len(o.result.Tables) == 0 {
		return nil
	}
	var err error
	switch {
	case o.json:
		enc := json.NewEncoder(o.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(o.result)
	case o.csv:
		err = o.result.csv(o.stdout)
	default:
		_, err = fmt.Fprintln(o.stdout, o.result.Machine)
	}
	if err == nil && o.plot != "" {
		var files []string
		files, err = Draw(o.plot, o.result.Charts)
		for _, f := range files {
			fmt.Fprintln(o.stderr, "chart:", f)
		}
	}
	return err
}

// Ask says to a person at the terminal what will be done, before an answer is read.
func (o *Out) Ask(format string, args ...any) { fmt.Fprintf(o.stderr, format, args...) }
