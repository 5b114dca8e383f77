package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gofreshet/freshet/internal/leak"
)

func event(key string) string {
	return ">4\r\n" + bulk("pmessage") + bulk(pattern) + bulk("__keyspace@0__:"+key) + bulk("set")
}

func TestFrames(t *testing.T) {
	stream := event("a") + event("") + event("b\r\n$3\r\nx")
	f := &frames{r: bufio.NewReader(iotest.OneByteReader(strings.NewReader(stream)))}
	total := 0
	for _, want := range []string{"a", "", "b\r\n$3\r\nx"} {
		c, n, err := f.next()
		if err != nil || string(c) != "__keyspace@0__:"+want {
			t.Fatalf("%q, %v, want %q", c, err, want)
		}
		total += n
	}
	if _, _, err := f.next(); err != io.EOF || total != len(stream) {
		t.Errorf("%v after %d of %d bytes", err, total, len(stream))
	}
	for _, bad := range []string{"+OK\r\n", "*3\r\n$7\r\nmessage\r\n", ">4\r\n+pmessage\r\n", ">4\r\n$x\r\n", ">4\r\n$99999999999999999999\r\n", ">4\r\n$\r\n", "\r\n"} {
		if _, _, err := (&frames{r: bufio.NewReader(strings.NewReader(bad))}).next(); !errors.Is(err, errFrame) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// sift gives what is taken out of a stream, and what is left of it.
func sift(r io.Reader) (events []string, other []byte, err error) {
	s := &sifted{f: frames{r: bufio.NewReader(r)}, tell: func(c string) { events = append(events, c) }}
	other, err = io.ReadAll(readerOnly{s})
	return events, other, err
}

// readerOnly hides a nil net.Conn's methods.
type readerOnly struct{ io.Reader }

// Events are taken out, and every other byte passes unchanged, however the stream is cut into reads.
func TestSifted(t *testing.T) {
	long := strings.Repeat("x", 5000)
	others := []string{
		"+OK\r\n", ":1\r\n", "_\r\n", "#t\r\n", "$-1\r\n", bulk(""), bulk(long), "*0\r\n", "*-1\r\n",
		">3\r\n" + bulk("psubscribe") + bulk(pattern) + ":1\r\n", ">4\r\n" + bulk("somewhat") + bulk("a") + bulk("b") + bulk("c"), ">2\r\n" + bulk("invalidate") + "_\r\n",
		"%1\r\n+a\r\n*2\r\n:1\r\n" + bulk("b") + "", "|1\r\n+ttl\r\n:3\r\n+value\r\n", "=7\r\ntxt:abc\r\n",
	}
	var stream, want strings.Builder
	for i, o := range others {
		stream.WriteString(event(fmt.Sprint(i)) + o)
		want.WriteString(o)
	}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(stream.String()), "bytes": iotest.OneByteReader(strings.NewReader(stream.String()))} {
		events, other, err := sift(r)
		if err != nil || string(other) != want.String() {
			t.Errorf("%s: %v, left %q\nwant %q", name, err, other, want.String())
		}
		if len(events) != len(others) || events[3] != "__keyspace@0__:3" {
			t.Errorf("%s: events %q", name, events)
		}
	}
}

// FuzzSifted: whatever a server sends, no byte is made up, and nothing panics.
func FuzzSifted(f *testing.F) {
	f.Add([]byte(event("k") + "+OK\r\n" + event("l")))
	f.Add([]byte("%1\r\n*0\r\n+x\r\n|1\r\n+a\r\n:1\r\n$3\r\nabc\r\n"))
	f.Add([]byte(">4\r\n$8\r\npmessage\r\n$-1\r\n*99999999\r\n%-3\r\n$9223372036854775807\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, other, _ := sift(bytes.NewReader(b))
		if len(other) > len(b) || len(events) > len(b)/len(eventHead) {
			t.Errorf("%d bytes gave %d events and %d bytes", len(b), len(events), len(other))
		}
	})
}

// The player sends so many events, over and over the recording, and each is whole.
func TestPlayer(t *testing.T) {
	leak.Check(t)
	rec := &recording{}
	for i := range 700 {
		rec.bytes = append(rec.bytes, event(strings.Repeat("k", i%40))...)
		rec.ends = append(rec.ends, len(rec.bytes))
	}
	p, err := newPlayer()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.play(rec, 1); err == nil {
		t.Error("it plays to nobody")
	}
	s, err := subscribe(p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 2*700 + 513
	played := make(chan error, 1)
	go func() { played <- p.play(rec, n) }()
	f := &frames{r: s.r}
	for i := range n {
		c, _, err := f.next()
		if want := "__keyspace@0__:" + strings.Repeat("k", i%700%40); err != nil || string(c) != want {
			t.Fatalf("%d: %q, %v, want %q", i, c, err, want)
		}
	}
	if err := <-played; err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(s, "*1\r\n"+bulk("PING")); err != nil {
		t.Fatal(err)
	}
	if line, err := s.r.ReadString('\n'); line != "+PONG\r\n" || err != nil {
		t.Errorf("%q, %v: more was played than asked for", line, err)
	}
}

// What is no command ends the connection.
func TestPlayerRefuses(t *testing.T) {
	leak.Check(t)
	p, err := newPlayer()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "*-1\r\n", "*99999999\r\n"} {
		conn, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, b)
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%q is answered %q", b, got)
		}
		conn.Close()
	}
	if got := answer([]string{"PING", "x"}); got != bulk("x") || answer([]string{"CLIENT", "ID"}) != "+OK\r\n" {
		t.Errorf("%q", got)
	}
}
