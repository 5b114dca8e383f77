package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
)

// output is written by the program's goroutines and read by the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs the proxy in this process until the test ends.
func start(t *testing.T, args ...string) (base string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var stderr output
	listening, status := make(chan string, 1), make(chan int, 1)
	go func() { status <- run(ctx, append(args, "-listen", "127.0.0.1:0"), &stderr, listening) }()
	select {
	case addr := <-listening:
		t.Cleanup(func() {
			stop()
			if got := <-status; got != 0 {
				t.Errorf("status %d: %s", got, stderr.String())
			}
		})
		return "http://" + addr
	case <-status:
		stop()
		t.Fatal(stderr.String())
	}
	return ""
}

// Two proxies on one Redis: what a POST through one of them changes is gone from both.
func TestTwoProxies(t *testing.T) {
	var n atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Surrogate-Control", "max-age=60")
		if !strings.Contains(r.Header.Get("Surrogate-Capability"), "Surrogate/1.0") {
			t.Error("no Surrogate-Capability")
		}
		fmt.Fprint(w, n.Add(1))
	}))
	defer origin.Close()
	server := redistest.Start(t)
	one := start(t, "-origin", origin.URL, "-redis", server.Addr())
	two := start(t, "-origin", origin.URL, "-redis", server.Addr())
	do := func(method, base string) (body, did string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "shop.example" // both are the same host to their clients
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data), resp.Header.Get("Cache-Status")
	}
	for range 2 {
		do(http.MethodGet, one)
		do(http.MethodGet, two)
	}
	if body, did := do(http.MethodGet, one); body != "1" || !strings.Contains(did, "hit") {
		t.Errorf("%q, %q", body, did)
	}
	if body, did := do(http.MethodGet, two); body != "2" || !strings.Contains(did, "hit") {
		t.Errorf("%q, %q", body, did)
	}
	do(http.MethodPost, one)
	if body, did := do(http.MethodGet, one); body != "4" {
		t.Errorf("%q, %q", body, did)
	}
	for { // the other one hears of it: at once, and at most MaxStaleness later
		if body, _ := do(http.MethodGet, two); body == "5" {
			break
		} else if body != "2" {
			t.Fatal(body)
		}
	}
}

func TestOriginDown(t *testing.T) {
	origin := httptest.NewServer(nil)
	origin.Close()
	resp, err := http.Get(start(t, "-origin", origin.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Error(resp.Status)
	}
}

// An origin that breaks off the connection is answered for by what it said last, if that is allowed to be as old.
func TestOriginUnreachable(t *testing.T) {
	for _, c := range []struct {
		cc   string
		args []string
		want int
	}{
		{"max-age=10", nil, http.StatusOK},
		{"max-age=10, must-revalidate", nil, http.StatusBadGateway},
		{"max-age=10", []string{"-stale", "5s"}, http.StatusBadGateway},
		{"max-age=10", []string{"-stale", "0"}, http.StatusBadGateway},
		{"max-age=10, stale-if-error=60", []string{"-stale", "0"}, http.StatusOK},
	} {
		var broken atomic.Bool
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Cache-Control", c.cc)
			w.Header().Set("Age", "20")
			w.Header().Set("ETag", `"a"`)
		}))
		defer origin.Close()
		base := start(t, append(c.args, "-origin", origin.URL)...)
		for _, want := range []int{http.StatusOK, c.want} {
			resp, err := http.Get(base)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%+v: %s, %s", c, resp.Status, resp.Header.Get("Cache-Status"))
			}
			broken.Store(true)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-origin", "nonsense"}, {"-origin", "ftp://x"}, {"one", "more"}, {"-nonsense"}, {"-bytes", "-1"},
		{"-stale", "-1s"},
	} {
		var out output
		if got := run(t.Context(), args, &out, nil); got != 2 {
			t.Errorf("%q: status %d, %s", args, got, out.String())
		}
	}
	for what, args := range map[string][]string{
		"cannot be reached": {"-redis", "127.0.0.1:1"}, "-listen": {"-listen", "256.0.0.1:1"}, "-redis": {"-redis", "nonsense"},
	} {
		var out output
		if got := run(t.Context(), args, &out, nil); got != 1 || !strings.Contains(out.String(), what) {
			t.Errorf("%q: status %d, %s", args, got, out.String())
		}
	}
}
