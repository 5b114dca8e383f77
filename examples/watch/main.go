// Command watch prints what happens to the keys of a Redis, and says when it cannot be sure to have seen everything.
//
//	go run ./examples/watch -redis localhost:6379 -pattern 'product:*' -events set,expired
//
// Every line is a change, or one of three things that a plain subscriber never tells:
//
//	gap      the connection was lost or is in doubt: changes may be missing from here ...
//	synced   ... to here; what follows is complete again
//	flush    FLUSHALL or FLUSHDB: every key may have changed
//
// Where the server does not send notifications they are switched on, which a line on stderr tells, and stay on: others
// may have come to rely on them. While it runs, watch keeps one small key in every database it listens to
// (freshet:watch:<random>:marker), whose loss gives a SWAPDB away; it is removed at the end. With -trust nothing is
// changed or written, and that notifications are on is believed.
//
// With -cluster the server is one node of a Cluster, all of which is watched; with -sentinel NAME it is a Sentinel, and the
// primary that it calls NAME is watched, whoever that comes to be.
//
// Redis sends what is below the pattern's literal beginning: "product:" for product:*.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofreshet/freshet/examples/internal/reach"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable()              // go-redis's own: what it would say comes as a gap, with its reason
	signal.Ignore(syscall.SIGPIPE) // `watch | head` ends by the failing write, and cleans up
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: 0 when -count is reached, ctx ends or nobody reads on, 1 when Redis cannot be used, 2 for bad flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "watch:", err)
		return 2
	}
	err = watch(ctx, o, stdout, stderr)
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, syscall.EPIPE) {
		return 0
	}
	fmt.Fprintln(stderr, "watch:", reach.Explain(o.redis.Addr, err))
	return 1
}

// watch prints events until there were o.count changes, or ctx ends.
func watch(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	rdb, sentinels := o.client()
	defer rdb.Close()
	namespace := "freshet:watch:" + rand.Text()[:8] + ":"
	var listener *notify.Listener
	defer func() {
		if err := o.removeMarkers(rdb, namespace); err != nil && listener != nil {
			fmt.Fprintf(stderr, "watch: the key %smarker may stay behind: %v\n", namespace, err)
		}
	}()

	var level slog.LevelVar // what happens at the start is told here, in better words
	level.Set(slog.LevelError + 1)
	var changed atomic.Value
	listener, err = notify.Listen(ctx, rdb, notify.Options{
		Prefixes:  o.prefixes,
		DBs:       o.dbs,
		Flags:     o.flags,
		Sentinel:  sentinels,
		Namespace: namespace,
		Logger:    slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &level})),
		Hooks:     notify.Hooks{Config: func(was, is string) { changed.Store(fmt.Sprintf("%q, now %q", was, is)) }},
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	if c := changed.Load(); c != nil {
		fmt.Fprintf(stderr, "watch: switched notifications on: notify-keyspace-events was %s\n", c)
	}
	for _, reason := range listener.Status().Reasons {
		fmt.Fprintf(stderr, "watch: %s\n", reason)
	}
	level.Set(slog.LevelInfo)

	began := time.Now()
	events, err := listener.Open(o.reader)
	if err != nil {
		return err
	}
	show := formats[o.format](stdout)
	if listener.Status().Synced { // the reader was opened after the first Synced had been told
		if err := show(notify.Event{Kind: notify.Synced, At: began}); err != nil {
			return err
		}
	}
	for seen := 0; o.count == 0 || seen < o.count; {
		ev, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if err := show(ev); err != nil {
			return err
		}
		if ev.Kind == notify.Change {
			seen++
		}
	}
	return nil
}

// mostDatabases is how many a listener to all databases marks at most.
const mostDatabases = 256

// removeMarkers makes what the listener has left expire, in every database that it listened to. It needs no permission
// but those the markers were written with.
func (o *options) removeMarkers(rdb redis.UniversalClient, namespace string) error {
	client, ok := rdb.(*redis.Client)
	if o.flags == notify.FlagsTrust || !ok { // a Cluster has none
		return nil
	}
	first, last := o.redis.DB, o.redis.DB
	if o.dbs != nil {
		first, last = 0, mostDatabases-1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the program's own may have ended
	defer cancel()
	conn := client.Conn() // SELECT is for this connection alone
	defer conn.Close()
	var expiries []*redis.StatusCmd
	_, _ = conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for db := first; db <= last; db++ {
			p.Select(ctx, db) // refused beyond the last one: what follows then finds nothing
			expiries = append(expiries, p.SetArgs(ctx, namespace+"marker", "", redis.SetArgs{Mode: "XX", TTL: time.Millisecond}))
		}
		return nil
	})
	for _, set := range expiries {
		if err := set.Err(); err != nil && err != redis.Nil && !redis.HasErrorPrefix(err, "NOPERM") {
			return err
		}
	}
	return nil
}
