package sqlengine

import (
	"slices"
	"strings"
	"sync/atomic"
)

// class is what a statement may do.
type class uint8

const (
	reads   class = iota // a pure read: kept
	passes               // writes nothing, but its answer is not kept
	writes               // writes the tables it names and those that fall with them
	flushes              // not understood, or DDL: may have written anything
	begins               // a transaction's own commands, as texts
	commits
	rollsBack
	savepoints
)

// Statement is what a text was found to be by one catalog. What was found never changes.
type Statement struct {
	class    class
	why      string   // why it is not kept
	taints   bool     // the connection is another one afterwards: settings, temporary tables, locks
	local    bool     // a setting that ends with the transaction
	stays    bool     // a setting that shows in no answer, but must stay with who made it
	tables   []string // base tables read
	written  []string // what falls, as items: tables with all that falls with them; allTables alone: any
	byKey    *byKey   // it is about rows that it names; nil: about whole tables
	atOnce   bool     // commits by itself even inside a transaction, or cannot be rolled back
	loose    bool     // may begin or end a transaction unseen
	ddl      bool
	oversize oversize     // whether its answers are too large
	Input    atomic.Int32 // the adapter's: placeholders + 1, once it has been prepared without an error
}

const (
	allTables  = "*"        // stands for every table, in marks and tags
	catalogTag = "#catalog" // falls, among the tables, with DDL and all that may hide some
)

// analyse says what query is.
func (cat *catalog) analyse(query string) *Statement {
	tokens, doubt := lex(query, cat.dialect.syntax())
	if doubt != "" {
		return cat.unknown("not understood: " + doubt)
	}
	parts := split(tokens)
	switch len(parts) {
	case 0:
		return &Statement{class: passes, why: "empty"}
	case 1:
		return cat.one(parts[0])
	}
	return cat.several(parts)
}

func split(tokens []token) [][]token {
	var parts [][]token
	start := 0
	for i := 0; i <= len(tokens); i++ {
		if i == len(tokens) || tokens[i].is(";") {
			if i > start {
				parts = append(parts, tokens[start:i])
			}
			start = i + 1
		}
	}
	return parts
}

// several is a text of more than one statement.
func (cat *catalog) several(parts [][]token) *Statement {
	var all []*Statement
	for _, p := range parts {
		all = append(all, cat.one(p))
	}
	return cat.union(all)
}

// union is what several statements do together.
func (cat *catalog) union(parts []*Statement) *Statement {
	all := &Statement{class: passes, why: "several statements"}
	for _, st := range parts {
		if st.loose || st.class == begins || st.class == commits || st.class == rollsBack {
			return cat.unknown("several statements, one of them " + st.why)
		}
	}
	for _, st := range parts {
		if st.class >= flushes {
			all = cat.flush("several statements, one of them " + st.why)
			break
		}
		if st.class == writes {
			all.class = writes
			all.written = append(all.written, st.written...)
		}
	}
	for _, st := range parts {
		all.taints = all.taints || st.taints
		all.stays = all.stays || st.stays
		all.atOnce = all.atOnce || st.atOnce
	}
	if all.class == writes {
		all.written = compact(all.written)
	}
	return all
}

// flush is the answer to whatever is not understood. Whoever may have written anything may also have changed the
// session, but for SQLite's statements, and in MySQL have committed.
func (cat *catalog) flush(why string) *Statement {
	return &Statement{class: flushes, why: why, taints: cat.dialect.Name() != "sqlite", written: []string{allTables, catalogTag},
		atOnce: cat.dialect.Name() == "mysql"}
}

// unknown is flush for what may also begin or end a transaction, so that nobody can say what the texts after it commit.
func (cat *catalog) unknown(why string) *Statement {
	st := cat.flush(why)
	st.atOnce, st.loose, st.taints = true, true, true
	return st
}

func (cat *catalog) pass(why string) *Statement { return &Statement{class: passes, why: why} }

// verb is the word that tokens begin with, behind brackets.
func verb(tokens []token) string {
	for _, t := range tokens {
		if !t.is("(") {
			if t.kind == word {
				return t.text
			}
			break
		}
	}
	return ""
}

func (cat *catalog) one(tokens []token) *Statement {
	first := verb(tokens)
	switch first {
	case "select", "with", "values", "table":
		return cat.query(tokens)
	case "insert", "update", "delete", "replace", "merge":
		return cat.dml(tokens, scan(tokens, cat))
	case "show", "wait": // PostgreSQL's WAIT FOR LSN
		return cat.pass(strings.ToUpper(first))
	case "explain", "describe", "desc": // in MySQL all are one
		if slices.ContainsFunc(tokens, func(t token) bool { return t.is("analyze") || t.is("analyse") }) {
			return cat.flush("EXPLAIN ANALYZE runs what it explains")
		}
		return cat.pass("EXPLAIN")
	case "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release":
		return cat.control(first, tokens)
	case "set", "reset", "use", "listen", "unlisten", "discard", "deallocate", "pragma":
		return cat.setting(first, tokens)
	case "create", "alter", "drop", "truncate", "rename", "grant", "revoke", "comment", "refresh", "reindex":
		st := cat.flush(strings.ToUpper(first))
		st.ddl = true
		st.taints = st.taints || slices.ContainsFunc(tokens, func(t token) bool { return sqliteOwn[strings.ToLower(t.text)] })
		st.loose = st.atOnce // it commits
		return st
	case "call", "copy", "do", "execute":
		if cat.dialect.Name() != "mysql" { // in a transaction they cannot end it
			return cat.flush("not understood: " + strings.ToUpper(first))
		}
	case "declare", "fetch", "move", "close", "lock", "notify", "analyze", "analyse", "vacuum", "checkpoint":
		switch {
		case cat.dialect.Name() == "postgres":
			return cat.aside(first, tokens)
		case cat.dialect.Name() == "sqlite" && (first == "vacuum" || first == "analyze"):
			return cat.flush(strings.ToUpper(first))
		}
	}
	return cat.unknown("not understood: " + strings.ToUpper(first))
}

// aside is what PostgreSQL does with no row: it maintains, locks or tells, or moves a cursor. What a cursor may write, by
// functions, counts as written by what declared it, in the same transaction: the server takes no other writes into one.
func (cat *catalog) aside(first string, tokens []token) *Statement {
	if first != "declare" {
		return cat.pass(strings.ToUpper(first))
	}
	for i := 2; i < len(tokens); i++ { // 1 is its name
		if !tokens[i].is("for") {
			continue
		}
		asked := tokens[i+1:]
		switch verb(asked) {
		case "select", "with", "values", "table":
			st := cat.query(asked)
			if st.class == reads {
				st = cat.pass("DECLARE")
			}
			st.taints = st.taints || tokens[i-1].is("hold") && tokens[i-2].is("with")
			return st
		}
		break
	}
	return cat.unknown("not understood: DECLARE")
}

// query is SELECT and what else may be a pure read.
func (cat *catalog) query(tokens []token) *Statement {
	f := scan(tokens, cat)
	switch {
	case cat.danger != "":
		return cat.flush(cat.danger)
	case f.writes:
		return cat.dml(tokens, f)
	case f.worst == anything:
		return cat.flush(f.why + " may write anything")
	case f.into:
		return cat.flush("INTO")
	case f.worst == stateful, f.assigns:
		return &Statement{class: passes, why: "changes the session: " + f.why, taints: true}
	case f.locks:
		return cat.pass("locks rows")
	case f.worst == fickle, f.fickle:
		return cat.pass(f.why + " is not the same at every call")
	case f.unknown != "":
		return cat.pass("reads " + f.unknown + ", which is not in the catalog")
	case len(f.tables) == 0:
		return cat.pass("reads no table")
	}
	var bases []*relation
	for _, r := range f.tables {
		if r.viewFlushes {
			return cat.flush("the view " + r.tag() + ": " + r.unkept)
		}
		if r.unkept != "" {
			return cat.pass(r.tag() + ": " + r.unkept)
		}
		bases = append(bases, r.bases...)
	}
	st := &Statement{class: reads}
	for _, b := range bases {
		if cat.only != nil && !cat.only[fold(b.name)] && !cat.only[fold(b.tag())] {
			return cat.pass(b.tag() + " is not among Options.Tables")
		}
		st.tables = append(st.tables, b.tag())
	}
	slices.Sort(st.tables)
	st.tables = slices.Compact(st.tables)
	if len(st.tables) == 0 {
		return cat.pass("reads no table")
	}
	if len(f.tables) == 1 {
		st.byKey = cat.namedRows(tokens, f.tables[0])
	}
	return st
}

// dml is a statement that writes the tables it names.
func (cat *catalog) dml(tokens []token, f finding) *Statement {
	switch {
	case cat.danger != "":
		return cat.flush(cat.danger)
	case f.worst == anything:
		return cat.flush(f.why + " may write anything")
	case f.unknown != "" || len(f.tables) == 0:
		return cat.flush("writes " + f.unknown + ", which is not in the catalog")
	}
	st := &Statement{class: writes, why: "a write", taints: f.worst == stateful || f.assigns}
	does, others := cat.verbs(tokens, f.tables), false
	for _, r := range f.tables {
		reach := cat.reach(r, does)
		if reach.flushes != "" {
			all := cat.flush("a write to " + r.tag() + ": " + reach.flushes)
			all.atOnce = all.atOnce || r.atOnce
			return all
		}
		others = others || reach.others
		for _, w := range reach.falls {
			st.written = append(st.written, w.tag())
			st.atOnce = st.atOnce || w.atOnce
		}
	}
	slices.Sort(st.written)
	st.written = slices.Compact(st.written)
	if len(f.tables) > 1 || others {
		return st
	}
	table := f.tables[0]
	beside := slices.DeleteFunc(slices.Clone(st.written), func(t string) bool { return t == table.tag() })
	if cat.newRows(tokens, table) {
		st.written = append(beside, someRows(table.tag()))
	} else if st.byKey = cat.namedRows(tokens, table); st.byKey != nil {
		st.byKey.others = beside
	}
	return st
}

var controlWords = fields(`begin start commit end rollback abort work transaction immediate deferred exclusive isolation
level read only write repeatable committed uncommitted serializable deferrable not with consistent snapshot and no chain
release tran`)

func (cat *catalog) control(first string, tokens []token) *Statement {
	has := func(w string) bool { return slices.ContainsFunc(tokens, func(t token) bool { return t.is(w) }) }
	st := &Statement{why: "controls a transaction"}
	switch {
	case first == "savepoint", first == "release", first == "rollback" && has("to"):
		st.class = savepoints
		return st
	}
	for _, t := range tokens {
		if !t.is(",") && (t.kind != word || !controlWords[t.text]) {
			return cat.unknown("not understood: " + strings.ToUpper(first) + " ... " + t.text)
		}
	}
	if has("release") {
		return cat.unknown(strings.ToUpper(first) + " RELEASE")
	}
	st.loose = has("chain") && !has("no")
	switch first {
	case "begin", "start":
		st.class = begins
	case "commit", "end":
		st.class = commits
	default:
		st.class = rollsBack
	}
	return st
}

// quiet are SQLite's pragmas that tell, or change neither rows nor the connection.
var quiet = fields(`table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list database_list
data_version compile_options function_list collation_list integrity_check quick_check foreign_key_check page_count
freelist_count module_list pragma_list optimize wal_checkpoint incremental_vacuum user_version application_id`)

// steady are SQLite's pragmas that change the connection, but no answer.
var steady = fields(`foreign_keys defer_foreign_keys ignore_check_constraints legacy_alter_table busy_timeout synchronous journal_mode
journal_size_limit wal_autocheckpoint cache_size cache_spill mmap_size temp_store page_size auto_vacuum secure_delete
query_only fullfsync checkpoint_fullfsync analysis_limit threads soft_heap_limit hard_heap_limit`)

// sqliteOwn are in a definition of what is the connection's alone, or may do anything to it.
var sqliteOwn = set("temp", "temporary", "virtual")

func (cat *catalog) setting(first string, tokens []token) *Statement {
	st := &Statement{class: passes, why: "changes the session", taints: true}
	has := func(w string) bool { return slices.ContainsFunc(tokens, func(t token) bool { return t.is(w) }) }
	if cat.dialect.Name() == "mysql" && (first == "reset" || has("autocommit") || has("password")) {
		return cat.unknown(strings.ToUpper(first) + " that commits")
	}
	switch first {
	case "pragma":
		if len(tokens) == 2 { // a question
			return cat.pass("PRAGMA")
		}
		about := 1
		if len(tokens) > 3 && tokens[2].is(".") {
			about = 3
		}
		if len(tokens) > about && tokens[about].name() {
			switch name := strings.ToLower(tokens[about].text); {
			case quiet[name]:
				return cat.pass("PRAGMA")
			case steady[name]:
				st.taints, st.stays = false, true
				return st
			}
		}
		st = cat.flush("PRAGMA")
		st.taints = true
		return st
	case "set":
		if has("(") || has("statement") {
			return cat.flush("SET of an expression")
		}
		st.local = cat.dialect.Name() == "postgres" && len(tokens) > 1 &&
			(tokens[1].is("local") || tokens[1].is("transaction") || tokens[1].is("constraints"))
	}
	return st
}
