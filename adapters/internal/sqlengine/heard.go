package sqlengine

import (
	"context"
	"fmt"
	"slices"
)

// Change is what a transaction did to one table, as the server's log of changes tells it. The log tells row by row what
// foreign keys and triggers did as well, so a change need not fall on the tables that the log tells of: see [Told].
type Change struct {
	Schema, Table                         string
	Inserted, Updated, Deleted, Truncated bool

	Whole bool            // Keys are not all
	Keys  []any           // of the rows that were updated or deleted
	Kept  map[string]bool // columns, in lower case, that no update changed: false or missing is not known
}

// Told is what else a log tells of. The zero Told is a log that tells of nothing beside the change itself.
type Told struct {
	Of  func(schema, table string) bool // reports whether every change to the rows of a table is told of; nil: of none
	All bool                            // it is of each table and materialized view that the database has
}

// TouchChanges is Touch for the changes of one transaction. They fall on their own rows, and on the tables that a write of
// their kind may change and nobody tells of.
func (e *Engine) TouchChanges(ctx context.Context, changes []Change, told Told) error {
	cat, err := e.catalog(ctx)
	if err != nil {
		return err
	}
	var items []string
	for _, c := range changes {
		r := cat.exactly(c.Schema, c.Table)
		if r == nil {
			return fmt.Errorf("%w: %s.%s, as far as the catalog goes", ErrUnknownTable, c.Schema, c.Table)
		}
		items = append(items, cat.heard(r, c, told)...)
	}
	return e.tracker.Touch(ctx, e.marks.names(compact(items))...)
}

// exactly is the relation that the server calls so; nil where there is none.
func (cat *catalog) exactly(schema, name string) *relation {
	for _, r := range cat.byName[fold(name)] {
		if r.schema == schema && r.name == name {
			return r
		}
	}
	return nil
}

// heard are what falls with a change to r that a log tells. How far it goes is asked of the catalog as for a statement, also
// through tables that are told of: their triggers may have written though no row of theirs was changed.
func (cat *catalog) heard(r *relation, c Change, told Told) []string {
	reach := cat.reach(r, c.does(r))
	silent := func(x *relation) bool { return told.Of == nil || !told.Of(x.schema, x.name) }
	var items []string
	switch {
	case reach.flushes == "":
	case told.All:
		items = append(items, catalogTag) // of DDL nobody tells
	default:
		items = append(items, everything...)
	}
	if c.Whole || silent(r) && reach.others {
		items = append(items, r.tag())
	} else {
		items = append(items, r.rows(c.Keys)...)
	}
	fallen := []*relation{r}
	for _, x := range reach.falls {
		if x != r && silent(x) {
			fallen = append(fallen, x)
			items = append(items, x.tag())
		}
	}
	for i := 0; i < len(fallen); i++ { // the log names the table that a row is in, and no other that shows it
		for _, a := range cat.arcs[fallen[i]] {
			if a.as&seen != 0 && !slices.Contains(fallen, a.to) {
				fallen = append(fallen, a.to)
				items = append(items, a.to.tag())
			}
		}
	}
	return items
}

// does are the verbs of c, a change to r.
func (c Change) does(r *relation) (v verbs) {
	if c.Inserted {
		v |= inserts
	}
	if c.Deleted {
		v |= deletes
	}
	if c.Truncated {
		v |= allVerbs | truncates
	}
	if c.Updated {
		v |= edits
		for column := range r.referred {
			if !c.Kept[column] {
				v |= rekeys
			}
		}
	}
	return v
}
