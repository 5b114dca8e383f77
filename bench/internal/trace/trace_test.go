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

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func format(t testing.TB, text string) Format {
	t.Helper()
	f, err := ParseFormat(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		in, format string
		want       []uint64
		distinct   int
	}{
		"lirs":             {"3\n1\n3\n", "lirs", []uint64{3, 1, 3}, 2},
		"carriage returns": {"3\r\n1\r\n", "lirs", []uint64{3, 1}, 2},
		"markers":          {"3\n*\n1\n*\n", "lirs", []uint64{3, 1}, 2},
		"a blank end":      {"3\n1\n\n", "lirs", []uint64{3, 1}, 2},
		"arc":              {"10 3 0 0\n11 1 0 1\n", "arc", []uint64{10, 11, 12, 11}, 3},
		"second field":     {"1 7 100\n2 8 200\n3 7 100\n", "fields=2", []uint64{0, 1, 0}, 2},
		"keys":             {"a:1\na:2\nb:1\na:1\n", "keys", []uint64{0, 1, 2, 0}, 3},
		"files":            {"a:1\na:2\nx:b:1\na:1\n", "file", []uint64{0, 0, 1, 0}, 2},
		"csv":              {"a,1\nb,2\na,3\n", "csv", []uint64{0, 1, 0}, 2},
		"csv by number":    {"a,1\nb,2\na,2\n", "csv=2", []uint64{0, 1, 1}, 2},
		"csv by name":      {"time,key\n1,\"x, y\"\n2,z\n3,\"x, y\"\n", "csv=key", []uint64{0, 1, 0}, 2},
		"be32":             {"\x00\x00\x00\x01\xff\x00\x00\x02", "be32", []uint64{1, 0xff000002}, 2},
		"le32":             {"\x01\x00\x00\x00\x02\x00\x00\xff", "le32", []uint64{1, 0xff000002}, 2},
		"be64":             {"\x00\x00\x00\x00\x00\x00\x01\x00", "be64", []uint64{256}, 1},
		"le64":             {"\x00\x01\x00\x00\x00\x00\x00\x00", "le64", []uint64{256}, 1},
	} {
		got, err := Decode(name, strings.NewReader(c.in), format(t, c.format))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Equal(got.Keys, c.want) || got.Distinct != c.distinct || got.Reads != len(c.want) {
			t.Errorf("%s: %v, %d distinct, %d reads; want %v, %d", name, got.Keys, got.Distinct, got.Reads, c.want, c.distinct)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, format, want string }{
		"a word":           {"1\n2\nx\n4\n", "lirs", "line 3"},
		"a negative":       {"-1\n", "lirs", "line 1"},
		"too large":        {"18446744073709551616\n", "lirs", "line 1"},
		"a blank inside":   {"1\n\n2\n", "lirs", "line 2"},
		"cut in a line":    {"1\n2\n3", "lirs", "line 3"},
		"three fields":     {"1 1 0 0\n1 1 0\n", "arc", "line 2"},
		"five fields":      {"1 1 0 0 0\n", "arc", "line 1"},
		"a count of none":  {"1 0 0 0\n", "arc", "count of 0"},
		"a count too many": {"1 99999999999 0 0\n", "arc", "count of 99999999999"},
		"two fields":       {"1 2\n", "fields=3", "line 1"},
		"no colon":         {"a:1\nb\n", "file", "line 2"},
		"fewer columns":    {"a,b\nc,d\ne\n", "csv", "line 3"},
		"a cut column":     {"a,b\nc,d", "csv", "line 2"},
		"an open quote":    {"a,b\n\"c,d\n", "csv", "line "},
		"no such column":   {"a,b\nc,d\n", "csv=key", `no column "key"`},
		"too few columns":  {"a,b\nc,d\n", "csv=3", "line 1"},
		"half a key":       {"\x00\x00\x00\x01\x00\x00", "be32", "offset 6"},
		"half a long key":  {"\x00\x00\x00\x01\x00\x00", "le64", "offset 6"},
		"not MONITOR":      {"OK\n1 get x\n", "monitor", "line 2"},
		"a cut argument":   {"1.5 [0 lua] \"get\" \"x\n", "monitor", "line 1"},
		"nothing":          {"", "lirs", "no reads"},
		"a long line":      {strings.Repeat("x", maxLine+1), "keys", "line 1"},
	} {
		_, err := Decode("the file", strings.NewReader(c.in), format(t, c.format))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the file") {
			t.Errorf("%s: error %v: want ErrMalformed, the file and %q", name, err, c.want)
		}
	}
	if _, err := Decode("x", strings.NewReader("1\n"), Format{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("no format: %v", err)
	}
}

func TestMonitor(t *testing.T) {
	in := "OK\n" +
		`1700000000.000001 [0 127.0.0.1:5] "GET" "user:1"` + "\n" +
		`1700000000.000002 [0 127.0.0.1:5] "mset" "a \"b\"" "1" "user:1" "\x00\n"` + "\n" +
		`1700000000.000003 [0 lua] "hget" "a \"b\"" "f"` + "\n" +
		`1700000000.000004 [3 unix:/run/x] "PING"` + "\n" +
		`1700000000.000005 [0 127.0.0.1:5] "del" "x" "user:1"` + "\n"
	got, err := Decode("m", strings.NewReader(in), format(t, "monitor"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for i, k := range got.Keys {
		what := "read "
		if got.Wrote(i) {
			what = "write "
		}
		said = append(said, what+got.KeyName(k))
	}
	want := []string{"read user:1", `write a "b"`, "write user:1", `read a "b"`, "write x", "write user:1"}
	if !slices.Equal(said, want) || got.Reads != 2 {
		t.Errorf("%q, %d reads; want %q", said, got.Reads, want)
	}
}

func TestFormats(t *testing.T) {
	for _, bad := range []string{"", "x", "csv=", "csv=0", "fields", "fields=0", "fields=x", "keys=1", "be32=2"} {
		if _, err := ParseFormat(bad); err == nil {
			t.Errorf("ParseFormat(%q) says nothing", bad)
		}
	}
	dir := t.TempDir()
	colon := write(t, dir, "a:b.lis", []byte("1 1 0 0\n"))
	for spec, want := range map[string]struct {
		path string
		kind kind
	}{
		"x.lis.zst":        {"x.lis.zst", arc},
		"x.lirs":           {"x.lirs", lirs},
		"x.csv.gz":         {"x.csv.gz", csvKind},
		"x.txt":            {"x.txt", keys},
		"x.gz:be32":        {"x.gz", be32},
		"x.csv:csv=key":    {"x.csv", csvKind},
		colon:              {colon, arc},
		colon + ":monitor": {colon, monitor},
	} {
		path, f, err := Spec(spec)
		if err != nil || path != want.path || f.kind != want.kind {
			t.Errorf("Spec(%q) = %q, %q, %v", spec, path, f.kind, err)
		}
	}
	for _, bad := range []string{"", "x:y"} {
		if _, _, err := Spec(bad); err == nil {
			t.Errorf("Spec(%q) says nothing", bad)
		}
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	pack(t, w.Write, w.Close, text)
	return b.Bytes()
}

func pack(t *testing.T, write func([]byte) (int, error), end func() error, text string) {
	t.Helper()
	if _, err := write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whole files of every compression are read, and those cut anywhere are not.
func TestCompressions(t *testing.T) {
	text := strings.Repeat("1\n22\n333\n4444\n", 500)
	var z, x bytes.Buffer
	zw, err := zstd.NewWriter(&z, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	pack(t, zw.Write, zw.Close, text)
	xw, err := xz.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, xw.Write, xw.Close, text)
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"t.lirs": []byte(text), "t.lirs.gz": zipped(t, text), "t.lirs.xz": x.Bytes(), "t.lirs.zst": z.Bytes(),
	} {
		path := write(t, dir, name, data)
		got, err := Load(path, Guess(path))
		if err != nil || len(got.Keys) != 2000 || got.Distinct != 4 || got.Name != name {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		if name == "t.lirs" {
			continue // where it is cut at a line's end, nothing in the file tells
		}
		for cut := range len(data) {
			write(t, dir, name, data[:cut])
			if _, err := Load(path, Guess(path)); err == nil || !strings.Contains(err.Error(), name) {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, cut, len(data), err)
			}
		}
	}
}

func TestKnown(t *testing.T) {
	dir := t.TempDir()
	whole := zipped(t, "1\n2\n1\n")
	k := Known{"few", "few.gz", Format{kind: lirs}, 3, 2}
	write(t, dir, k.File, whole)
	got, err := k.Load(dir)
	if err != nil || got.Name != "few" || len(got.Keys) != 3 {
		t.Fatalf("Load = %+v, %v", got, err)
	}
	for _, wrong := range []Known{{"few", "few.gz", k.Format, 4, 2}, {"few", "few.gz", k.Format, 3, 3}} {
		if _, err := wrong.Load(dir); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "few.gz") {
			t.Errorf("Load of another version: %v", err)
		}
	}
	if _, err := Find("none"); err == nil || !strings.Contains(err.Error(), "arc-OLTP") {
		t.Errorf("Find of an unknown trace: %v: want the names there are", err)
	}
	for _, k := range Catalog() {
		if _, err := k.Load(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s from an empty folder: %v", k.Name, err)
		}
	}
}

// One file of each format as users have them.
func TestFiles(t *testing.T) {
	for spec, want := range map[string][2]int{ // accesses and distinct keys
		"testdata/blocks.lis.gz":             {12, 9},
		"testdata/loop.lirs.gz":              {9, 3},
		"testdata/keys.txt.xz":               {6, 4},
		"testdata/requests.csv.zst:csv=path": {5, 3},
		"testdata/cdn.txt:fields=2":          {5, 4},
		"testdata/cluster.txt:file":          {4, 2},
		"testdata/ids.be32:be32":             {4, 3},
		"testdata/ids.le64.gz:le64":          {4, 3},
		"testdata/redis.monitor:monitor":     {7, 3},
	} {
		path, f, err := Spec(spec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Load(path, f)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		} else if len(got.Keys) != want[0] || got.Distinct != want[1] {
			t.Errorf("%s: %d accesses of %d keys, want %d of %d", spec, len(got.Keys), got.Distinct, want[0], want[1])
		}
	}
}

func FuzzDecode(f *testing.F) {
	formats := []string{"keys", "lirs", "arc", "csv", "csv=k", "fields=2", "file", "be32", "le64", "monitor"}
	f.Add([]byte("1 1 0 0\n2 2 0 1\n"), byte(2))
	f.Add([]byte("1\n*\n2\n\n"), byte(1))
	f.Add([]byte("1 2 3\n"), byte(5))
	f.Add([]byte("k,l\n\"1\",2\n"), byte(4))
	f.Add([]byte("a:b:1\n"), byte(6))
	f.Add([]byte{0, 0, 0, 1, 0}, byte(7))
	f.Add([]byte("1.5 [0 x] \"get\" \"\\x00\\n\"\n"), byte(9))
	f.Fuzz(func(t *testing.T, data []byte, n byte) {
		got, err := Decode("fuzz", bytes.NewReader(data), format(t, formats[int(n)%len(formats)]))
		if (err == nil) == (got == nil) {
			t.Fatalf("Decode = %v, %v", got, err)
		}
		if got != nil && (got.Distinct > len(got.Keys) || got.Reads > len(got.Keys)) {
			t.Fatalf("%d distinct, %d reads of %d", got.Distinct, got.Reads, len(got.Keys))
		}
	})
}
