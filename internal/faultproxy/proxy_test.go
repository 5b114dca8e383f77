package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
)

// echo is a server that sends back what it reads, after prefix.
func echo(t *testing.T, prefix string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				io.WriteString(conn, prefix)
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

type client struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, p *Proxy) client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, conn}
}

func (c client) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) hears(want string) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		c.t.Fatalf("heard %q, %v; want %q", got[:n], err, want)
	}
}

// hearsNothing waits a moment: silence cannot be proved, only not be broken meanwhile.
func (c client) hearsNothing() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	var b [64]byte
	if n, err := c.Read(b[:]); n > 0 || !errors.Is(err, errTimeout) {
		c.t.Fatalf("heard %q, %v; want silence", b[:n], err)
	}
}

func (c client) ends(want error) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var b [1]byte
	if n, err := c.Read(b[:]); n != 0 || !errors.Is(err, want) {
		c.t.Fatalf("read %q, %v; want %v", b[:n], err, want)
	}
}

// refused is reset while it dials or soon after.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		client{t, conn}.ends(syscall.ECONNRESET)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

var errTimeout = os.ErrDeadlineExceeded

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestPassesBytes(t *testing.T) {
	leak.Check(t)
	p := New(t, echo(t, "hello "))
	c := dial(t, p)
	c.hears("hello ")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, many reads
	go c.Write(big)
	c.hears(string(big))
	if n := p.Conns(); n != 1 {
		t.Errorf("Conns() = %d", n)
	}
	c.Conn.(*net.TCPConn).CloseWrite()
	c.ends(io.EOF)
	eventually(t, "no links", func() bool { return p.Conns() == 0 })
}

func TestHold(t *testing.T) {
	leak.Check(t)
	for _, d := range []Direction{ToServer, ToClient} {
		p := New(t, echo(t, ""))
		c := dial(t, p)
		c.say("a")
		c.hears("a")
		p.Hold(d)
		c.say("b")
		c.hearsNothing()
		c.say("c")
		c.Conn.(*net.TCPConn).CloseWrite()
		c.hearsNothing()
		late := dial(t, p) // links to come are held too
		late.say("z")
		late.hearsNothing()
		p.Release(d)
		c.hears("bc")
		c.ends(io.EOF) // the end waited behind the bytes
		late.hears("z")
	}
}

func TestHoldStallsSender(t *testing.T) {
	p := New(t, echo(t, ""))
	c := dial(t, p)
	p.Hold(ToServer)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := c.Write(make([]byte, 64<<20))
	if !errors.Is(err, errTimeout) {
		t.Errorf("wrote %d bytes to a held link: %v", n, err)
	}
}

func TestHoldAt(t *testing.T) {
	leak.Check(t)
	p := New(t, echo(t, ""))
	c, other := dial(t, p), dial(t, p)
	seen := p.HoldAt(ToClient, "mark")
	c.say("before,mark,after")
	c.hears("before,")
	<-seen
	c.hearsNothing()
	other.say("other links go on")
	other.hears("other links go on")
	p.Release(ToClient)
	again := p.HoldAt(ToClient, "mark")
	c.hears("mark,after") // that occurrence has had its turn
	c.hearsNothing()
	c.say(" mark")
	<-again
	c.hears(" ")
	c.hearsNothing()
	p.Release(ToClient)
	c.hears("mark")
}

func TestHoldAtAcrossReads(t *testing.T) {
	p := New(t, echo(t, ""))
	c := dial(t, p)
	seen := p.HoldAt(ToClient, "mark")
	c.say("mamama")
	c.hears("mamama")
	c.say("rk")
	<-seen
	c.hearsNothing()
	p.Release(ToClient)
	c.hears("rk")
}

func TestDrop(t *testing.T) {
	leak.Check(t)
	for _, d := range []Direction{ToServer, ToClient} {
		p := New(t, echo(t, ""))
		c := dial(t, p)
		c.say("a")
		c.hears("a")
		p.Drop(d)
		c.say("b")
		c.hearsNothing()
		during := dial(t, p)
		during.say("c")
		during.hearsNothing()
		p.Pass()
		after := dial(t, p)
		after.say("d")
		after.hears("d")
		c.say("e")
		c.hearsNothing() // links that lost bytes stay broken
		during.say("f")
		during.hearsNothing()
	}
}

// A client that goes away behind a black hole is not missed: the server's end stays open.
func TestDropHidesTheEnd(t *testing.T) {
	p := New(t, echo(t, ""))
	c := dial(t, p)
	c.say("a")
	c.hears("a")
	p.Drop(ToServer)
	c.Close()
	gone := dial(t, p)
	gone.Conn.(*net.TCPConn).CloseWrite()
	gone.hearsNothing() // echo would have closed it
	if n := p.Conns(); n != 2 {
		t.Errorf("Conns() = %d, want 2", n)
	}
}

func TestTrickle(t *testing.T) {
	p := New(t, echo(t, ""))
	c := dial(t, p)
	p.Trickle(ToClient, 3, time.Hour)
	c.say("abcdefgh")
	c.hears("abc")
	c.hearsNothing()
	p.Trickle(ToClient, 2, time.Millisecond)
	c.hears("defgh")
	p.Trickle(ToClient, 1, time.Hour)
	c.say("ij")
	c.hearsNothing() // an hour after the last byte, not after the last fault
	p.Pass()
	c.hears("ij")
}

func TestDelay(t *testing.T) {
	p := New(t, echo(t, ""))
	c := dial(t, p)
	const delay = 30 * time.Millisecond
	p.Delay(ToServer, delay)
	p.Delay(ToClient, delay)
	start := time.Now()
	c.say("a")
	c.hears("a")
	if took := time.Since(start); took < 2*delay {
		t.Errorf("round trip took %v, want at least %v", took, 2*delay)
	}
	p.Delay(ToServer, time.Hour)
	c.say("b")
	c.hearsNothing()
	p.Pass()
	c.hears("b")
}

func TestCut(t *testing.T) {
	leak.Check(t)
	p := New(t, echo(t, ""))
	for how, want := range map[How]error{RST: syscall.ECONNRESET, FIN: io.EOF} {
		c := dial(t, p)
		c.say("a")
		c.hears("a")
		p.Hold(ToClient) // bytes under way are lost with the link
		c.say("b")
		p.Cut(how)
		p.Release(ToClient)
		c.ends(want)
		if n := p.Conns(); n != 0 {
			t.Errorf("Conns() after Cut = %d", n)
		}
		again := dial(t, p)
		again.say("c")
		again.hears("c")
		p.Cut(RST)
	}
}

func TestRefuse(t *testing.T) {
	leak.Check(t)
	p := New(t, echo(t, ""))
	old := dial(t, p)
	old.say("a")
	old.hears("a")
	p.Refuse()
	refused(t, p)
	old.say("b")
	old.hears("b")
	p.Accept()
	c := dial(t, p)
	c.say("c")
	c.hears("c")
}

func TestSetTarget(t *testing.T) {
	p := New(t, echo(t, "one "))
	c := dial(t, p)
	c.hears("one ")
	p.SetTarget(echo(t, "two "))
	c.say("still one")
	c.hears("still one")
	dial(t, p).hears("two ")
	p.SetTarget("127.0.0.1:1") // nobody there
	refused(t, p)
}

func TestHaving(t *testing.T) {
	p := New(t, echo(t, ""))
	early, plain := dial(t, p), dial(t, p)
	early.say("PSubscribe *")
	early.hears("PSubscribe *")
	subs := p.Having("psubscribe")
	if n := subs.Conns(); n != 1 {
		t.Errorf("Conns() of what was sent before = %d", n)
	}
	subs.Hold(ToClient)
	late := dial(t, p)
	late.say("x")
	late.hears("x")
	late.say("psub") // in pieces
	late.hears("psub")
	late.say("scribe")
	late.hearsNothing()
	early.say("e")
	early.hearsNothing()
	plain.say("p")
	plain.hears("p")
	if n, all := subs.Conns(), p.Conns(); n != 2 || all != 3 {
		t.Errorf("Conns() = %d of %d, want 2 of 3", n, all)
	}
	p.Having("PSUBSCRIBE").Release(ToClient) // the same selection
	late.hears("scribe")
	early.hears("e")
	subs.Cut(RST)
	late.ends(syscall.ECONNRESET)
	plain.say("q")
	plain.hears("q")
	subs.Drop(ToServer)
	dropped := dial(t, p)
	dropped.say("psubscribe")
	dropped.hearsNothing()
}

func TestCloseEndsHeldAndSilentLinks(t *testing.T) {
	leak.Check(t)
	p := New(t, echo(t, ""))
	held, lost, slow := dial(t, p), dial(t, p), dial(t, p)
	p.Having("held").Hold(ToServer)
	p.Having("lost").Drop(ToClient)
	p.Having("slow").Delay(ToServer, time.Hour)
	held.say("held")
	lost.say("lost")
	slow.say("slow")
	eventually(t, "links", func() bool { return p.Having("slow").Conns() == 1 })
	p.Close()
	p.Close()
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy takes connections")
	}
}
