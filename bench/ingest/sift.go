package ingest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// sifted is a connection of go-redis's from whose stream events are taken out
// on the way: it dials, logs in and subscribes as ever, and sees every other
// answer, but an event is parsed here, with one allocation for its channel.
// It shows what a reader of one's own would save.
type sifted struct {
	net.Conn
	f     frames
	tell  func(channel string)
	other []byte // what go-redis has not read yet of an answer that is no event
}

var eventHead = []byte(">4\r\n$8\r\npmessage\r\n")

// Read is called by one goroutine at a time. While only events come it does not return.
func (s *sifted) Read(b []byte) (int, error) {
	for len(s.other) == 0 {
		head, err := s.f.r.Peek(2)
		if err == nil && bytes.HasPrefix(eventHead, head) {
			// Whatever begins with >4 is longer than an event's head.
			head, err = s.f.r.Peek(len(eventHead))
		}
		switch {
		case err != nil:
			return 0, err
		case bytes.Equal(head, eventHead):
			channel, _, err := s.f.next()
			if err != nil {
				return 0, err
			}
			s.tell(string(channel))
		default:
			if s.other, err = answerBytes(s.f.r); err != nil {
				return 0, err
			}
		}
	}
	n := copy(b, s.other)
	s.other = s.other[n:]
	return n, nil
}

// answerBytes reads one whole answer of RESP3, whatever it is.
func answerBytes(r *bufio.Reader) (all []byte, err error) {
	for pending := 1; pending > 0; pending-- {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		all = append(all, line...)
		if len(line) < 3 {
			return nil, fmt.Errorf("%w: %q", errFrame, line)
		}
		kind, n := line[0], 0
		switch kind {
		case '$', '=', '!', '*', '~', '>', '%', '|':
			if n, err = strconv.Atoi(string(line[1 : len(line)-2])); err != nil || n > 1<<20 {
				return nil, fmt.Errorf("%w: %q", errFrame, line)
			}
		}
		switch kind {
		case '$', '=', '!':
			for left := n + 2; n >= 0 && left > 0; {
				piece, err := r.Peek(min(left, 512))
				if err != nil {
					return nil, err
				}
				all = append(all, piece...)
				left -= len(piece)
				if _, err := r.Discard(len(piece)); err != nil {
					return nil, err
				}
			}
		case '*', '~', '>':
			pending += max(0, n)
		case '%':
			pending += 2 * n
		case '|': // attributes come before what they belong to
			pending += 2*n + 1
		}
	}
	return all, nil
}

func openSifted(ctx context.Context, addr string, h *heard, _ bool) (*side, error) {
	rdb, sub, err := goRedis(ctx, &redis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &sifted{Conn: conn, f: frames{r: bufio.NewReaderSize(conn, 64<<10)}, tell: h.channel}, nil
	}})
	if err != nil {
		return nil, err
	}
	return receive(rdb, sub, h), nil
}
