package notifytest

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"
)

// maxQueued is how much a client may leave unread before it is disconnected,
// as Redis's client-output-buffer-limit does with a subscriber.
const maxQueued = 32 << 20

// conn is one client. Three goroutines serve it: read parses requests, serve
// executes them, write sends what is queued. kill ends all three.
type conn struct {
	s        *Server
	id       int64
	nc       net.Conn
	since    time.Time
	requests chan []string
	badInput error // why read ended; read by serve once requests is closed
	gone     chan struct{}
	killOnce sync.Once

	// Guarded by Server.mu.
	x         *session
	name      string
	lib       [2]string // what CLIENT SETINFO gave: LIB-NAME, LIB-VER
	last      string    // the last command, for CLIENT LIST
	tracking  bool
	channels  []string // in order of subscription
	patterns  []string
	multi     bool
	queued    [][]string
	aborted   bool           // a queued command was refused: EXEC will be
	watched   map[dbKey]bool // by WATCH
	touched   bool           // a watched key has changed
	executing bool           // pushes to this very client wait for the end of its reply
	leaving   bool           // has said QUIT: its connection ends behind the reply
	deferred  []byte

	out struct {
		sync.Mutex
		ready  sync.Cond
		buf    []byte
		hangUp bool // close when buf is sent
		dead   bool
	}
}

func newConn(s *Server, id int64, nc net.Conn) *conn {
	c := &conn{s: s, id: id, nc: nc, since: time.Now(), requests: make(chan []string), gone: make(chan struct{})}
	c.out.ready.L = &c.out
	c.x = newSession(s, c)
	return c
}

func (c *conn) read() {
	defer close(c.requests)
	r := bufio.NewReaderSize(c.nc, maxInline)
	for {
		args, err := readRequest(r)
		if err != nil {
			if _, ok := errors.AsType[protocolError](err); ok {
				c.badInput = err
			} else {
				c.kill()
			}
			return
		}
		if len(args) == 0 {
			continue
		}
		select {
		case c.requests <- args:
		case <-c.gone:
			return
		}
	}
}

func (c *conn) serve() {
	defer c.leave()
	for args := range c.requests {
		c.s.run(c, args)
	}
	if c.badInput != nil {
		c.queue([]byte("-ERR " + c.badInput.Error() + "\r\n"))
		c.hangUp()
	}
	<-c.gone
}

func (c *conn) leave() {
	c.s.mu.Lock()
	delete(c.s.conns, c.id)
	c.s.mu.Unlock()
}

func (c *conn) write() {
	defer c.kill()
	var sending []byte
	for {
		c.out.Lock()
		for len(c.out.buf) == 0 && !c.out.hangUp && !c.out.dead {
			c.out.ready.Wait()
		}
		if c.out.dead || len(c.out.buf) == 0 {
			c.out.Unlock()
			return
		}
		sending, c.out.buf = c.out.buf, sending[:0]
		c.out.Unlock()
		if _, err := c.nc.Write(sending); err != nil {
			return
		}
	}
}

// queue appends b to what will be sent. It never waits: a client that does not
// read holds up nobody, and is dropped when too much waits for it.
func (c *conn) queue(b []byte) {
	c.out.Lock()
	over := len(c.out.buf)+len(b) > maxQueued
	if !over {
		c.out.buf = append(c.out.buf, b...)
		c.out.ready.Signal()
	}
	c.out.Unlock()
	if over {
		c.kill()
	}
}

// push is queue for what the client did not ask for. Server.mu is held.
func (c *conn) push(b []byte) {
	if c.executing {
		c.deferred = append(c.deferred, b...)
		return
	}
	c.queue(b)
}

// hangUp closes the connection once everything queued has been sent.
func (c *conn) hangUp() {
	c.out.Lock()
	c.out.hangUp = true
	c.out.ready.Signal()
	c.out.Unlock()
}

// kill closes the connection at once. It never blocks and may be called twice.
func (c *conn) kill() {
	c.killOnce.Do(func() {
		close(c.gone)
		c.out.Lock()
		c.out.dead = true
		c.out.ready.Signal()
		c.out.Unlock()
		_ = c.nc.Close()
	})
}
