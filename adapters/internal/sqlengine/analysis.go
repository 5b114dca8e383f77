package sqlengine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofreshet/freshet/invalidate"
)

// analysis is a catalog and what has been found out by it. A new catalog begins a new one, whose statements are other
// keys: what was kept by the old is not found any more.
type analysis struct {
	cat        *catalog
	valid      invalidate.Validity // falls with DDL announced by anybody, and with a gap
	statements sync.Map            // text -> *Statement
	n          atomic.Int64        // bytes that statements take
}

const (
	mostStatements    = 16 << 20 // bytes of all
	longestStatement  = 64 << 10 // bytes of a text that is remembered
	statementOverhead = 1 << 10
)

// of returns what query is. A longer text than is worth remembering is analysed each time, and its answers are not kept:
// they would be found again by what is remembered of the text.
func (a *analysis) of(query string) *Statement {
	if len(query) > longestStatement {
		if st := a.cat.analyse(query); st.class != reads {
			return st
		}
		return a.cat.pass("its text is longer than 64 KiB")
	}
	if st, ok := a.statements.Load(query); ok {
		return st.(*Statement)
	}
	st := a.cat.analyse(query)
	size := int64(len(query) + statementOverhead)
	if a.n.Add(size) > mostStatements { // texts made anew each time: begin again
		a.statements.Clear()
		a.n.Store(size)
	}
	had, _ := a.statements.LoadOrStore(query, st)
	return had.(*Statement)
}

// says is of by a catalog that may have fallen.
func (a *analysis) says(query string, fresh bool) *Statement {
	st := a.of(query)
	if fresh {
		return st
	}
	switch st.class {
	case reads:
		return a.cat.pass("the catalog is being changed")
	case writes:
		all := a.cat.flush("the catalog is being changed")
		all.written = []string{allTables} // hides no DDL
		all.taints = all.taints || st.taints
		return all
	}
	return st
}

func (a *analysis) current() bool {
	_, s := a.valid.Check(0)
	return s != invalidate.Fallen
}

// complaints are what costs all or most of the use, and is likely not meant.
func (cat *catalog) complaints(opts *Options) (said []string) {
	if cat.danger != "" {
		said = append(said, "nothing is kept: "+cat.danger)
	}
	for _, t := range opts.Tables {
		if _, err := cat.resolve(t); err != nil {
			said = append(said, fmt.Sprintf("Options.Tables names %q, which the database does not have", t))
		}
	}
	why := map[string]int{}
	for _, same := range cat.byName {
		for _, r := range same {
			if !r.isView && strings.HasPrefix(r.flushes, hiddenTriggers) {
				why[r.flushes]++
			}
		}
	}
	for w, n := range why {
		said = append(said, fmt.Sprintf("a write to any of %d tables flushes all: %s", n, w))
	}
	return said
}

// resolve finds relations by name or schema.name.
func (cat *catalog) resolve(table string) ([]*relation, error) {
	schema, name, qualified := strings.Cut(table, ".")
	if !qualified {
		schema, name = "", table
	}
	var found []*relation
	for _, r := range cat.byName[fold(name)] {
		if schema == "" || fold(r.schema) == fold(schema) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %q, as far as the catalog goes", ErrUnknownTable, table)
	}
	return found, nil
}
