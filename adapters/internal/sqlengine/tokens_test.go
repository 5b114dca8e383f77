package sqlengine

import "testing"

// A string that PostgreSQL may read as the present is not kept, however its letters are written. Without unescape those
// with a backslash were.
func TestWordsOfThePresent(t *testing.T) {
	cat := shop(Postgres())
	for query, want := range map[string]class{
		`SELECT E'now' FROM users`:                           passes,
		`SELECT E'\x6eow' FROM users`:                        passes,
		`SELECT E'\x6Eow' FROM users`:                        passes,
		`SELECT E'n\157w' FROM users`:                        passes,
		`SELECT E'\556ow' FROM users`:                        passes, // more than a byte holds
		`SELECT E'\u006eow' FROM users`:                      passes,
		`SELECT e'n\U0000006fw' FROM users`:                  passes,
		`SELECT E'\tnow\n' FROM users`:                       passes,
		`SELECT E'it\'s\tnow' FROM users`:                    passes,
		`SELECT E'\now' FROM users`:                          reads,
		`SELECT E'\\x6eow' FROM users`:                       reads,
		`SELECT E'\x6', E'\', later() ''\\' FROM users`:      reads,
		`SELECT E'\x6', E'\\', now() FROM users`:             passes,
		`SELECT E'\`:                                         flushes,
		`SELECT E'\x`:                                        flushes,
		`SELECT E'\'`:                                        flushes,
		`SELECT E'\xzz\u12\9\é' FROM users, orders`:          reads,
		`SELECT E'a\'b' FROM users; SELECT 1 FROM orders--'`: passes,
	} {
		if st := cat.analyse(query); st.class != want {
			t.Errorf("%s: class %d (%s), not %d", query, st.class, st.why, want)
		}
	}
}

// The same for arguments. Without it bytes were never looked into.
func TestBytesOfThePresent(t *testing.T) {
	type raw []byte
	for _, v := range []any{[]byte("now"), raw("today"), [3]byte{'n', 'o', 'w'}, [][]byte{[]byte("now")}} {
		if _, _, ok := AppendArg(nil, v, true); ok {
			t.Errorf("%T %s is kept", v, v)
		}
	}
	for _, v := range []any{[]byte("known"), raw("nowhere"), []byte(nil), [2]byte{1, 2}, []uint16{'n', 'o', 'w'}} {
		if _, _, ok := AppendArg(nil, v, true); !ok {
			t.Errorf("%T %s is not kept", v, v)
		}
	}
	if _, _, ok := AppendArg(nil, []byte("now"), false); !ok {
		t.Error("bytes where no dates are meant")
	}
}
