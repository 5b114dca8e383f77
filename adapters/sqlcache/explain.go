package sqlcache

import (
	"context"
	"strings"
)

// Explanation is what [Connector.Explain] found.
type Explanation struct {
	Cached bool     // answers are kept, outside transactions
	Why    string   // if not: the reason
	Reads  []string // the base tables that answers depend on, as schema.table
	Writes []string // the tables that fall with it; "*" for all
}

func (e Explanation) String() string {
	var b strings.Builder
	if e.Cached {
		b.WriteString("cached")
	} else {
		b.WriteString("not cached: " + e.Why)
	}
	if len(e.Reads) > 0 {
		b.WriteString("; falls with " + strings.Join(e.Reads, ", "))
	}
	if len(e.Writes) > 0 {
		b.WriteString("; writes " + strings.Join(e.Writes, ", "))
	}
	return b.String()
}

// Explain says whether answers to query are kept, on what they depend, and if not, why not. It runs nothing; without a
// catalog it reads that.
func (c *Connector) Explain(query string) Explanation {
	a, _, err := c.analysis(context.Background(), true)
	if err != nil {
		return Explanation{Why: "the catalog cannot be read: " + err.Error()}
	}
	st := a.of(query)
	e := Explanation{Cached: st.class == reads, Why: st.why, Reads: st.tables, Writes: st.written}
	if st.class == flushes {
		e.Writes = []string{allTables}
	}
	if e.Cached && st.oversize.now() {
		e.Cached, e.Why = false, "its last answer was larger than Options.MaxRows or MaxResultBytes"
	}
	return e
}
