package sqlengine

import "strings"

// verbs are the kinds of change that a write makes to a table's rows. By them the databases tell which cascades and
// triggers follow.
type verbs uint8

const (
	inserts verbs = 1 << iota
	edits         // an UPDATE that changes no column which a foreign key refers to
	rekeys        // one that may
	deletes
	overrides // in SQLite OR REPLACE, which goes for what triggers do as well
	truncates // TRUNCATE, as a log of changes tells it: a statement that does it is not followed, it changes anything
	seen      // no change of the table's own, but one of an heir's or a partition's rows, which reads of the table show

	updates  = edits | rekeys
	allVerbs = inserts | updates | deletes
)

// verbNamed is what INSERT, UPDATE or DELETE does; anything else is taken for all of them.
func verbNamed(verb string) verbs {
	switch strings.ToUpper(verb) {
	case "INSERT":
		return inserts
	case "UPDATE":
		return updates
	case "DELETE":
		return deletes
	}
	return allVerbs
}

// blind is v where the statement is not known that did it.
func (cat *catalog) blind(v verbs) verbs {
	if cat.dialect.Name() == "sqlite" {
		v |= overrides
	}
	return v
}

// edge is what else a write changes: a write to from of the kinds on makes changes to to of the kinds as.
type edge struct {
	fromSchema, from, toSchema, to string
	on, as                         verbs
}

// foreignKey are the edges of a foreign key: from is the table that it refers to, to the one that has it. Its rules are
// named as the standard has them; TRUNCATE ... CASCADE asks for none.
func foreignKey(fromSchema, from, toSchema, to, onUpdate, onDelete string) []edge {
	edges := []edge{{fromSchema, from, toSchema, to, truncates, allVerbs | truncates}}
	if acts(onUpdate) {
		edges = append(edges, edge{fromSchema, from, toSchema, to, rekeys, updates})
	}
	switch {
	case strings.EqualFold(onDelete, "CASCADE"):
		edges = append(edges, edge{fromSchema, from, toSchema, to, deletes, deletes})
	case acts(onDelete):
		edges = append(edges, edge{fromSchema, from, toSchema, to, deletes, updates})
	}
	return edges
}

// acts reports whether a foreign key's rule changes the rows that refer.
func acts(rule string) bool {
	switch strings.ToUpper(rule) {
	case "", "NO ACTION", "RESTRICT":
		return false
	}
	return true
}

// reach is how far writes to a relation go.
type reach struct {
	falls   []*relation // the tables that they change
	others  bool        // they may change other rows of the relation than those they name
	flushes string      // why they may change anything
}

// arc is an edge as the catalog follows it. Without a table to it says why the write may change anything.
type arc struct {
	to     *relation
	why    string
	on, as verbs
}

// connect finds all arcs, with those of views and triggers.
func (cat *catalog) connect(list []*relation, at map[[2]string]*relation, in *raw) {
	cat.arcs = map[*relation][]arc{}
	add := func(from *relation, a arc) { cat.arcs[from] = append(cat.arcs[from], a) }
	for _, r := range list {
		if r.flushes != "" {
			add(r, arc{why: r.flushes, on: allVerbs})
		}
		if r.mixes {
			add(r, arc{to: r, on: allVerbs, as: allVerbs})
		}
		if r.isView {
			for _, below := range r.below { // a view may have triggers instead of a write to what is below it
				add(r, arc{to: below, on: allVerbs, as: allVerbs})
			}
		}
	}
	for _, e := range in.falls {
		from, to := at[[2]string{e.fromSchema, e.from}], at[[2]string{e.toSchema, e.to}]
		switch {
		case from == nil:
		case to == nil:
			add(from, arc{why: "it reaches " + e.to + ", which is not in the catalog", on: e.on})
		default:
			add(from, arc{to: to, on: e.on, as: e.as})
		}
	}
	for _, t := range in.triggers {
		from := at[[2]string{t.schema, t.table}]
		if from == nil {
			continue
		}
		if t.alters && t.on&updates != 0 {
			from.unsettled = true
		}
		touched, as, why := cat.trigger(t)
		if why != "" {
			add(from, arc{why: why, on: t.on})
		}
		for _, to := range touched {
			add(from, arc{to: to, on: t.on, as: as})
		}
	}
	for _, r := range list {
		if r.isView || r.unkept != "" || !ascii(r.key.column) || cat.reach(r, edits).others {
			r.key = rowKey{}
		}
	}
}

// reach is how far a write to r goes that does v.
func (cat *catalog) reach(r *relation, v verbs) reach {
	var out reach
	did := map[*relation]verbs{}
	var todo []*relation
	does := func(x *relation, v verbs) {
		before, known := did[x]
		if !known && !x.isView {
			out.falls = append(out.falls, x)
		}
		if v&^before != 0 {
			did[x] = before | v
			todo = append(todo, x)
		}
	}
	does(r, v)
	for len(todo) > 0 {
		x := todo[0]
		todo = todo[1:]
		for _, a := range cat.arcs[x] {
			switch {
			case a.on&did[x] == 0:
			case a.to == nil:
				out.flushes = cmpOr(out.flushes, a.why)
			default:
				out.others = out.others || a.to == r
				if does(a.to, a.as); did[x]&overrides != 0 {
					does(a.to, allVerbs|overrides)
				}
			}
		}
	}
	return out
}

// verbs is what a statement may do to the tables that it names.
func (cat *catalog) verbs(tokens []token, named []*relation) verbs {
	var v verbs
	for i, t := range tokens {
		switch {
		case t.kind != word, locks(tokens, i):
		case t.text == "insert":
			v |= inserts
		case t.text == "update":
			v |= updates
		case t.text == "delete":
			v |= deletes
		case t.text == "replace" && i+1 < len(tokens) && tokens[i+1].is("("): // the function
		case t.text == "replace" && cat.dialect.Name() == "sqlite":
			return allVerbs | overrides
		case t.text == "replace": // of MySQL, which takes away what is in the new row's place
			v |= inserts | deletes
		case t.text == "merge", t.text == "copy":
			return allVerbs
		}
	}
	switch {
	case v == updates && len(named) == 1 && cat.edits(tokens, named[0]):
		return edits
	case v == 0:
		return allVerbs
	}
	return v
}

// rowNames are SQLite's names for a key that may have another as well.
var rowNames = fields("rowid oid _rowid_")

// edits reports whether tokens, an UPDATE that names no other relation than of, leaves the columns alone that foreign keys
// refer to. It looks for their names in all that is between SET and WHERE, and in strings too: SQLite takes them for names.
func (cat *catalog) edits(tokens []token, of *relation) bool {
	c := clauses{cat: cat, of: of, tokens: tokens}
	if of.isView || of.unsettled || !c.word("update") || !c.table() || !c.word("set") {
		return false
	}
	first := c.next
	c.assignments()
	for _, t := range tokens[first:c.next] {
		if t.kind == sign || t.kind == number || t.kind == param {
			continue
		}
		if name := fold(t.text); !ascii(t.text) || of.referred[name] || rowNames[name] {
			return false
		}
	}
	return true
}
