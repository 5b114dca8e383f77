package trace

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

const (
	// maxRun bounds the keys that one line of an ARC trace may stand for.
	maxRun = 1 << 20
	// maxLine bounds a line, so that a file of another kind does not fill the memory.
	maxLine = 1 << 20
)

type decoder struct {
	name    string
	format  Format
	keys    []uint64
	writes  []bool // as long as keys once there is a write
	written int
	ids     map[string]uint64 // opaque keys, numbered as they come
	names   []string
}

func (d *decoder) decode(r io.Reader) error {
	d.ids = make(map[string]uint64)
	switch {
	case d.format.width() > 0:
		return d.binary(r)
	case d.format.kind == csvKind:
		return d.csv(r)
	}
	return d.lines(r)
}

func (d *decoder) binary(r io.Reader) error {
	br := bufio.NewReaderSize(r, 1<<16)
	b := make([]byte, d.format.width())
	for {
		n, err := io.ReadFull(br, b)
		offset := len(b)*len(d.keys) + n
		switch {
		case err == io.EOF:
			return nil
		case err == io.ErrUnexpectedEOF:
			return fmt.Errorf("%s: offset %d: %w: ends inside a key of %d bytes", d.name, offset, ErrMalformed, len(b))
		case err != nil:
			return fmt.Errorf("%s: offset %d: %w", d.name, offset, err)
		}
		var key uint64
		switch d.format.kind {
		case be32:
			key = uint64(binary.BigEndian.Uint32(b))
		case le32:
			key = uint64(binary.LittleEndian.Uint32(b))
		case be64:
			key = binary.BigEndian.Uint64(b)
		case le64:
			key = binary.LittleEndian.Uint64(b)
		}
		d.keys = append(d.keys, key)
	}
}

func (d *decoder) lines(r io.Reader) error {
	br := bufio.NewReaderSize(r, maxLine)
	blank := 0 // the line number of a blank one: allowed at the end only
	for n := 1; ; n++ {
		line, err := br.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err == io.EOF:
			return d.bad(n, "no line end: cut short, or its last newline is missing")
		case err == bufio.ErrBufferFull:
			return d.bad(n, fmt.Sprintf("longer than %d bytes", maxLine))
		case err != nil:
			return fmt.Errorf("%s: line %d: %w", d.name, n, err)
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if len(line) == 0 {
			if blank == 0 {
				blank = n
			}
			continue
		}
		if blank != 0 {
			return d.bad(blank, "blank line")
		}
		if why := d.line(line); why != "" {
			return d.bad(n, why)
		}
	}
}

func (d *decoder) bad(line int, why string) error {
	return fmt.Errorf("%s: line %d: %w: %s", d.name, line, ErrMalformed, why)
}

// line appends the keys of one line, or says what is wrong with it.
func (d *decoder) line(line []byte) (why string) {
	switch d.format.kind {
	case keys:
		d.text(line, false)
	case lirs:
		if string(line) == "*" {
			return ""
		}
		key, err := strconv.ParseUint(string(line), 10, 64)
		if err != nil {
			return "not a decimal key"
		}
		d.keys = append(d.keys, key)
	case arc:
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
	case fields:
		i := 0
		for field := range bytes.FieldsSeq(line) {
			if i++; i == d.format.column {
				d.text(field, false)
				return ""
			}
		}
		return fmt.Sprintf("%d fields, want at least %d", i, d.format.column)
	case file:
		cut := bytes.LastIndexByte(line, ':')
		if cut < 1 {
			return "no colon after a name"
		}
		d.text(line[:cut], false)
	case monitor:
		return d.monitor(line)
	default:
		return fmt.Sprintf("unknown format %q", d.format.kind)
	}
	return ""
}

// text appends an access to an opaque key.
func (d *decoder) text(text []byte, write bool) {
	id, ok := d.ids[string(text)]
	if !ok {
		id = uint64(len(d.names))
		d.names = append(d.names, string(text))
		d.ids[d.names[id]] = id
	}
	d.keys = append(d.keys, id)
	if write && d.writes == nil {
		d.writes = make([]bool, len(d.keys)-1)
	}
	if write {
		d.written++
	}
	if d.writes != nil {
		d.writes = append(d.writes, write)
	}
}

func (d *decoder) csv(r io.Reader) error {
	ends := &lastByte{r: r}
	cr := csv.NewReader(ends)
	cr.ReuseRecord, cr.FieldsPerRecord = true, 0 // all as many fields as the first: a cut line has fewer
	column := d.format.column - 1
	line := 0
	for first := true; ; first = false {
		record, err := cr.Read()
		if err == io.EOF {
			break
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			return d.bad(bad.Line, bad.Err.Error())
		}
		if err != nil {
			return fmt.Errorf("%s: after line %d: %w", d.name, line, err)
		}
		line, _ = cr.FieldPos(0)
		if first && d.format.header != "" {
			if column = slices.Index(record, d.format.header); column < 0 {
				return d.bad(line, fmt.Sprintf("no column %q", d.format.header))
			}
			continue
		}
		if column >= len(record) {
			return d.bad(line, fmt.Sprintf("%d columns, want at least %d", len(record), column+1))
		}
		d.text([]byte(record[column]), false)
	}
	if line > 0 && ends.last != '\n' {
		return d.bad(line, "no line end: cut short, or its last newline is missing")
	}
	return nil
}

type lastByte struct {
	r    io.Reader
	last byte
}

func (l *lastByte) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if n > 0 {
		l.last = b[n-1]
	}
	return n, err
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
