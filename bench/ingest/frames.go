package ingest

import (
	"bufio"
	"errors"
	"fmt"
)

var errFrame = errors.New("not a pub/sub message")

// frames reads pmessages and allocates nothing: what reading must cost, and no
// more.
type frames struct {
	r       *bufio.Reader
	channel []byte
}

// next returns a message's channel, good until the next call, and how many
// bytes the message took.
func (f *frames) next() (channel []byte, size int, err error) {
	head, err := f.r.ReadSlice('\n')
	if err != nil {
		return nil, 0, err
	}
	if len(head) < 4 || head[0] != '>' || head[1] != '4' {
		return nil, 0, fmt.Errorf("%w: %q", errFrame, head)
	}
	size = len(head)
	for part := range 4 { // "pmessage", pattern, channel, payload
		line, err := f.r.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		n, err := length(line)
		if err != nil {
			return nil, 0, err
		}
		size += len(line) + n + 2
		if part == 2 {
			b, err := f.r.Peek(n)
			if err != nil {
				return nil, 0, err
			}
			f.channel = append(f.channel[:0], b...)
		}
		if _, err := f.r.Discard(n + 2); err != nil {
			return nil, 0, err
		}
	}
	return f.channel, size, nil
}

// length is n of "$n\r\n".
func length(line []byte) (n int, err error) {
	if len(line) < 4 || line[0] != '$' {
		return 0, fmt.Errorf("%w: %q", errFrame, line)
	}
	for _, c := range line[1 : len(line)-2] {
		if c < '0' || c > '9' || n > 1<<20 {
			return 0, fmt.Errorf("%w: %q", errFrame, line)
		}
		n = 10*n + int(c-'0')
	}
	return n, nil
}
