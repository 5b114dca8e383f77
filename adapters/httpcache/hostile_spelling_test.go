package httpcache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// said sends one request as its bytes stand, which no client of net/http's would, and reports whether memory answered.
func (s *site) said(request, host string) (hit bool) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", request, host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(request, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatal(request, err)
	}
	return answer{Response: resp}.hit()
}

// One resource has many spellings: each keeps a response of its own, and all fall together. Seen to fail with the name
// made of origin and target as they were sent.
func TestSpellingsFallTogether(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		fresh(w)
		w.Header().Set("Content-Location", r.Header.Get("X-Location"))
	})
	kept := func(target, host string) {
		t.Helper()
		s.said("GET "+target, host)
		if !s.said("GET "+target, host) {
			t.Fatalf("%s%s is not kept", host, target)
		}
	}
	for target, purged := range map[string]string{
		"/a|b":           "http://h.example/a|b", // net/url writes %7C
		`/a"b`:           `http://h.example/a"b`,
		"/ü":             "http://h.example/ü",
		"/%C3%BC/x":      "http://h.example/ü/x",
		"/a(1)":          "http://h.example/a%281%29",
		"/%7Eme?q=%7e|":  "http://H.Example:80/~me?q=~%7C",
		"/lone%25?q=%zz": "http://h.example:/lone%25?q=%zz",
	} {
		kept(target, "h.example")
		u, err := url.Parse(purged)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.c.Purge(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if s.said("GET "+target, "h.example") {
			t.Errorf("%s is served after Purge of %s", target, purged)
		}
	}
	for _, unsafe := range []struct{ target, host string }{
		{"/a~", "h.example:80"}, {"/a%7e", "H.example"}, {"/a%7E", "h.example:80"},
	} {
		kept("/a~", "h.example")
		s.said("POST "+unsafe.target, unsafe.host)
		if s.said("GET /a~", "h.example") {
			t.Errorf("/a~ is served after POST to %s%s", unsafe.host, unsafe.target)
		}
	}
	kept("/list", "h.example:80")
	s.said("POST /other HTTP/1.1\r\nX-Location: http://h.example/list\r\nX-Rest:", "h.example:80")
	if s.said("GET /list", "h.example:80") {
		t.Error("/list is served after a Content-Location without the port")
	}
	for _, other := range []string{"https://h.example:80/x", "http://h.example:443/x", "http://h.example:8080/x"} {
		u, err := url.Parse(other)
		if err != nil {
			t.Fatal(err)
		}
		if URLTag(u) == urlTag("http://h.example", "/x") {
			t.Errorf("%s falls with http://h.example/x", other)
		}
	}
}
