package ingest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// player stands where a Redis would: it lets a subscriber in, and then sends a
// recording as fast as the subscriber reads. It knows what the sides ask for
// when they connect, and nothing else: sending costs next to nothing.
type player struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu         sync.Mutex
	conns      []*peer
	subscriber *peer // the last that subscribed
}

// peer is one connection. Answers and events go out whole, one at a time.
type peer struct {
	net.Conn
	mu sync.Mutex
}

func (p *peer) say(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Write(b)
	return err
}

func newPlayer() (*player, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &player{listener: l}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *player) addr() string { return p.listener.Addr().String() }

func (p *player) close() error {
	err := p.listener.Close()
	p.cut()
	p.wg.Wait()
	return err
}

// cut ends what is being played.
func (p *player) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *player) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		c := &peer{Conn: conn}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *player) serve(c *peer) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		args, err := command(r)
		if err != nil {
			return
		}
		if strings.EqualFold(args[0], "PSUBSCRIBE") {
			p.mu.Lock()
			p.subscriber = c // before the confirmation, at which its owner has us play
			p.mu.Unlock()
		}
		if c.say([]byte(answer(args))) != nil {
			return
		}
	}
}

// command reads one; none that comes here holds a line break.
func command(r *bufio.Reader) ([]string, error) {
	line := func() (string, error) { l, err := r.ReadString('\n'); return strings.TrimSpace(l), err }
	head, err := line()
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(head, "*"))
	if err != nil || n < 1 || n > 1000 {
		return nil, fmt.Errorf("no command: %q", head)
	}
	args := make([]string, n)
	for i := range args {
		if _, err := line(); err != nil {
			return nil, err
		}
		if args[i], err = line(); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func answer(args []string) string {
	switch strings.ToUpper(args[0]) {
	case "HELLO":
		return "%4\r\n+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n+role\r\n+master\r\n"
	case "INFO":
		return bulk("# Server\r\nredis_version:7.0.0\r\nrun_id:player\r\n")
	case "CONFIG":
		return "*2\r\n" + bulk("notify-keyspace-events") + bulk("AKE")
	case "PING":
		if len(args) < 2 {
			return "+PONG\r\n"
		}
		return bulk(args[1])
	case "PSUBSCRIBE":
		var b strings.Builder
		for i, pattern := range args[1:] {
			fmt.Fprintf(&b, ">3\r\n%s%s:%d\r\n", bulk("psubscribe"), bulk(pattern), i+1)
		}
		return b.String()
	case "GET":
		return bulk("marker")
	}
	return "+OK\r\n"
}

// recording is a piece of a subscription's stream: whole messages.
type recording struct {
	bytes []byte
	ends  []int // where each message ends
}

// play sends n events to who subscribed last, the recording again and again.
func (p *player) play(rec *recording, n int) error {
	p.mu.Lock()
	c := p.subscriber
	p.mu.Unlock()
	if c == nil {
		return errors.New("nobody has subscribed")
	}
	for n > 0 {
		// A few hundred at a time, so that answers to pings get between them.
		for at := 0; at < len(rec.ends) && n > 0; {
			count := min(512, len(rec.ends)-at, n)
			from := 0
			if at > 0 {
				from = rec.ends[at-1]
			}
			if err := c.say(rec.bytes[from:rec.ends[at+count-1]]); err != nil {
				return err
			}
			at, n = at+count, n-count
		}
	}
	return nil
}

// subscription is a bare connection that has subscribed to every key.
type subscription struct {
	net.Conn
	r *bufio.Reader
}

const pattern = "__keyspace@0__:*"

func subscribe(addr string) (*subscription, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &subscription{conn, bufio.NewReaderSize(conn, 64<<10)}
	if _, err := io.WriteString(conn, "*2\r\n"+bulk("HELLO")+bulk("3")+"*2\r\n"+bulk("PSUBSCRIBE")+bulk(pattern)); err != nil {
		conn.Close()
		return nil, err
	}
	for { // the confirmation ends with how many patterns there are
		line, err := s.r.ReadString('\n')
		if err == nil && strings.HasPrefix(line, "-") {
			err = errors.New(strings.TrimSpace(line))
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		if strings.TrimSpace(line) == pattern {
			_, err := s.r.ReadString('\n')
			return s, err
		}
	}
}
