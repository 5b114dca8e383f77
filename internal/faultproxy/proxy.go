// Package faultproxy is a TCP proxy in front of a real server, whose link a test makes silent, slow or broken.
//
// A client's connection and the one made for it to the target are a [link]. What arrives at one end waits there for
// as long as a fault says so and goes out at the other, in order. Faults are set per direction, for all links or,
// by [Proxy.Having], for those in which the client has sent a given string: "psubscribe" tells a subscription from
// the data connections beside it. They hold for links that exist and for those to come.
//
// A fault counts for every byte that reaches the proxy after the call that sets it has returned; what was there
// already may still pass.
package faultproxy

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Direction is one of a link's two streams.
type Direction int

const (
	ToServer Direction = iota // what the client sends
	ToClient                  // what the server sends
)

// How says what a peer sees of a cut.
type How int

const (
	RST How = iota // "connection reset by peer"
	FIN            // an orderly end of stream, perhaps in the middle of a message
)

// Proxy passes connections on to a target. Its own methods set faults for all links; see [Links].
type Proxy struct {
	Links

	t        testing.TB
	listener net.Listener
	ctx      context.Context // ends with Close; stops dials
	cancel   context.CancelFunc
	wg       sync.WaitGroup // the accept loop and every link

	mu       sync.Mutex
	target   string
	refusing bool
	links    map[*link]struct{}
	rules    map[string]*rule // by selector, lower case; "" selects all
	changed  chan struct{}    // closed and replaced whenever something above or a link's flags change
}

// rule is the faults of one selector.
type rule [2]fault

type fault struct {
	hold   bool
	drop   bool
	marker []byte        // hold from here on; nil for none
	since  time.Time     // what arrived earlier is not searched for the marker
	seen   chan struct{} // closed when a link is held at the marker, then nil
	delay  time.Duration
	bytes  int // at most so many per every; 0 for no limit
	every  time.Duration
}

func (f *fault) sight() {
	if f.seen != nil {
		close(f.seen)
		f.seen = nil
	}
}

// New starts a proxy on a free loopback port. It ends, and its links are reset, at the test's end.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	return NewAt(t, "127.0.0.1", target)
}

// NewAt is New on a free port of host, an address of this machine such as ::1.
func NewAt(t testing.TB, host, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatalf("faultproxy: %v", err)
	}
	p := &Proxy{
		t: t, listener: listener, target: target,
		links:   make(map[*link]struct{}),
		rules:   map[string]*rule{"": {}},
		changed: make(chan struct{}),
	}
	p.Links = Links{p: p}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr is the host:port that clients dial.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget sends new connections to another address. Links that exist stay where they are.
func (p *Proxy) SetTarget(addr string) {
	p.update(func() { p.target = addr })
}

// Refuse resets new connections as soon as they are made: the client's dial fails, or its first read. Links that exist stay.
func (p *Proxy) Refuse() {
	p.update(func() { p.refusing = true })
}

// Accept ends Refuse.
func (p *Proxy) Accept() {
	p.update(func() { p.refusing = false })
}

// Close refuses new connections, resets every link and waits for their goroutines. It may be called twice.
func (p *Proxy) Close() {
	p.cancel()
	p.listener.Close()
	p.Cut(RST)
	p.wg.Wait()
}

// update changes what links look at, and has them look again.
func (p *Proxy) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil {
				return
			}
			p.t.Errorf("faultproxy: accept: %v", err)
			return
		}
		p.wg.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

// serve connects client to the target and passes bytes until both streams have ended.
func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	target, refusing := p.target, p.refusing
	p.mu.Unlock()
	if refusing {
		reset(client)
		return
	}
	conn, err := new(net.Dialer).DialContext(p.ctx, "tcp", target)
	if err != nil {
		reset(client) // as a client sees a server that is down
		return
	}
	l := newLink(p, client, conn.(*net.TCPConn))
	if !p.add(l) {
		reset(client)
		conn.Close()
		return
	}
	defer p.remove(l)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(l.streams[ToServer].pass)
	l.streams[ToClient].pass()
}

// add is false when the proxy was closed or began to refuse meanwhile: no Cut would find the link.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || p.refusing {
		return false
	}
	p.links[l] = struct{}{}
	l.match(p.rules[""])
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	for _, s := range l.streams {
		s.src.Close()
	}
}

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}
