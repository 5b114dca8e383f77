package notifytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The limits of Redis on what one request may claim.
const (
	maxArgs   = 1 << 20
	maxBulk   = 512 << 20
	maxInline = 64 << 10
)

// protocolError is told to the client before its connection is closed.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// readRequest reads one command: an array of bulk strings, or a line of words.
// An empty request gives no words and no error.
func readRequest(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "*") {
		return strings.Fields(line), nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n > maxArgs {
		return nil, protocolError("invalid multibulk length")
	}
	var args []string // grows with what arrives, not with what is claimed
	for range n {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(line, "$") {
			return nil, protocolError(fmt.Sprintf("expected '$', got %.1q", line))
		}
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 || size > maxBulk {
			return nil, protocolError("invalid bulk length")
		}
		var b bytes.Buffer
		if _, err := io.CopyN(&b, r, int64(size)); err != nil {
			return nil, err
		}
		if _, err := r.Discard(2); err != nil {
			return nil, err
		}
		args = append(args, b.String())
	}
	return args, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", protocolError("too big inline request")
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// reply is what miniredis answered, RESP2 or RESP3, as far as events depend on it.
type reply struct {
	kind  byte   // the first byte; '_' for every kind of null
	n     int    // of an integer
	text  string // of a string or an error
	elems []reply
}

// some says whether the reply is an integer above zero, a string, or an array that is not empty.
func (r reply) some() bool {
	switch r.kind {
	case ':':
		return r.n > 0
	case '*', '~', '%', '>':
		return len(r.elems) > 0
	}
	return r.kind != '_' && r.kind != '-'
}

// parseReply reads what miniredis wrote; b is trusted to be whole and well formed.
func parseReply(b []byte) reply {
	r, _ := parseOne(b)
	return r
}

func parseOne(b []byte) (reply, []byte) {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	if len(line) == 0 {
		return reply{kind: '_'}, nil
	}
	r := reply{kind: line[0], text: string(line[1:])}
	r.n, _ = strconv.Atoi(r.text)
	switch r.kind {
	case '$':
		if r.n < 0 {
			return reply{kind: '_'}, rest
		}
		r.text = string(rest[:r.n])
		rest = rest[r.n+2:]
	case '*', '~', '%', '>':
		if r.n < 0 {
			return reply{kind: '_'}, rest
		}
		n := r.n
		if r.kind == '%' {
			n *= 2
		}
		for range n {
			var e reply
			e, rest = parseOne(rest)
			r.elems = append(r.elems, e)
		}
	}
	return r, rest
}
