package sqlcache

import (
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"
)

type id int64

// Different arguments have different texts.
func TestArgsDiffer(t *testing.T) {
	seen := map[string]any{}
	utc := time.Unix(1, 2).UTC()
	list := [][]any{
		{}, {nil}, {nil, nil}, {int64(1)}, {1}, {id(1)}, {int32(1)}, {1.0}, {true}, {"1"}, {[]byte("1")}, {[]byte(nil)}, {[]byte{}}, {""},
		{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a,b"}, {utc}, {utc.Add(1)}, {utc.In(time.FixedZone("x", 3600))},
		{[]string{"a", "b"}}, {[]string{"ab"}}, {[]int64{1}}, {[]int32{1}}, {[]int64(nil)}, {[]int64{}},
		{sql.NullString{}}, {sql.NullString{String: "a", Valid: true}}, {sql.NullInt64{}}, {[16]byte{1}}, {[16]byte{2}},
		{&utc}, {(*time.Time)(nil)}, {new(int)}, {new(int64)}, {&sql.NullString{}},
	}
	for _, args := range list {
		named := make([]driver.NamedValue, len(args))
		for i, a := range args {
			named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		}
		b, _, ok := appendArgs(nil, named, true)
		if !ok {
			t.Errorf("%#v cannot be told", args)
		}
		if other, dup := seen[string(b)]; dup {
			t.Errorf("%#v and %#v have one text", args, other)
		}
		seen[string(b)] = args
	}
	for _, a := range []any{map[string]int{}, struct{}{}, &struct{}{}, []any{1}, "today"} {
		if _, _, ok := appendArgs(nil, []driver.NamedValue{{Value: a}}, true); ok {
			t.Errorf("%#v is told", a)
		}
	}
}

// What the caller may change is not what the load uses. Without the copies all fail.
func TestArgsCopied(t *testing.T) {
	b, s, p := []byte("a"), []string{"a"}, new(int)
	in := []driver.NamedValue{{Value: b}, {Value: s}, {Value: p}}
	_, out, _ := appendArgs(nil, in, true)
	b[0], s[0], *p = 'x', "x", 1
	if string(out[0].Value.([]byte)) != "a" || out[1].Value.([]string)[0] != "a" || *out[2].Value.(*int) != 0 {
		t.Error("arguments are shared with the caller")
	}
	if in[0].Value.([]byte)[0] != 'x' {
		t.Error("the caller's arguments were replaced")
	}
}
