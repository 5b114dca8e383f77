package sqlengine

import (
	"fmt"
	"strings"
	"testing"
)

// What is remembered of texts is bounded in bytes, whatever their number and length. With a bound on their number alone
// it fails.
func TestTextsAreBounded(t *testing.T) {
	a := &analysis{cat: shop(Postgres())}
	remembered := func() (bytes int) {
		a.statements.Range(func(k, _ any) bool {
			bytes += len(k.(string))
			return true
		})
		return bytes
	}
	for i := range 1000 {
		a.of(fmt.Sprintf("SELECT id FROM users WHERE id = %d /*%s*/", i, strings.Repeat("x", 40_000)))
		if n := remembered(); n > mostStatements {
			t.Fatalf("%d bytes of texts", n)
		}
	}
	a.statements.Clear()
	long := "/*" + strings.Repeat("x", longestStatement) + "*/"
	if st := a.of("SELECT id FROM users " + long); st.class != passes || remembered() != 0 {
		t.Errorf("a long read is kept: class %d, %d bytes of texts", st.class, remembered())
	}
	if st := a.of("DELETE FROM log " + long); st.class != writes || len(st.written) != 1 {
		t.Errorf("a long write: class %d, %v", st.class, st.written)
	}
	if st := a.of("SELECT id FROM users"); st != a.of("SELECT id FROM users") {
		t.Error("a short text is not remembered")
	}
}
