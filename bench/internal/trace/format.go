package trace

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Format is how a trace lists its keys, once decompressed.
type Format struct {
	kind   kind
	column int    // of csv and fields, from 1
	header string // of csv: the column's name in the first line; "" where there is none
}

type kind string

const (
	keys    kind = "keys"
	lirs    kind = "lirs"
	arc     kind = "arc"
	csvKind kind = "csv"
	fields  kind = "fields"
	file    kind = "file"
	be32    kind = "be32"
	le32    kind = "le32"
	be64    kind = "be64"
	le64    kind = "le64"
	monitor kind = "monitor"
)

// FormatHelp describes every format, for a flag's usage.
const FormatHelp = `keys       one key a line, any text
lirs       one decimal key a line; a line "*" is a marker and no key
arc        "start count ignored request" a line: count keys from start
csv[=COL]  comma-separated; COL is a number from 1 (default 1, no header) or the name of a column in the first line
fields=N   separated by blanks; the key is the Nth
file       "name:offset" a line: the key is what stands before the last colon
be32 le32 be64 le64  4 or 8 bytes a key, the highest or the lowest byte first
monitor    the output of "redis-cli monitor": reads and writes, each with its keys`

// ParseFormat reads what FormatHelp describes.
func ParseFormat(text string) (Format, error) {
	name, arg, has := strings.Cut(text, "=")
	f := Format{kind: kind(name), column: 1}
	switch f.kind {
	case csvKind:
		if n, err := strconv.Atoi(arg); err == nil {
			f.column = n
		} else if has {
			f.header = arg
		}
		if f.column < 1 || has && arg == "" {
			return f, fmt.Errorf("format %q: name a column or count it from 1, as csv=2", text)
		}
		return f, nil
	case fields:
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return f, fmt.Errorf("format %q: count the field from 1, as fields=2", text)
		}
		f.column = n
		return f, nil
	case keys, lirs, arc, file, be32, le32, be64, le64, monitor:
		if !has {
			return f, nil
		}
	}
	return f, fmt.Errorf("no format %q; there are:\n%s", text, FormatHelp)
}

// Guess is the format that a file's name speaks of, its compression aside.
func Guess(path string) Format {
	base := strings.TrimSuffix(path, filepath.Ext(path))
	if compression(path) == "" {
		base = path
	}
	switch filepath.Ext(base) {
	case ".lis":
		return Format{kind: arc}
	case ".lirs":
		return Format{kind: lirs}
	case ".csv":
		return Format{kind: csvKind, column: 1}
	}
	return Format{kind: keys}
}

// Width is how many bytes a key has in a binary format; 0 in the others.
func (f Format) width() int {
	switch f.kind {
	case be32, le32:
		return 4
	case be64, le64:
		return 8
	}
	return 0
}
