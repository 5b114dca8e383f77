package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		in       string
		format   Format
		want     []uint64
		distinct int
	}{
		"lines":            {"3\n1\n3\n", Lines, []uint64{3, 1, 3}, 2},
		"no last newline":  {"3\n1", Lines, []uint64{3, 1}, 2},
		"carriage returns": {"3\r\n1\r\n", Lines, []uint64{3, 1}, 2},
		"markers":          {"3\n*\n1\n*\n", Lines, []uint64{3, 1}, 2},
		"a blank end":      {"3\n1\n\n", Lines, []uint64{3, 1}, 2},
		"arc":              {"10 3 0 0\n11 1 0 1\n", ARC, []uint64{10, 11, 12, 11}, 3},
		"second field":     {"1 7 100\n2 8 200\n3 7 100\n", Field2, []uint64{7, 8, 7}, 2},
		"blocks":           {"a:1\na:2\nb:1\na:1\n", Block, []uint64{0, 1, 2, 0}, 3},
		"files":            {"a:1\na:2\nx:b:1\na:1\n", FileOf, []uint64{0, 0, 1, 0}, 2},
		"binary":           {"\x00\x00\x00\x01\xff\x00\x00\x02", BigEndian4, []uint64{1, 0xff000002}, 2},
		"nothing":          {"", Lines, nil, 0},
	} {
		got, err := Decode(name, strings.NewReader(c.in), c.format)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Equal(got.Keys, c.want) || got.Distinct != c.distinct {
			t.Errorf("%s: %v, %d distinct; want %v, %d", name, got.Keys, got.Distinct, c.want, c.distinct)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		format Format
		want   string
	}{
		"a word":           {"1\n2\nx\n4\n", Lines, "line 3"},
		"a negative":       {"-1\n", Lines, "line 1"},
		"too large":        {"18446744073709551616\n", Lines, "line 1"},
		"a blank inside":   {"1\n\n2\n", Lines, "line 2"},
		"three fields":     {"1 1 0 0\n1 1 0\n", ARC, "line 2"},
		"five fields":      {"1 1 0 0 0\n", ARC, "line 1"},
		"a count of none":  {"1 0 0 0\n", ARC, "count of 0"},
		"a count too many": {"1 99999999999 0 0\n", ARC, "count of 99999999999"},
		"two fields":       {"1 2\n", Field2, "line 1"},
		"no colon":         {"a:1\nb\n", FileOf, "line 2"},
		"half a key":       {"\x00\x00\x00\x01\x00\x00", BigEndian4, "offset 6"},
		"unknown format":   {"1\n", Format(99), "format 99"},
	} {
		_, err := Decode("the file", strings.NewReader(c.in), c.format)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the file") {
			t.Errorf("%s: error %v: want ErrMalformed, the file and %q", name, err, c.want)
		}
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadCounts(t *testing.T) {
	dir := t.TempDir()
	whole := zipped(t, "1\n2\n1\n")
	k := Known{"few", "few.gz", Lines, 3, 2}
	write(t, dir, k.File, whole)
	got, err := k.load(dir)
	if err != nil || got.Name != "few" || len(got.Keys) != 3 {
		t.Fatalf("load = %+v, %v", got, err)
	}
	for _, wrong := range []Known{{"few", "few.gz", Lines, 4, 2}, {"few", "few.gz", Lines, 3, 3}} {
		if _, err := wrong.load(dir); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "few.gz") {
			t.Errorf("load of another version: %v", err)
		}
	}
	write(t, dir, k.File, whole[:len(whole)-6])
	if _, err := k.load(dir); err == nil || !strings.Contains(err.Error(), "few.gz") {
		t.Errorf("load of a truncated file: %v", err)
	}
	write(t, dir, k.File, []byte("no gzip"))
	if _, err := k.load(dir); err == nil || !strings.Contains(err.Error(), "few.gz") {
		t.Errorf("load of no gzip: %v", err)
	}
}

func TestLoadNames(t *testing.T) {
	if _, err := Load(t.TempDir(), "none"); err == nil || !strings.Contains(err.Error(), "arc-OLTP") {
		t.Errorf("Load of an unknown trace: %v: want the names there are", err)
	}
	for _, k := range Catalog() {
		if _, err := Load(t.TempDir(), k.Name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Load(%s) from an empty folder: %v", k.Name, err)
		}
	}
}

// The decompressors that are programs are all run alike; gzip is the one that
// every machine has.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("12345\n", 100_000)
	data := zipped(t, text)
	read := func(path, tool string) (*Trace, error, error) {
		r, err := pipe(path, tool, "apt-get install it")
		if err != nil {
			return nil, err, nil
		}
		got, err := Decode(path, r, Lines)
		return got, err, r.Close()
	}
	path := write(t, dir, "whole.gz", data)
	if got, err, cerr := read(path, "gzip"); err != nil || cerr != nil || len(got.Keys) != 100_000 {
		t.Fatalf("a whole file: %v, %v", err, cerr)
	}
	if _, _, cerr := read(write(t, dir, "cut.gz", data[:len(data)/2]), "gzip"); cerr == nil || !strings.Contains(cerr.Error(), "cut.gz") {
		t.Errorf("a truncated file: Close = %v", cerr)
	}
	if _, err, _ := read(path, "no-such-program"); err == nil || !strings.Contains(err.Error(), "apt-get install it") {
		t.Errorf("a program that is not there: %v", err)
	}
	// Left early: no complaint about the closed pipe.
	bad := write(t, dir, "bad.gz", zipped(t, "x\n"+text))
	if _, err, cerr := read(bad, "gzip"); !errors.Is(err, ErrMalformed) || cerr != nil {
		t.Errorf("a malformed file: %v, Close = %v", err, cerr)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("1 1 0 0\n2 2 0 1\n"), byte(ARC))
	f.Add([]byte("1\n*\n2\n\n"), byte(Lines))
	f.Add([]byte("1 2 3\n"), byte(Field2))
	f.Add([]byte("a:b:1\n"), byte(FileOf))
	f.Add([]byte{0, 0, 0, 1, 0}, byte(BigEndian4))
	f.Fuzz(func(t *testing.T, data []byte, format byte) {
		got, err := Decode("fuzz", bytes.NewReader(data), Format(format%8))
		if (err == nil) == (got == nil) {
			t.Fatalf("Decode = %v, %v", got, err)
		}
		if got != nil && got.Distinct > len(got.Keys) {
			t.Fatalf("%d distinct of %d", got.Distinct, len(got.Keys))
		}
	})
}
