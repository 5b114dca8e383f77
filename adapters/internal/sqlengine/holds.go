package sqlengine

import (
	"context"
	"slices"
)

// holding finds out whether by still says what the database is like, or whether somebody's DDL came between the analysis
// of a statement and its run: then it may have written more than was thought, by a trigger for instance. Call it after
// the run. DDL that a statement can have seen has either been announced to its end, which a fence brings here, or its mark
// still stands; so the marks are read first. That takes the two round trips that setting a mark or settling it takes, and
// goes on beside it. The func returned waits for the answer. A nil by always holds.
func (e *Engine) holding(by *analysis) func() bool {
	if by == nil {
		return func() bool { return true }
	}
	if !e.tracker.Synced() || !e.upToDate(by) {
		return func() bool { return false }
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	answer := make(chan bool, 1)
	e.marks.call(func() {
		stands, err := e.marks.stands(ctx, catalogTag)
		answer <- err == nil && !stands && e.tracker.Fence(ctx) == nil && e.upToDate(by)
	})
	return func() bool {
		defer cancel()
		select {
		case holds := <-answer:
			return holds
		case <-ctx.Done():
			return false
		}
	}
}

// upToDate reports whether nobody here knows better than by.
func (e *Engine) upToDate(by *analysis) bool { return by.current() && e.current.Load().cat == by.cat }

// narrow is by, or nil where tables are all that there are: then nothing depends on what was thought.
func narrow(by *analysis, tables []string) *analysis {
	if slices.Contains(tables, allTables) {
		return nil
	}
	return by
}
