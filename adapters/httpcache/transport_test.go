package httpcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func client(t *testing.T, opts Options, h http.HandlerFunc) (get func(method, path string, body io.Reader, fields ...string) (answer, error), c *Cache, origin *httptest.Server) {
	t.Helper()
	origin = httptest.NewServer(h)
	t.Cleanup(origin.Close)
	c = newCache(t, newTracker(t), opts)
	transport := origin.Client().Transport
	cl := &http.Client{Transport: c.Transport(transport)}
	return func(method, path string, body io.Reader, fields ...string) (answer, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, origin.URL+path, body)
		if err != nil {
			return answer{}, err
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		resp, err := cl.Do(r)
		if err != nil {
			return answer{}, err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return answer{resp, string(data)}, err
	}, c, origin
}

func TestTransport(t *testing.T) {
	n := 0
	get, c, origin := client(t, Options{Private: true}, func(w http.ResponseWriter, r *http.Request) {
		n++
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Cache-Control", "private, max-age=60, s-maxage=0, stale-if-error=600")
		w.Header().Set("Set-Cookie", "mine=1")
		if r.URL.Path == "/trailer" {
			w.Header().Set("Trailer", "X-Sum")
			defer w.Header().Set("X-Sum", "7")
		}
		fmt.Fprint(w, n, string(body))
	})
	want := func(method, path, body string, hit bool, fields ...string) answer {
		t.Helper()
		a, err := get(method, path, nil, fields...)
		if err != nil || a.body != body || a.hit() != hit {
			t.Fatalf("%s %s: %q, %v, hit %v", method, path, a.body, err, a.hit())
		}
		return a
	}
	want("GET", "/a", "1", false)
	want("GET", "/a", "1", true, "Authorization", "me")
	if a := want("HEAD", "/a", "", true); a.ContentLength != 1 {
		t.Error(a.ContentLength)
	}
	if a, err := get("POST", "/a", strings.NewReader("!")); err != nil || a.body != "2!" {
		t.Fatal(a.body, err)
	}
	want("GET", "/a", "3", false)
	want("GET", "/a", "3", true)
	if a := want("GET", "/trailer", "4", false); a.Trailer.Get("X-Sum") != "7" {
		t.Error(a.Trailer)
	}
	origin.Close()
	want("GET", "/a", "3", true)
	if _, err := get("GET", "/b", nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := get("GET", "/a", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// An origin that cannot be reached is an error that stale-if-error covers.
func TestTransportStandsIn(t *testing.T) {
	get, _, origin := client(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10, stale-if-error=60")
		w.Header().Set("Age", "20")
		io.WriteString(w, "old")
	})
	if _, err := get("GET", "/a", nil); err != nil {
		t.Fatal(err)
	}
	origin.Close()
	if a, err := get("GET", "/a", nil); err != nil || a.body != "old" || !a.hit() {
		t.Fatal(a, err)
	}
}

// A response that is cut short is an error to its reader, and nobody else gets it; a body that is closed early ends the
// exchange.
func TestTransportCutShort(t *testing.T) {
	gone := make(chan struct{}, 1)
	get, c, origin := client(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/short" {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			return
		}
		for r.Context().Err() == nil {
			io.WriteString(w, strings.Repeat("x", 1000))
			w.(http.Flusher).Flush()
		}
		gone <- struct{}{}
	})
	for range 2 {
		if a, err := get("GET", "/short", nil); err == nil {
			t.Errorf("%q", a.body)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, origin.URL+"/endless", nil)
	resp, err := c.Transport(http.DefaultTransport).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the origin was not told")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Transport(http.DefaultTransport).RoundTrip(r.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A RoundTrip whose context ends returns, though another waits for the response that it fetches. Seen to wait with the
// other without the look at its context.
func TestTransportLeaderLeaves(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	in, out := make(chan struct{}), make(chan struct{})
	rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		in <- struct{}{}
		select {
		case <-out:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: http.NoBody, Request: r}, nil
	}))
	trip := func(ctx context.Context) chan error {
		ended := make(chan error, 1)
		go func() {
			r, err := http.NewRequestWithContext(ctx, "GET", "http://h.example/", nil)
			if err == nil {
				var resp *http.Response
				if resp, err = rt.RoundTrip(r); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
			ended <- err
		}()
		return ended
	}
	ctx, leave := context.WithCancel(t.Context())
	first := trip(ctx)
	<-in
	second := trip(t.Context())
	eventually(t, "the second waits", func() bool { return c.waiting() == 1 })
	leave()
	select {
	case err := <-first:
		if err != context.Canceled {
			t.Errorf("the first was told %v", err)
		}
	case <-time.After(3 * time.Second): // the second waits for no more than MaxWait, five
		t.Error("the first is held up by the second")
	}
	close(out)
	if err := <-second; err != nil {
		t.Errorf("the second was told %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
