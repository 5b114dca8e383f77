// Package trace reads recorded sequences of cache keys, as published by others,
// for replays.
//
// A trace is opened, decompressed as its name says, decoded as the catalog
// says, and counted: a file that is cut short, of another version or not of its
// format is an error that names the file and the line or offset, never a
// smaller run.
package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Trace is a sequence of reads.
type Trace struct {
	Name     string
	Keys     []uint64 // in the order they were asked for
	Distinct int      // how many different keys there are
}

// Format is how a trace lists its keys, once decompressed.
type Format uint8

const (
	Lines      Format = iota // one decimal key a line; a line "*" is a marker and no key
	ARC                      // "start count ignored request": count keys from start
	Field2                   // "time key size": the key is the second field
	Block                    // one opaque key a line
	FileOf                   // "file:offset" a line: the key is what stands before the last colon
	BigEndian4               // four bytes a key, the highest first
)

// ErrMalformed is matched by every error about a trace's contents.
var ErrMalformed = errors.New("malformed trace")

// maxRun bounds the keys that one line of an ARC trace may stand for.
const maxRun = 1 << 20

// Decode reads a whole trace. name is only for the result and its errors.
func Decode(name string, r io.Reader, f Format) (*Trace, error) {
	d := decoder{name: name, texts: map[string]uint64{}}
	var err error
	if f == BigEndian4 {
		err = d.binary(r)
	} else {
		err = d.lines(r, f)
	}
	if err != nil {
		return nil, err
	}
	return &Trace{Name: name, Keys: d.keys, Distinct: distinct(d.keys)}, nil
}

type decoder struct {
	name  string
	keys  []uint64
	texts map[string]uint64 // opaque keys, numbered as they come
}

func (d *decoder) binary(r io.Reader) error {
	br := bufio.NewReaderSize(r, 1<<16)
	var b [4]byte
	for {
		n, err := io.ReadFull(br, b[:])
		switch {
		case err == io.EOF:
			return nil
		case err == io.ErrUnexpectedEOF:
			return fmt.Errorf("%s: offset %d: %w: ends inside a key of 4 bytes", d.name, 4*len(d.keys)+n, ErrMalformed)
		case err != nil:
			return fmt.Errorf("%s: offset %d: %w", d.name, 4*len(d.keys)+n, err)
		}
		d.keys = append(d.keys, uint64(b[0])<<24|uint64(b[1])<<16|uint64(b[2])<<8|uint64(b[3]))
	}
}

func (d *decoder) lines(r io.Reader, f Format) error {
	sc := bufio.NewScanner(r)
	blank := 0 // the line number of a blank one: allowed at the end only
	n := 0
	for sc.Scan() {
		n++
		line := bytes.TrimRight(sc.Bytes(), "\r")
		if len(line) == 0 {
			if blank == 0 {
				blank = n
			}
			continue
		}
		if blank != 0 {
			return d.bad(blank, "blank line")
		}
		if why := d.line(line, f); why != "" {
			return d.bad(n, why)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: after line %d: %w", d.name, n, err)
	}
	return nil
}

func (d *decoder) bad(line int, why string) error {
	return fmt.Errorf("%s: line %d: %w: %s", d.name, line, ErrMalformed, why)
}

// line appends the keys of one line, or says what is wrong with it.
func (d *decoder) line(line []byte, f Format) (why string) {
	switch f {
	case Lines:
		if string(line) == "*" {
			return ""
		}
		key, err := strconv.ParseUint(string(line), 10, 64)
		if err != nil {
			return "not a decimal key"
		}
		d.keys = append(d.keys, key)
	case ARC:
		field, ok := numbers(line, 4)
		if !ok {
			return "not four decimal numbers"
		}
		start, count := field[0], field[1]
		if count == 0 || count > maxRun {
			return fmt.Sprintf("a count of %d, want 1 to %d", count, maxRun)
		}
		for i := range count {
			d.keys = append(d.keys, start+i)
		}
	case Field2:
		field, ok := numbers(line, 3)
		if !ok {
			return "not three decimal numbers"
		}
		d.keys = append(d.keys, field[1])
	case Block:
		d.keys = append(d.keys, d.number(line))
	case FileOf:
		cut := bytes.LastIndexByte(line, ':')
		if cut < 1 {
			return "no colon after a name"
		}
		d.keys = append(d.keys, d.number(line[:cut]))
	default:
		return fmt.Sprintf("unknown format %d", f)
	}
	return ""
}

func (d *decoder) number(text []byte) uint64 {
	id, ok := d.texts[string(text)]
	if !ok {
		id = uint64(len(d.texts))
		d.texts[string(text)] = id
	}
	return id
}

// numbers parses exactly want decimal fields.
func numbers(line []byte, want int) (out [4]uint64, ok bool) {
	i := 0
	for field := range bytes.FieldsSeq(line) {
		if i == want {
			return out, false
		}
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return out, false
		}
		out[i] = n
		i++
	}
	return out, i == want
}

func distinct(keys []uint64) int {
	seen := make(map[uint64]struct{})
	for _, k := range keys {
		seen[k] = struct{}{}
	}
	return len(seen)
}
