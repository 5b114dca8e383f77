package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestWeb(t *testing.T) {
	server := redistest.Start(t)
	for name, args := range map[string][]string{"embedded": nil, "redis": {"-redis", server.Addr()}} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var stdout, stderr bytes.Buffer
			running, status := make(chan *shop, 1), make(chan int, 1)
			go func() { status <- run(ctx, append(args, "-listen", "127.0.0.1:0"), &stdout, &stderr, running) }()
			var s *shop
			select {
			case s = <-running:
			case <-status:
				t.Fatal(stderr.String())
			}
			other := redis.NewClient(&redis.Options{Addr: s.rdb.Options().Addr})
			defer other.Close()
			transport := new(http.Transport)
			defer transport.CloseIdleConnections()
			look := func(path, body, did string) {
				t.Helper()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, _ := io.ReadAll(resp.Body)
				if !strings.Contains(string(got), body) || !strings.HasPrefix(resp.Header.Get("Cache-Status"), "freshet; "+did) {
					t.Errorf("%s: %q, %q; want %q, %q", path, got, resp.Header.Get("Cache-Status"), body, did)
				}
			}
			write := func(id, value string) {
				t.Helper()
				if err := other.Set(ctx, s.keys+"product:"+id, value, 0).Err(); err != nil {
					t.Fatal(err)
				}
				fenced, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				if err := s.tracker.Fence(fenced); err != nil {
					t.Fatal(err)
				}
			}
			look("/products/42", "lamp: 10", "fwd=uri-miss")
			look("/products/42", "lamp: 10", "hit")
			look("/", "lamp: 10", "fwd=uri-miss")
			look("/", "lamp: 10", "hit")
			write("42", `{"name":"lamp","price":12}`)
			look("/products/42", "lamp: 12", "fwd=stale")
			look("/products/42", "lamp: 12", "hit")
			look("/", "lamp: 12", "fwd=stale")
			look("/products/41", "table", "fwd=uri-miss")
			write("42", `{"name":"lamp","price":13}`)
			look("/products/41", "table", "hit")
			look("/products/99", "no such product", "fwd=uri-miss")
			stop()
			if got := <-status; got != 0 {
				t.Errorf("status %d: %s", got, stderr.String())
			}
			if !strings.Contains(stdout.String(), "SET "+s.keys+"product:42") {
				t.Error(stdout.String())
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-redis", "nonsense"}, {"one", "more"}, {"-nonsense"}} {
		var out bytes.Buffer
		if got := run(t.Context(), args, &out, &out, nil); got != 2 {
			t.Errorf("%q: status %d, %s", args, got, out.String())
		}
	}
	var out bytes.Buffer
	if got := run(t.Context(), []string{"-redis", "127.0.0.1:1"}, &out, &out, nil); got != 1 || !strings.Contains(out.String(), "cannot be reached") {
		t.Errorf("status %d, %s", got, out.String())
	}
}
