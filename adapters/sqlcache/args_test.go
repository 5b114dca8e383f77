package sqlcache

import (
	"database/sql"
	"database/sql/driver"
	"math/big"
	"testing"
	"time"
)

type id int64

// amount says less by its value than it is made of, as decimals do.
type amount struct {
	N   *big.Int
	Exp int32
}

func (a amount) Value() (driver.Value, error) { return "1.5", nil }

// hidden can be changed by its owner, and not be copied.
type hidden struct{ n *big.Int }

func (h hidden) Value() (driver.Value, error) { return h.n.String(), nil }

type listed struct{ List []int }

func (l listed) Value() (driver.Value, error) { return int64(len(l.List)), nil }

// namesakes are values of two types of one name.
func namesakes() (a, b []any) {
	type status int
	a = []any{[]status{1}, status(1), [1]status{1}}
	{
		type status int
		b = []any{[]status{1}, status(1), [1]status{1}}
	}
	return a, b
}

// Different arguments have different texts. With a type's name in place of its address the namesakes fail, with a
// struct's value alone the amounts.
func TestArgsDiffer(t *testing.T) {
	seen := map[string]any{}
	utc := time.Unix(1, 2).UTC()
	list := [][]any{
		{}, {nil}, {nil, nil}, {int64(1)}, {1}, {id(1)}, {int32(1)}, {1.0}, {true}, {"1"}, {[]byte("1")}, {[]byte(nil)}, {[]byte{}}, {""},
		{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a,b"}, {utc}, {utc.Add(1)}, {utc.In(time.FixedZone("x", 3600))},
		{[]string{"a", "b"}}, {[]string{"ab"}}, {[]int64{1}}, {[]int32{1}}, {[]int64(nil)}, {[]int64{}},
		{sql.NullString{}}, {sql.NullString{String: "a", Valid: true}}, {sql.NullInt64{}}, {[16]byte{1}}, {[16]byte{2}},
		{&utc}, {(*time.Time)(nil)}, {new(int)}, {new(int64)}, {&sql.NullString{}},
		{amount{big.NewInt(15), -1}}, {amount{big.NewInt(150), -2}}, {amount{nil, -2}}, {&amount{big.NewInt(15), -1}},
		{sql.NullTime{Time: utc, Valid: true}}, {sql.NullTime{Time: utc}},
		{[]any{1}}, {[]any{int64(1)}}, {[]any{nil}}, {[]any{1, 2}}, {[]any{1}, 2}, {[]any{[]any{1}, 2}}, {[]any{[]any{1, 2}}},
		{[][16]byte{{1}}}, {[][16]byte{{2}}}, {[]sql.NullInt64{{Int64: 1}}}, {[]sql.NullInt64{{Int64: 1, Valid: true}}},
	}
	a, b := namesakes()
	for i := range a {
		list = append(list, []any{a[i]}, []any{b[i]})
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
	for _, a := range []any{map[string]int{}, struct{}{}, &struct{}{}, []any{map[string]int{}}, []any{1, "today"}, []struct{}{{}}, "today", sql.NullString{String: "now", Valid: true},
		hidden{big.NewInt(1)}, &hidden{big.NewInt(1)}, listed{[]int{1}}} {
		if _, _, ok := appendArgs(nil, []driver.NamedValue{{Value: a}}, true); ok {
			t.Errorf("%#v is told", a)
		}
	}
}

// What the caller may change is not what the load uses. Without the copies all fail.
func TestArgsCopied(t *testing.T) {
	b, s, p, n, m := []byte("a"), []string{"a"}, new(int), big.NewInt(0), amount{big.NewInt(0), 0}
	bs, ps := [][]byte{{'a'}}, []any{new(int), []string{"a"}}
	in := []driver.NamedValue{{Value: b}, {Value: s}, {Value: p}, {Value: amount{n, 0}}, {Value: &m}, {Value: bs}, {Value: ps}}
	_, out, ok := appendArgs(nil, in, true)
	if !ok {
		t.Fatal("the arguments cannot be told")
	}
	b[0], s[0], *p = 'x', "x", 1
	bs[0][0], *ps[0].(*int), ps[1].([]string)[0] = 'x', 1, "x"
	n.SetInt64(1)
	m.N.SetInt64(1)
	if out[3].Value.(amount).N.Sign() != 0 || out[4].Value.(*amount).N.Sign() != 0 {
		t.Error("numbers are shared with the caller")
	}
	if string(out[0].Value.([]byte)) != "a" || out[1].Value.([]string)[0] != "a" || *out[2].Value.(*int) != 0 {
		t.Error("arguments are shared with the caller")
	}
	if string(out[5].Value.([][]byte)[0]) != "a" || *out[6].Value.([]any)[0].(*int) != 0 || out[6].Value.([]any)[1].([]string)[0] != "a" {
		t.Error("what lists hold is shared with the caller")
	}
	if in[0].Value.([]byte)[0] != 'x' {
		t.Error("the caller's arguments were replaced")
	}
}
