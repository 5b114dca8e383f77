package notify

import (
	"bytes"
	"context"
	"net"
	"sync"
	"syscall"
)

// gate is a Dialer that can keep a listener from hearing some servers, or from some of what they say.
type gate struct {
	mu   sync.Mutex
	shut func(addr string, sent []byte) bool // whether a connection to addr on which sent was written is dead; nil: none
	all  []*gatedConn
}

// Shut kills the connections of which dead is true, those to come too; nil opens the gate.
func (g *gate) Shut(dead func(addr string, sent []byte) bool) {
	g.mu.Lock()
	g.shut = dead
	all := g.all
	g.mu.Unlock()
	for _, c := range all {
		c.check()
	}
}

func (g *gate) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &gatedConn{Conn: conn, g: g, addr: addr}
	g.mu.Lock()
	g.all = append(g.all, c)
	g.mu.Unlock()
	if c.check() {
		return nil, syscall.ECONNREFUSED
	}
	return c, nil
}

type gatedConn struct {
	net.Conn
	g    *gate
	addr string

	mu   sync.Mutex
	sent []byte
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, bytes.ToLower(b)...)
	c.mu.Unlock()
	if c.check() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// check closes c if it is dead.
func (c *gatedConn) check() bool {
	c.g.mu.Lock()
	shut := c.g.shut
	c.g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if shut == nil || !shut(c.addr, c.sent) {
		return false
	}
	c.Conn.Close()
	return true
}
