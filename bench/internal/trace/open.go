package trace

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Load reads the file at path. Its compression is told by its ending: .gz, .xz,
// .zst or none of them.
func Load(path string, f Format) (*Trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	defer file.Close()
	if compression(path) == ".xz" {
		if err := xzEnds(file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	r, done, err := decompress(bufio.NewReaderSize(file, 1<<16), compression(path))
	if err != nil {
		return nil, fmt.Errorf("%s: offset 0: %w", path, err)
	}
	defer done()
	t, err := Decode(path, r, f)
	if err != nil {
		return nil, err
	}
	t.Name = filepath.Base(path)
	return t, nil
}

func compression(path string) string {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".gz", ".xz", ".zst":
		return ext
	}
	return ""
}

// xzEnds checks that a file ends as an xz stream does. The decompressor takes one
// that is cut between its last block and its index for whole.
func xzEnds(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	for end := info.Size(); end >= 4; end -= 4 {
		var last [4]byte
		if _, err := file.ReadAt(last[:], end-4); err != nil {
			return err
		}
		if last == [4]byte{} {
			continue // padding
		}
		if last[2] == 'Y' && last[3] == 'Z' {
			return nil
		}
		break
	}
	return fmt.Errorf("offset %d: %w: no end of an xz stream: cut short", info.Size(), ErrMalformed)
}

func decompress(r io.Reader, ext string) (out io.Reader, done func(), err error) {
	done = func() {}
	switch ext {
	case ".gz":
		out, err = gzip.NewReader(r)
	case ".xz":
		out, err = xz.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r); err == nil {
			out, done = z, z.Close
		}
	default:
		out = r
	}
	return out, done, err
}

// Spec is a file and its format as -trace takes them: file[:format].
func Spec(text string) (path string, f Format, err error) {
	if text == "" {
		return "", f, errors.New("want file[:format]")
	}
	// A colon may also stand in the file's name.
	if at := strings.LastIndexByte(text, ':'); at > 0 {
		f, err = ParseFormat(text[at+1:])
		if err == nil {
			return text[:at], f, nil
		}
		if _, serr := os.Stat(text); serr != nil {
			return "", f, err
		}
	}
	return text, Guess(text), nil
}
