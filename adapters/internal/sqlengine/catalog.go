package sqlengine

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/invalidate"
)

// raw is a catalog as a dialect reads it.
type raw struct {
	scope     string // names the database among all that share a Redis: the same for every process that uses it
	same      string // what every session must be like: see session
	shape     string // changes with any table that is made anew or rewritten, and with columns and types
	relations []rawRelation
	falls     []edge
	triggers  []rawTrigger
	functions []rawFunction
	hazards   []rawHazard
	seasonal  bool   // there is a time with a zone: which hour it is elsewhere goes by today's date
	danger    string // why nothing at all can be told; "" when it can
}

type rawRelation struct {
	schema, name string
	view         string // its definition
	isView       bool
	unkept       string // why reads of it are not kept; "" when they may be
	flushes      string // why a write to it may change anything
	atOnce       bool   // what is written to it cannot be rolled back
	policy       string // what its policies ask at every use of it
	computed     string // expressions of its columns that are not stored
	key          rowKey
	mixes        bool     // a write of one kind may be one of all kinds, to any of the rows
	referred     []string // the columns that foreign keys refer to
	unsettled    bool     // one of those may change in an UPDATE that does not name it
}

// rawHazard is a type by whose values a function of a user runs: whoever names it may write anything, and so may who
// writes to a table that has such columns.
type rawHazard struct {
	function, schema, name string
	table                  bool // the type is that of a table's rows
}

type rawTrigger struct {
	schema, table string
	body          string
	opaque        string // why the body says nothing: its language
	on            verbs  // which writes run it
	alters        bool   // it may change the row that is being written
}

type rawFunction struct {
	name      string
	purity    purity
	own       bool // made by a user, not brought along by the server
	attribute bool // may be called as a.name
	aggregate bool
}

// catalog is what is known of a database at one time. It never changes.
type catalog struct {
	dialect     Dialect
	scope, same string
	print       uint64          // of all that was read
	only        map[string]bool // Options.Tables; nil: every table
	byName      map[string][]*relation
	foreign     []*relation // whose names are not ASCII: how such names are folded is the server's business
	functions   map[string]rawFunction
	attributes  map[string]bool
	aggregates  map[string]bool
	hazards     map[string]bool
	danger      string
	seasonal    bool
	harmless    map[string]bool // Options.ReadOnlyFunctions
	arcs        map[*relation][]arc
}

// relation is a table or a view.
type relation struct {
	schema, name string
	def          string // of a view, or of a table's computed columns
	isView       bool
	unkept       string
	viewFlushes  bool // reading it runs functions that may write anything
	policy       string
	flushes      string      // why a write to it may change anything
	below        []*relation // what a view's text names
	bases        []*relation // what a read of it reads: itself, or a view's tables
	atOnce       bool
	key          rowKey // none where an UPDATE of one row may change others of the table
	mixes        bool
	referred     map[string]bool
	unsettled    bool
	expanding    bool
	expanded     bool
}

func (r *relation) tag() string { return r.schema + "." + r.name }

// fold is how names are compared: more alike than any dialect thinks them.
func fold(s string) string { return strings.ToLower(s) }

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

var printSeed = maphash.MakeSeed()

func newCatalog(d Dialect, in *raw, opts *Options) *catalog {
	cat := &catalog{
		dialect: d, scope: in.scope, same: in.same, danger: in.danger, seasonal: in.seasonal, byName: map[string][]*relation{},
		functions: map[string]rawFunction{}, attributes: map[string]bool{}, aggregates: map[string]bool{}, hazards: map[string]bool{},
		print: maphash.String(printSeed, fmt.Sprintf("%+v", *in)),
	}
	if opts.Scope != "" {
		cat.scope = opts.Scope
	}
	if opts.Tables != nil {
		cat.only = map[string]bool{}
		for _, t := range opts.Tables {
			cat.only[fold(t)] = true
		}
	}
	cat.harmless = map[string]bool{}
	for _, f := range opts.ReadOnlyFunctions {
		cat.harmless[fold(f)] = true
	}
	for _, f := range in.functions {
		name := fold(f.name)
		old, twice := cat.functions[name]
		if twice {
			f.own = f.own || old.own
			f.purity = max(f.purity, old.purity)
		}
		cat.functions[name] = f
		if f.attribute {
			cat.attributes[name] = true
		}
		if f.aggregate {
			cat.aggregates[name] = true
		}
	}
	columns := map[[2]string]string{}
	for _, h := range in.hazards {
		switch {
		case cat.function(fold(h.function)) < stateful:
		case h.table:
			columns[[2]string{h.schema, h.name}] = "a column whose type runs the function " + h.function
		default:
			cat.hazards[fold(h.name)] = true
		}
	}
	var list []*relation
	at := map[[2]string]*relation{}
	for _, r := range in.relations {
		rel := &relation{schema: r.schema, name: r.name, def: cmpOr(r.view, r.computed), isView: r.isView, unkept: r.unkept,
			flushes: cmpOr(r.flushes, columns[[2]string{r.schema, r.name}]), atOnce: r.atOnce, policy: r.policy, key: r.key,
			mixes: r.mixes, referred: map[string]bool{}, unsettled: r.unsettled}
		for _, column := range r.referred {
			rel.referred[fold(column)] = true
			rel.unsettled = rel.unsettled || !ascii(column)
		}
		list = append(list, rel)
		at[[2]string{r.schema, r.name}] = rel
		cat.byName[fold(r.name)] = append(cat.byName[fold(r.name)], rel)
		if !ascii(r.name) {
			cat.foreign = append(cat.foreign, rel)
		}
	}
	for _, r := range list {
		cat.expand(r)
	}
	cat.connect(list, at, in)
	return cat
}

// expand finds the tables below a view by the same rule as for any statement: those whose names its text has.
func (cat *catalog) expand(r *relation) {
	if r.expanded || r.expanding {
		return
	}
	r.expanding = true
	defer func() { r.expanding, r.expanded = false, true }()
	if !r.isView {
		r.bases = []*relation{r}
		if tokens, doubt := lex(r.def, cat.dialect.syntax()); doubt != "" {
			r.unkept = cmpOr(r.unkept, "a computed column that is not understood: "+doubt)
		} else if f := scan(tokens, cat); f.worst > pure || f.fickle {
			r.unkept = cmpOr(r.unkept, "a computed column: "+f.why+" is not the same at every call")
		}
		if why := cat.policed(r); why != "" {
			r.unkept, r.viewFlushes, r.flushes = why, true, cmpOr(r.flushes, why)
		}
		return
	}
	tokens, doubt := lex(r.def, cat.dialect.syntax())
	if i := slices.IndexFunc(tokens, func(t token) bool { return t.is("select") || t.is("with") || t.is("values") }); i >= 0 {
		tokens = tokens[i:]
	} else if doubt == "" {
		doubt = "no definition"
	}
	if doubt != "" {
		r.unkept, r.viewFlushes, r.flushes = doubt, true, doubt
		return
	}
	f := scan(tokens, cat)
	switch {
	case f.worst == anything, f.writes, f.assigns, f.worst == stateful:
		r.unkept, r.viewFlushes, r.flushes = cmpOr(f.why, "it writes"), true, cmpOr(f.why, "it writes")
	case f.worst == fickle, f.fickle:
		r.unkept = f.why + " is not the same at every call"
	case f.unknown != "":
		r.unkept = "it reads " + f.unknown + ", which is not in the catalog"
		r.flushes = r.unkept
	}
	for _, below := range f.tables {
		if below == r {
			continue
		}
		if below.expanding {
			r.unkept, r.flushes = "views that name each other", "views that name each other"
			continue
		}
		cat.expand(below)
		r.below = append(r.below, below)
		r.unkept = cmpOr(r.unkept, below.unkept)
		r.flushes = cmpOr(r.flushes, below.flushes)
		r.viewFlushes = r.viewFlushes || below.viewFlushes
		r.bases = append(r.bases, below.bases...)
	}
}

// policed says why any use of a table may write anything: its policies run with each.
func (cat *catalog) policed(r *relation) string {
	tokens, doubt := lex(r.policy, cat.dialect.syntax())
	if doubt != "" {
		return "a policy that is not understood: " + doubt
	}
	f := scan(tokens, cat)
	switch {
	case f.worst >= stateful:
		return "a policy that calls " + f.why
	case f.unknown != "":
		return "a policy that reads " + f.unknown + ", which is not in the catalog"
	}
	for _, below := range f.tables {
		if below == r {
			continue
		}
		if cat.expand(below); below.viewFlushes || below.expanding {
			return "a policy that reads " + below.tag()
		}
	}
	return ""
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// trigger says which tables a trigger's body names and what it may do to them, or why it may write any.
func (cat *catalog) trigger(t rawTrigger) (touched []*relation, does verbs, why string) {
	if t.opaque != "" {
		return nil, 0, "a trigger " + t.opaque
	}
	tokens, doubt := lex(t.body, cat.dialect.syntax())
	if doubt != "" {
		return nil, 0, "a trigger that is not understood: " + doubt
	}
	if cat.dialect.Name() == "sqlite" { // whose body is the whole definition: it does not do what it follows
		tokens = tokens[max(0, slices.IndexFunc(tokens, func(t token) bool { return t.is("when") || t.is("begin") })):]
	}
	for i, tok := range tokens {
		next := token{}
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch {
		case tok.is("execute"), tok.is("call"), tok.is("prepare"), tok.is("do") && (next.kind == text || next.is("language")):
			return nil, 0, "a trigger that runs what its text does not show"
		case tok.is("set") && (next.is("local") || next.is("session") || next.is("role") || next.is("search_path")):
			return nil, 0, "a trigger that changes the session"
		case tok.is("create"), tok.is("alter"), tok.is("drop"), tok.is("truncate"):
			if i > 0 {
				return nil, 0, "a trigger with DDL"
			}
		}
	}
	f := scan(tokens, cat)
	if f.worst >= stateful {
		return nil, 0, "a trigger that calls " + f.why
	}
	if f.unknown != "" {
		return nil, 0, "a trigger that names " + f.unknown + ", which is not in the catalog"
	}
	for _, r := range f.tables {
		if r.viewFlushes {
			return nil, 0, "a trigger that reads " + r.tag()
		}
	}
	return f.tables, cat.verbs(tokens, nil), ""
}

// named returns the relations that an identifier may mean.
func (cat *catalog) named(ident string) []*relation {
	if !ascii(ident) {
		return cat.foreign
	}
	return cat.byName[fold(ident)]
}

func (cat *catalog) knows(name string) bool { return len(cat.byName[name]) > 0 }

// made reports whether a user has made a function of that name.
func (cat *catalog) made(name string) bool { return cat.functions[name].own }

// keyword reports whether name, with a bracket behind it, calls nothing.
func (cat *catalog) keyword(name string) bool {
	if cat.dialect.Name() == "sqlite" {
		return sqliteKeywords[name]
	}
	return notFunctions[name] && !cat.made(name)
}

func (cat *catalog) function(name string) purity {
	if cat.harmless[name] {
		return fickle
	}
	if f, ok := cat.functions[name]; ok && f.own {
		return f.purity
	}
	return cat.dialect.function(name, cat)
}

// name is what falls with a table.
func (cat *catalog) name(table string) invalidate.Name { return tableName(cat.scope, table) }

func tableName(scope, table string) invalidate.Name {
	return invalidate.Tag("sql:" + scope + ":" + table)
}
