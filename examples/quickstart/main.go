// Command quickstart shows what a near cache that knows how fresh it is does, and measures it.
//
//	go run ./examples/quickstart                        needs nothing: the Redis is in the process
//	go run ./examples/quickstart -redis localhost:6379  the same on yours, under keys of its own that are removed after
//	go run ./examples/quickstart -json                  for a program: one document, durations in nanoseconds
//
// It is a check as well: the exit status is 0 only if what it shows held.
//
// Read setUp for how a program is set up, and steps.go for what it then does.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofreshet/freshet/adapters/rediscache"
	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/examples/internal/reach"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable() // go-redis's own: what goes wrong comes back as an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// atMost ends a run whose Redis has fallen silent.
const atMost = 30 * time.Second

// run is the program: 0 when all it showed held, 1 when it did not or could not be shown, 2 for bad flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fail := func(status int, why ...any) int {
		fmt.Fprintln(stderr, append([]any{"quickstart:"}, why...)...)
		return status
	}
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(stderr)
	where := fs.String("redis", "", "`host:port`, or redis://user:password@host:port/db; default: one in this process")
	asJSON := fs.Bool("json", false, "print one JSON document")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // told by fs
	case fs.NArg() > 0:
		return fail(2, fmt.Sprintf("%q is one argument too many: a server goes behind -redis", fs.Arg(0)))
	}

	var server *redis.Options
	if *where == "" {
		embedded, err := notifytest.Run()
		if err != nil {
			return fail(1, err)
		}
		defer embedded.Close()
		server = &redis.Options{Addr: embedded.Addr}
	} else {
		var err error
		if server, err = reach.Options(*where); err != nil {
			return fail(2, err)
		}
	}

	page := stdout
	if *asJSON {
		page = io.Discard
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	d := &demo{keys: "freshet:quickstart:" + rand.Text()[:8] + ":"}
	defer d.tearDown(stderr)
	err := d.setUp(ctx, server)
	if err == nil {
		d.report.Server.Embedded = *where == ""
		err = d.show(ctx, page)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fail(1, "interrupted")
	case err != nil:
		return fail(1, reach.Explain(server.Addr, err))
	}
	if *asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		if err := out.Encode(&d.report); err != nil {
			return fail(1, err)
		}
	}
	for _, what := range d.report.Broken {
		fail(1, "did not hold:", what)
	}
	if !d.report.Held {
		return 1
	}
	return 0
}

// product is what Redis holds as JSON.
type product struct {
	ID    string `json:"id"`
	Price int    `json:"price"`
}

// demo is a small application, and somebody else who changes its data.
type demo struct {
	keys string // the prefix of every key that is written

	rdb      *redis.Client // the application's
	tracker  *invalidate.Tracker
	products *cache.Cache[string, product]
	orders   *cache.Cache[int, order]

	other *redis.Client // a plain client, which knows nothing of caches

	switched atomic.Value // of []string: notify-keyspace-events before and after, if it had to be changed
	report   report
}

// setUp is what an application does at its start.
func (d *demo) setUp(ctx context.Context, server *redis.Options) (err error) {
	d.rdb, d.other = redis.NewClient(server), redis.NewClient(server)

	// One tracker a process: it hears what changes in Redis. An application names the prefixes of what it caches, or
	// none for all keys. The namespace is this run's own so that nothing stays behind; leave it alone elsewhere.
	d.tracker, err = invalidate.Connect(ctx, d.rdb, invalidate.Options{
		Notify: notify.Options{
			Prefixes:  []string{d.keys},
			Namespace: d.keys,
			Hooks:     notify.Hooks{Config: func(was, is string) { d.switched.Store([]string{was, is}) }},
		},
	})
	if err != nil {
		return err
	}

	// A near cache over Redis values: entry "42" falls with the Redis key <keys>product:42.
	d.products, err = rediscache.New(d.tracker, d.rdb, rediscache.JSON[product](), cache.Options[string, product]{
		Prefix: d.keys + "product:", MaxEntries: 10_000, MaxStaleness: maxStaleness,
	})
	if err != nil {
		return err
	}

	// A near cache over anything else. Its loader is given at the call or, as in herd, by Wrap.
	d.orders, err = cache.New(d.tracker, cache.Options[int, order]{
		Prefix: d.keys + "order:", MaxEntries: 10_000,
	})
	return err
}

// tearDown closes what setUp has opened, as far as it came, and removes every key.
func (d *demo) tearDown(stderr io.Writer) {
	if d.products != nil {
		d.products.Close()
	}
	if d.orders != nil {
		d.orders.Close()
	}
	if d.tracker != nil {
		d.tracker.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the run's own may have ended
	defer cancel()
	err := d.other.Del(ctx, d.keys+"product:42", d.keys+"marker").Err()
	if err != nil && d.tracker != nil { // else it has been told already that Redis cannot be used
		fmt.Fprintf(stderr, "quickstart: keys below %s may stay behind: %v\n", d.keys, err)
	}
	d.rdb.Close()
	d.other.Close()
}
