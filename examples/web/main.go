// Command web is a small shop: pages made of Redis values, kept in memory, new as soon as the news of a write has come,
// which takes a few milliseconds at most where nothing is overloaded.
//
//	go run ./examples/web                        needs nothing: the Redis is in the process
//	go run ./examples/web -redis localhost:6379  on yours, under keys of its own that are removed after
//
// Then, in another terminal, look at a page twice, change the product as any program in any language would, and look
// again (the program prints these lines with the right port and key):
//
//	curl -i http://127.0.0.1:8081/products/42    Cache-Status: freshet; fwd=uri-miss; stored
//	curl -i http://127.0.0.1:8081/products/42    Cache-Status: freshet; hit; ttl=59
//	redis-cli SET <key> '{"name":"lamp","price":12}'
//	curl -i http://127.0.0.1:8081/products/42    Cache-Status: freshet; fwd=stale; stored; detail=fallen
//
// The handlers know nothing of the page cache. Read shop.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gofreshet/freshet/adapters/httpcache"
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
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, nil))
}

// run is the program: 0 when it was stopped, 1 when it could not serve, 2 for bad flags. running, if not nil, is told.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, running chan<- *shop) int {
	fail := func(status int, why ...any) int {
		fmt.Fprintln(stderr, append([]any{"web:"}, why...)...)
		return status
	}
	fs := flag.NewFlagSet("web", flag.ContinueOnError)
	fs.SetOutput(stderr)
	listen := fs.String("listen", "127.0.0.1:8081", "`host:port` to listen on")
	where := fs.String("redis", "", "`host:port`, or redis://user:password@host:port/db; default: one in this process")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		return fail(2, fmt.Sprintf("%q is one argument too many", fs.Arg(0)))
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

	s := &shop{keys: "freshet:web:" + rand.Text()[:8] + ":", log: slog.New(slog.NewTextHandler(stderr, nil))}
	defer s.tearDown()
	if err := s.setUp(ctx, server); err != nil {
		return fail(1, reach.Explain(server.Addr, err))
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fail(1, "-listen:", err)
	}
	s.addr = listener.Addr().String()
	fmt.Fprintf(stdout, guide, s.addr, server.Addr, s.keys)
	if running != nil {
		running <- s
	}
	srv := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(ctx)
	}()
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fail(1, err)
	}
	if err := <-stopped; err != nil {
		return fail(1, err)
	}
	return 0
}

const guide = `The shop is open at http://%[1]s

  curl -i http://%[1]s/products/42      Cache-Status: freshet; fwd=uri-miss; stored
  curl -i http://%[1]s/products/42      Cache-Status: freshet; hit; ttl=...
  redis-cli -u redis://%[2]s SET %[3]sproduct:42 '{"name":"lamp","price":12}'
  curl -i http://%[1]s/products/42      Cache-Status: freshet; fwd=stale; stored; detail=fallen

`

// product is what Redis holds as JSON.
type product struct {
	Name  string `json:"name"`
	Price int    `json:"price"`
}

// shop is the application.
type shop struct {
	keys string // the prefix of every key that is written
	addr string
	log  *slog.Logger

	rdb      *redis.Client
	tracker  *invalidate.Tracker
	products *cache.Cache[string, product]
	pages    *httpcache.Cache
}

// setUp is what an application does at its start, the assortment aside.
func (s *shop) setUp(ctx context.Context, server *redis.Options) (err error) {
	s.rdb = redis.NewClient(server)
	s.tracker, err = invalidate.Connect(ctx, s.rdb, invalidate.Options{
		Notify: notify.Options{Prefixes: []string{s.keys}, Namespace: s.keys},
	})
	if err != nil {
		return err
	}
	s.products, err = rediscache.New(s.tracker, s.rdb, rediscache.JSON[product](), cache.Options[string, product]{
		Prefix: s.keys + "product:", MaxEntries: 10_000,
	})
	if err != nil {
		return err
	}
	// A page that says nothing of its freshness is kept for a minute, if it is made of something that would tell of a
	// change. Browsers are told nothing, so they ask each time.
	if s.pages, err = httpcache.New(s.tracker, httpcache.Options{Recorded: time.Minute}); err != nil {
		return err
	}
	for id, p := range map[string]product{"41": {"table", 120}, "42": {"lamp", 10}, "43": {"chair", 45}} {
		data, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if err := s.rdb.Set(ctx, s.keys+"product:"+id, data, 0).Err(); err != nil {
			return err
		}
	}
	return s.tracker.Fence(ctx) // lest the news of the assortment make the first pages fall
}

func (s *shop) tearDown() {
	if s.pages != nil {
		s.pages.Close()
	}
	if s.products != nil {
		s.products.Close()
	}
	if s.tracker != nil {
		s.tracker.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the run's own has ended
	defer cancel()
	s.rdb.Del(ctx, s.keys+"product:41", s.keys+"product:42", s.keys+"product:43", s.keys+"marker")
	s.rdb.Close()
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", s.product)
	mux.HandleFunc("GET /{$}", s.list)
	return s.pages.Handler(mux)
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Shop</title>
{{range .}}<p>{{.Name}}: {{.Price}} €</p>
{{end}}`))

// product is one product's page: it falls with one key.
func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	p, err := s.products.Get(r.Context(), r.PathValue("id"))
	s.answer(w, []product{p}, err)
}

// list is made of three products: it falls with any of them.
func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	var all []product
	for _, id := range []string{"41", "42", "43"} {
		p, err := s.products.Get(r.Context(), id)
		if err != nil {
			s.answer(w, nil, err)
			return
		}
		all = append(all, p)
	}
	s.answer(w, all, nil)
}

func (s *shop) answer(w http.ResponseWriter, products []product, err error) {
	switch {
	case errors.Is(err, redis.Nil):
		http.Error(w, "no such product", http.StatusNotFound) // also kept: it falls when somebody makes it
	case err != nil:
		s.log.Error("a page could not be made", "err", err)
		http.Error(w, "the shop is closed", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, products) // a client that has left
	}
}
