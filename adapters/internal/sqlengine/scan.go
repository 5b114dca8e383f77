package sqlengine

import (
	"slices"
	"strings"
	"unicode"
)

// finding is what the tokens of one statement show.
type finding struct {
	tables  []*relation // every relation whose name occurs as an identifier, wherever
	worst   purity      // of all that is called
	why     string      // what worst, locks or fickle came from
	locks   bool        // FOR UPDATE and its like
	fickle  bool        // the time, the session or chance shows in the answer
	assigns bool        // a variable of the session is set
	writes  bool        // INSERT, UPDATE, DELETE, MERGE or REPLACE occurs
	into    bool        // INTO occurs where nothing is inserted
	unknown string      // a relation read or written that the catalog does not have
}

func (f *finding) call(p purity, what string) {
	if p > f.worst {
		f.worst, f.why = p, what
	}
}

func (f *finding) vary(what string) {
	f.fickle = true
	if f.why == "" {
		f.why = what
	}
}

// scanner walks over the tokens of one statement.
type scanner struct {
	cat    *catalog
	syntax syntax
	tokens []token
	f      finding
	ctes   map[string]bool
	plain  map[int]bool // tokens that a bracket follows and that are called nothing for it: targets and CTEs
	frames []frame      // one an open bracket
	closed frame        // the last that was closed
}

type frame struct {
	function string // the function whose arguments these are
	from     bool   // in a FROM list
}

func scan(tokens []token, cat *catalog) finding {
	s := scanner{cat: cat, syntax: cat.dialect.syntax(), tokens: tokens, ctes: map[string]bool{}, plain: map[int]bool{},
		frames: []frame{{}}}
	for i := range tokens {
		if tokens[i].is("with") {
			s.with(i + 1)
		}
	}
	for i := range tokens {
		s.token(i)
	}
	return s.f
}

func (s *scanner) at(i int) token {
	if i < 0 || i >= len(s.tokens) {
		return token{kind: sign}
	}
	return s.tokens[i]
}

func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// with notes the names that WITH gives to queries. What does not look like them is left alone.
func (s *scanner) with(i int) {
	if s.at(i).is("recursive") {
		i++
	}
	for {
		name := i
		if !s.at(i).name() {
			return
		}
		i++
		if s.at(i).is("(") {
			i = s.closing(i) + 1
		}
		if !s.at(i).is("as") {
			return
		}
		i++
		if s.at(i).is("not") {
			i++
		}
		if s.at(i).is("materialized") {
			i++
		}
		if !s.at(i).is("(") {
			return
		}
		s.ctes[fold(s.at(name).text)] = true
		s.plain[name] = true
		i = s.closing(i) + 1
		if !s.at(i).is(",") {
			return
		}
		i++
	}
}

// closing is the index of the bracket that closes the one at i.
func (s *scanner) closing(i int) int {
	depth := 0
	for ; i < len(s.tokens); i++ {
		switch {
		case s.tokens[i].is("("):
			depth++
		case s.tokens[i].is(")"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return i
}

func (s *scanner) token(i int) {
	t := s.tokens[i]
	switch t.kind {
	case sign:
		s.sign(i, t)
		return
	case text:
		if s.cat.dialect.Name() == "postgres" && speaksOfNow(t.text) {
			s.f.vary("a string that means the present: '" + t.text + "'")
		}
		if !s.syntax.stringsAsName {
			return
		}
	case number, param:
		return
	}
	for _, r := range s.cat.named(t.text) {
		if !slices.Contains(s.f.tables, r) {
			s.f.tables = append(s.f.tables, r)
		}
	}
	if t.kind != text {
		s.called(i, t)
	}
	if t.kind == word {
		s.word(i, t.text)
	}
}

func (s *scanner) sign(i int, t token) {
	switch t.text {
	case "(":
		p := s.at(i - 1)
		f := frame{from: s.top().from && (p.is("from") || p.is("join") || p.is(",") || p.is("("))} // a join in brackets
		if p.name() {
			f.function = p.text
		}
		s.frames = append(s.frames, f)
	case ")":
		if s.closed = *s.top(); len(s.frames) > 1 {
			s.frames = s.frames[:len(s.frames)-1]
		}
	case ",":
		if s.top().from {
			s.target(i + 1)
		}
	case "@":
		if s.syntax.hash { // MySQL's variables; elsewhere an operator
			s.f.vary("a variable of the session")
		}
	case "=":
		if s.at(i-1).is(":") && s.syntax.hash {
			s.f.assigns = true
		}
	}
}

// called looks at what is followed by a bracket, and at what can be called without one.
func (s *scanner) called(i int, t token) {
	name := fold(t.text)
	if s.cat.hazards[name] {
		s.f.call(anything, "the type or function "+name)
	}
	prev := s.at(i - 1)
	if prev.is(".") && s.cat.attributes[name] {
		s.f.call(s.cat.function(name), "the function "+name)
	}
	if s.syntax.dollarQuotes && (postgresAdrift[name] || name == "timezone" && s.cat.seasonal) {
		s.f.vary(name)
	}
	switch {
	case !s.at(i + 1).is("("), s.plain[i]:
		return
	case t.kind == word && s.cat.keyword(name):
		return
	case prev.is("tablesample"), prev.is("as"): // an alias with its columns, or a type
		return
	case prev.is(")") && (s.top().from && s.closed.function != "operator" || s.closed.function == "using"):
		return
	case prev.is(".") && s.syntax.hash && !s.cat.made(name) && !mysqlSchemas[fold(s.at(i-2).text)]:
		s.f.call(anything, "the function "+name+" of a package")
		return
	}
	s.f.call(s.cat.function(name), "the function "+name)
}

func (s *scanner) word(i int, w string) {
	prev, next := s.at(i-1), s.at(i+1)
	if prev.is(".") {
		return
	}
	switch w {
	case "from":
		switch s.top().function {
		case "extract", "substring", "trim", "overlay", "position", "substr", "mid":
			return
		}
		if prev.is("distinct") && (s.at(i-2).is("is") || s.at(i-2).is("not")) {
			return
		}
		s.top().from = true
		s.target(i + 1)
	case "where", "group", "having", "order", "limit", "union", "intersect", "except", "window", "select", "set", "values",
		"returning", "fetch", "offset", "for":
		s.top().from = false
		if w == "for" && (next.is("update") || next.is("share") || next.is("no") || next.is("key")) {
			s.f.locks = true
		}
	case "join", "straight_join":
		s.target(i + 1)
	case "table":
		if i == 0 {
			s.target(1)
		}
	case "using":
		if fn := s.top().function; next.name() && fn != "convert" && fn != "char" {
			s.target(i + 1)
		}
	case "into":
		s.into(i)
	case "insert", "merge":
		if w == "insert" && next.is("(") && s.syntax.hash { // the function
			return
		}
		s.write(i)
		if w == "insert" && !next.is("(") {
			s.inserted(i + 1)
		}
	case "replace":
		if !next.is("(") {
			s.write(i)
			s.inserted(i + 1)
		}
	case "update":
		switch {
		case locks(s.tokens, i):
			s.f.locks = true
		case prev.is("key"), prev.is("do"), prev.is("on"), next.is("set"):
			s.write(i)
		default:
			s.write(i)
			s.target(i + 1)
		}
	case "delete":
		s.write(i)
	case "lock":
		s.f.locks = s.f.locks || s.syntax.hash
	case "in":
		if s.syntax.stringsAsName && !next.is("(") { // SQLite's IN table
			s.target(i + 1)
		}
	case "with":
		if next.is("time") && s.at(i+2).is("zone") && s.timeBefore(i) {
			s.f.vary("TIME WITH TIME ZONE")
		}
	case "at":
		if s.cat.seasonal && (next.is("time") || next.is("local")) {
			s.f.vary("AT TIME ZONE")
		}
	case "default":
		if s.syntax.hash && next.is("(") {
			s.f.vary("DEFAULT()")
		}
	case "sysdate", "rowcount": // MariaDB's SYSDATE and SQL%ROWCOUNT in its sql_mode ORACLE
		if s.syntax.hash && (w == "sysdate" || prev.is("%")) {
			s.f.vary(strings.ToUpper(w))
		}
	case "examined":
		if prev.is("rows") {
			s.f.vary("LIMIT ROWS EXAMINED")
		}
	case "sql_calc_found_rows", "sql_no_cache":
		if s.syntax.hash {
			s.f.vary(strings.ToUpper(w)) // the next statement asks the session for the count
		}
	case "tablesample":
		s.f.vary("a random sample")
	case "procedure", "outfile", "dumpfile":
		if s.syntax.hash {
			s.f.call(anything, w)
		}
	case "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "utc_date", "utc_time",
		"utc_timestamp", "current_user", "current_role", "session_user", "system_user", "current_catalog",
		"current_schema":
		s.f.vary(strings.ToUpper(w))
	case "user":
		if s.cat.dialect.Name() == "postgres" {
			s.f.vary("USER")
		}
	}
}

// timeBefore reports whether time or time(n) stands before i.
func (s *scanner) timeBefore(i int) bool {
	if s.at(i - 1).is(")") {
		i -= 3
	}
	return s.at(i - 1).is("time")
}

func (s *scanner) write(int) { s.f.writes = true }

// inserted is for MySQL, where INTO may be left out.
func (s *scanner) inserted(i int) {
	for j := i; j < len(s.tokens) && j < i+6; j++ {
		switch t := s.tokens[j]; {
		case t.is("into"):
			return
		case t.kind == word && modifiers[t.text]:
		default:
			s.target(j)
			return
		}
	}
}

func (s *scanner) into(i int) {
	for j := i - 1; j >= 0; j-- {
		if t := s.tokens[j]; t.is("insert") || t.is("replace") || t.is("merge") {
			s.target(i + 1)
			return
		} else if t.kind != word || !modifiers[t.text] {
			break
		}
	}
	s.f.into = true
}

var modifiers = set("low_priority", "delayed", "high_priority", "ignore", "quick", "or", "replace", "abort", "fail",
	"rollback", "only", "lateral", "overwriting")

// target checks that the relation named at i is one that the catalog knows: an unknown one may be new.
func (s *scanner) target(i int) {
	for s.at(i).kind == word && modifiers[s.at(i).text] && s.at(i+1).name() {
		i++
	}
	for s.at(i).is("(") && !s.at(i+1).is("select") { // a join in brackets
		if s.at(i+1).is("(") || s.at(i+1).name() && !notFunctions[s.at(i+1).text] {
			i++
			continue
		}
		return
	}
	t := s.at(i)
	switch {
	case t.is("("):
		return
	case t.kind == text && s.syntax.stringsAsName:
	case !t.name():
		s.missing("an expression")
		return
	}
	for s.at(i+1).is(".") && (s.at(i+2).name() || s.at(i+2).kind == text) {
		i += 2
	}
	name := fold(s.at(i).text)
	inserts := s.at(i+1).is("(") && !s.top().from && s.f.writes
	switch {
	case s.ctes[name], name == "dual", s.cat.knows(name):
		if inserts {
			s.plain[i] = true
		}
	case s.at(i + 1).is("("): // a function in FROM: see called
		if inserts {
			s.missing(name)
		}
	case t.kind == word && notFunctions[name]:
		// ROWS FROM (...), VALUES, SELECT
	default:
		s.missing(name)
	}
}

func (s *scanner) missing(what string) {
	if s.f.unknown == "" {
		s.f.unknown = what
	}
}

// speaksOfNow reports whether s has a word that PostgreSQL reads as the present when it is taken for a date.
func speaksOfNow(s string) bool {
	for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return !unicode.IsLetter(r) }) {
		switch strings.ToLower(w) {
		case "now", "today", "tomorrow", "yesterday":
			return true
		}
	}
	return false
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

func fields(s string) map[string]bool { return set(strings.Fields(s)...) }

// notFunctions are words that a bracket may follow and that call nothing: keywords and the names of types.
var notFunctions = fields(`
select from where and or not in exists any all some over as join on using having by union except intersect values case
when then else elsif elseif end between like ilike similar is distinct filter within group order limit offset partition
array row lateral cross inner outer natural straight_join set into insert with recursive materialized returning
conflict do key index primary unique references check default window rows range groups unbounded escape collate
operator variadic ordinality rollup cube sets grouping search cycle only fetch first next ties interval if return while
loop begin declare raise exception until repeat perform xor div mod binary rlike regexp glob match against minus
varchar varchar2 char character varying nchar nvarchar numeric decimal dec number bit varbit timestamp timestamptz time
timetz datetime float double precision real int integer bigint smallint tinyint mediumint signed unsigned text
varbinary blob bytea json jsonb year partitions force use ignore nothing matched of separator for leading trailing both zone symmetric asymmetric placing columns
`)
