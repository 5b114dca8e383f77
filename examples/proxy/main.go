// Command proxy is a caching reverse proxy.
//
//	go run ./examples/proxy -listen 127.0.0.1:8080 -origin http://127.0.0.1:8000
//	go run ./examples/proxy -origin http://127.0.0.1:8000 -redis localhost:6379
//
// With -redis, several proxies on one Redis are one cache as far as invalidation goes: a POST through one of them makes
// the responses for its URL fall in all (reached by one name: the host is part of a URL), and so does a tag (of Cache-Tag or Surrogate-Key) that any program touches:
//
//	redis-cli PUBLISH __keyspace@0__:freshet:name:tag:catalog touch
//
// Without it the Redis is in the process.
//
// Cache-Status in each response says what the cache did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gofreshet/freshet/adapters/httpcache"
	"github.com/gofreshet/freshet/examples/internal/reach"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify/notifytest"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable() // go-redis's own: what goes wrong comes back as an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr, nil))
}

type options struct {
	listen, redis string
	origin        *url.URL
	maxBytes      int64
	stale         time.Duration
}

// run is the program: 0 when it was stopped, 1 when it could not serve, 2 for bad flags. listening, if not nil, is told
// the address.
func run(ctx context.Context, args []string, stderr io.Writer, listening chan<- string) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "proxy:", err)
		return 2
	}
	if err := serve(ctx, o, stderr, listening); err != nil {
		fmt.Fprintln(stderr, "proxy:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("proxy", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`host:port` to listen on")
	origin := fs.String("origin", "http://127.0.0.1:8000", "`URL` of the server behind")
	fs.StringVar(&o.redis, "redis", "", "`host:port`, or redis://user:password@host:port/db; default: one in this process")
	fs.Int64Var(&o.maxBytes, "bytes", 0, "memory for responses, in `bytes`; default 64 MiB")
	fs.DurationVar(&o.stale, "stale", time.Minute, "for how long (a `duration`) past its freshness a response stands in while the origin cannot be "+
		"reached, unless it forbids that; 0: only where it asks for it")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is one argument too many", fs.Arg(0))
	}
	if o.maxBytes < 0 {
		return o, fmt.Errorf("-bytes is %d: give a positive number", o.maxBytes)
	}
	if o.stale < 0 {
		return o, fmt.Errorf("-stale is %v: give a duration such as 1m, or 0", o.stale)
	}
	o.origin, err = url.Parse(*origin)
	if err != nil || o.origin.Host == "" || o.origin.Scheme != "http" && o.origin.Scheme != "https" {
		return o, fmt.Errorf("-origin is %q: give a URL such as http://127.0.0.1:8000", *origin)
	}
	return o, nil
}

func serve(ctx context.Context, o options, stderr io.Writer, listening chan<- string) error {
	server, err := redisAt(o.redis)
	if err != nil {
		return err
	}
	defer server.close()
	rdb := redis.NewClient(server.options)
	defer rdb.Close()
	log := slog.New(slog.NewTextHandler(stderr, nil))
	tracker, err := invalidate.Connect(ctx, rdb, invalidate.Options{Logger: log})
	if err != nil {
		return errors.New(reach.Explain(server.options.Addr, err))
	}
	defer tracker.Close()
	pages, err := httpcache.New(tracker, httpcache.Options{
		MaxBytes: o.maxBytes, StaleIfUnreachable: o.stale,
		Targets: []string{httpcache.OwnCacheControl, httpcache.CDNCacheControl, httpcache.SurrogateControl},
		Logger:  log,
	})
	if err != nil {
		return err
	}
	defer pages.Close()

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if listening != nil {
		listening <- listener.Addr().String()
	}
	fmt.Fprintf(stderr, "proxy: http://%s caches %s\n", listener.Addr(), o.origin)
	srv := &http.Server{Handler: pages.Handler(forward(o.origin, log)), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(ctx)
	}()
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// forward is the reverse proxy behind the cache.
func forward(origin *url.URL, log *slog.Logger) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what the origin sends is what is stored, not what Go makes of it
	transport.MaxIdleConnsPerHost = 64
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(origin)
			p.SetXForwarded()
			p.Out.Header.Add("Surrogate-Capability", `freshet="Surrogate/1.0"`)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				log.Warn("origin", "url", r.URL.Path, "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// place is a Redis, and what ends it.
type place struct {
	options *redis.Options
	close   func()
}

func redisAt(where string) (place, error) {
	if where == "" {
		embedded, err := notifytest.Run()
		if err != nil {
			return place{}, err
		}
		return place{&redis.Options{Addr: embedded.Addr}, func() { embedded.Close() }}, nil
	}
	o, err := reach.Options(where)
	return place{o, func() {}}, err
}
