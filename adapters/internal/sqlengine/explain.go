package sqlengine

import "context"

// Explanation is what [Engine.Explain] found.
type Explanation struct {
	Cached bool
	Why    string
	Reads  []string
	Writes []string
	ByRow  string
}

// Explain says whether answers to query are kept, on what they depend, and if not, why not. It runs nothing; without a
// catalog it reads that.
func (e *Engine) Explain(query string) Explanation {
	a, _, err := e.analysis(context.Background(), longestReading)
	if err != nil {
		return Explanation{Why: "the catalog cannot be read: " + err.Error()}
	}
	st := a.of(query)
	x := Explanation{Cached: st.class == reads, Why: st.why, Reads: st.tables, Writes: tablesOf(st.written)}
	if st.byKey != nil {
		x.ByRow = st.byKey.column
	}
	if st.class == flushes {
		x.Writes = []string{allTables}
	}
	if x.Cached && st.oversize.now() {
		x.Cached, x.Why = false, st.oversize.why()
	}
	return x
}
