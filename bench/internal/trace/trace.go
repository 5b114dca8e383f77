// Package trace reads recorded sequences of cache keys.
//
// A trace is opened, decompressed as its name says, decoded as its format says,
// and counted. A file that is cut short, or not of its format, is an error that
// names the file and the line or offset, never a smaller run.
package trace

import (
	"errors"
	"fmt"
	"io"
)

// Trace is a sequence of reads, and of writes where its format has them.
type Trace struct {
	Name     string
	Keys     []uint64 // of each access, in order
	Distinct int      // how many different keys there are
	Reads    int      // how many of the accesses
	Writes   []bool   // beside Keys, which accesses are writes; nil: none
	Names    []string // by key, where keys are texts; nil where they are numbers
}

// ErrMalformed is matched by every error about a trace's contents.
var ErrMalformed = errors.New("malformed trace")

// Wrote reports whether access i is a write.
func (t *Trace) Wrote(i int) bool { return t.Writes != nil && t.Writes[i] }

// KeyName is the key as text.
func (t *Trace) KeyName(key uint64) string {
	if t.Names != nil {
		return t.Names[key]
	}
	return fmt.Sprint(key)
}

// Decode reads a whole trace. name is only for the result and its errors.
func Decode(name string, r io.Reader, f Format) (*Trace, error) {
	d := decoder{name: name, format: f}
	if err := d.decode(r); err != nil {
		return nil, err
	}
	t := &Trace{Name: name, Keys: d.keys, Distinct: distinct(d.keys), Reads: len(d.keys) - d.written, Writes: d.writes, Names: d.names}
	if t.Reads == 0 {
		return nil, fmt.Errorf("%s: %w: no reads in it", name, ErrMalformed)
	}
	return t, nil
}

func distinct(keys []uint64) int {
	seen := make(map[uint64]struct{})
	for _, k := range keys {
		seen[k] = struct{}{}
	}
	return len(seen)
}
