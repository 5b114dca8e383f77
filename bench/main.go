// Command bench measures Freshet against its peers.
//
//	go run ./bench <command> [flags]
//
// README.md beside this file says how to read each figure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gofreshet/freshet/bench/herd"
	"github.com/gofreshet/freshet/bench/hitratio"
	"github.com/gofreshet/freshet/bench/ingest"
	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/bench/latency"
	"github.com/gofreshet/freshet/bench/size"
	"github.com/gofreshet/freshet/bench/staleness"
)

func commands() []report.Command {
	all := []report.Command{
		hitratio.Command(),
		size.Command(),
		latency.Command(),
		herd.Command(),
		staleness.Command(),
		ingest.Command(),
	}
	return append(all, reportCommand(all))
}

func main() {
	// A second Ctrl-C ends the program where it stands.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run gives the exit code: 0, 1 for an error, 2 for a wrong command line and
// 130 after an interrupt, which still gives what was done so far.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		usage(stdout)
		return 0
	}
	for _, c := range commands() {
		if c.Name != args[0] {
			continue
		}
		out := report.New(c.Name, args[1:], stdout, stderr)
		err := c.Run(ctx, args[1:], out)
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		interrupted := ctx.Err() != nil
		if interrupted && len(out.Result().Tables) > 0 {
			out.Note("Interrupted: this is what was done so far.")
		}
		if flushed := out.Flush(); err == nil {
			err = flushed
		}
		switch {
		case interrupted:
			return 130
		case err != nil:
			fmt.Fprintf(stderr, "bench %s: %v\n", c.Name, err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(stderr, "bench: no command %q\n\n", args[0])
	usage(stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Usage: go run ./bench <command> [flags]; <command> -h lists its flags\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s  %s\n", c.Name, c.Short)
	}
}
