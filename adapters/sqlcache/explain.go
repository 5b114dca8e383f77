package sqlcache

import "strings"

// Explanation is what [Connector.Explain] found.
type Explanation struct {
	Cached bool     // answers are kept, outside transactions
	Why    string   // if not: the reason
	Reads  []string // the base tables that answers depend on, as schema.table
	Writes []string // the tables that fall with it; "*" for all
	ByRow  string   // the primary key by which it is about rows, if its arguments are such that can be told; or ""
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
	if e.ByRow != "" {
		b.WriteString("; rows by their " + e.ByRow)
	}
	return b.String()
}

// Explain says whether answers to query are kept, on what they depend, and if not, why not. It runs nothing; without a
// catalog it reads that.
func (c *Connector) Explain(query string) Explanation { return Explanation(c.engine.Explain(query)) }
