package sqlengine

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type sqlite struct{}

// memoryScope begins the scope of a database without a file: each connection has another, so there must be one alone.
const memoryScope = "sqlite:memory:"

// SQLite is SQLite 3, as modernc.org/sqlite and others bring it along.
func SQLite() Dialect { return sqlite{} }

func (sqlite) Name() string { return "sqlite" }

func (sqlite) syntax() syntax {
	return syntax{ansiQuotes: true, backquote: true, bracket: true, colonParams: true, stringsAsName: true}
}

// sqlitePure are SQLite's own functions that give the same for the same. Those of dates are not among them: a string
// 'now' may come from a column.
var sqlitePure = fields(`
abs char coalesce concat concat_ws format glob hex if ifnull iif instr length likelihood likely like lower ltrim max min
nullif octet_length printf quote replace round rtrim sign soundex substr substring trim typeof unhex unicode unlikely
upper zeroblob avg count group_concat string_agg sum total median percentile percentile_cont percentile_disc
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power
radians sin sinh sqrt tan tanh trunc cast
json jsonb json_array jsonb_array json_array_length json_error_position json_extract jsonb_extract json_insert
jsonb_insert json_object jsonb_object json_patch jsonb_patch json_pretty json_remove jsonb_remove json_replace
jsonb_replace json_set jsonb_set json_type json_valid json_quote json_group_array jsonb_group_array json_group_object
jsonb_group_object json_each json_tree jsonb_each jsonb_tree generate_series unistr unistr_quote subtype
`)

var sqliteFickle = fields(`
date time datetime julianday unixepoch strftime timediff random randomblob changes total_changes last_insert_rowid
sqlite_version sqlite_source_id sqlite_compileoption_get sqlite_compileoption_used sqlite_offset bm25 highlight snippet
raise pragma_table_info pragma_table_xinfo pragma_index_list pragma_index_info pragma_foreign_key_list
pragma_database_list pragma_table_list pragma_function_list
`)

// sqliteKeywords are those of its keywords that a bracket may follow. Names of types are none: datetime and time are functions,
// and others may be of the program's.
var sqliteKeywords = fields(`
select from where and or not in exists all as join on using having by union except intersect values case when then else
between like glob match regexp is distinct filter over limit offset partition cross inner outer natural set into insert with
recursive materialized returning conflict window rows range groups escape order
`)

func (sqlite) function(name string, _ *catalog) purity {
	switch {
	case sqlitePure[name]:
		return pure
	case name == "load_extension":
		return stateful
	case sqliteFickle[name]:
		return fickle
	}
	return anything
}

func (sqlite) session(ctx context.Context, q Querier, _ Session) (Session, error) {
	var s Session
	rows, err := q.Query(ctx, "PRAGMA read_uncommitted")
	if err != nil {
		return s, err
	}
	if len(rows) > 0 && rows[0][0] == "1" {
		s.unfit = "it reads what is not committed"
	}
	// Temporary tables hide others from their connection alone. That LIKE heeds the case cannot be asked otherwise.
	rows, err = q.Query(ctx, "SELECT count(*), 'a' LIKE 'A' FROM sqlite_temp_master WHERE type IN ('table', 'view')")
	if err != nil {
		return s, err
	}
	if rows[0][0] != "0" {
		s.unfit = "the session has temporary tables"
	}
	files, err := sqliteFiles(ctx, q)
	if err != nil {
		return s, err
	}
	for _, f := range files {
		s.same += f[0] + "=" + f[1] + ";"
	}
	s.same += "like=" + rows[0][1]
	for _, names := range []string{"full_column_names", "short_column_names"} {
		if rows, err = q.Query(ctx, "PRAGMA "+names); err != nil {
			return s, err
		}
		if len(rows) > 0 {
			s.same += ";" + names + "=" + rows[0][0]
		}
	}
	return s, nil
}

// sqliteFiles are the databases of a connection by name, main first, and their files, "" for one in memory.
func sqliteFiles(ctx context.Context, q Querier) ([][]string, error) {
	return q.Query(ctx, "SELECT name, file FROM pragma_database_list WHERE name <> 'temp' ORDER BY seq")
}

func (sqlite) load(ctx context.Context, q Querier) (*raw, error) {
	s, err := sqlite{}.session(ctx, q, Session{})
	if err != nil {
		return nil, err
	}
	in := &raw{same: s.same}
	files, err := sqliteFiles(ctx, q)
	if err != nil {
		return nil, err
	}
	file := files[0][1]
	if file == "" {
		in.scope = memoryScope + rand.Text()
	} else {
		if real, err := filepath.EvalSymlinks(file); err == nil {
			file = real
		}
		host, _ := os.Hostname()
		in.scope = "sqlite:" + host + ":" + file
	}
	rows, err := q.Query(ctx, "PRAGMA main.schema_version") // counts whatever changes the schema
	if err != nil {
		return nil, err
	}
	in.shape = rows[0][0]
	rows, err = q.Query(ctx, "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('table','view','trigger') ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		switch kind, name, table, sql := r[0], r[1], r[2], r[3]; kind {
		case "trigger":
			in.triggers = append(in.triggers, rawTrigger{schema: "main", table: table, body: sql, on: sqliteEvent(sql)})
		case "view":
			in.relations = append(in.relations, rawRelation{schema: "main", name: name, isView: true, view: sql})
		default:
			rel := rawRelation{schema: "main", name: name}
			tokens, _ := lex(sql, sqlite{}.syntax())
			switch {
			case strings.HasPrefix(name, "sqlite_"):
				rel.unkept = "a system table"
			case len(tokens) > 1 && tokens[1].is("virtual"):
				rel.unkept, rel.flushes = "a virtual table", "a virtual table"
			case sqliteFilled(tokens):
				rel.flushes = "a default or a check that calls a function"
			}
			has := func(w string) bool { return slices.ContainsFunc(tokens, func(t token) bool { return t.is(w) }) }
			rel.key.kind = integers
			rel.mixes = has("conflict") // REPLACE takes other rows away
			rel.unsettled = has("as")   // of generated columns
			in.relations = append(in.relations, rel)
		}
	}
	for _, name := range []string{"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"} {
		in.relations = append(in.relations, rawRelation{schema: "main", name: name, unkept: "a system table",
			flushes: "a system table"})
	}
	for _, f := range files[1:] {
		rows, err := q.Query(ctx, `SELECT name FROM "`+strings.ReplaceAll(f[0], `"`, `""`)+`".sqlite_master WHERE type IN ('table', 'view') ORDER BY 1`)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			in.relations = append(in.relations, rawRelation{schema: f[0], name: r[0], unkept: "a table of an attached database",
				flushes: "a table of an attached database"})
		}
	}
	if err := sqliteKeys(ctx, q, in); err != nil {
		return nil, err
	}
	// What a program has put in the place of a function of SQLite's own.
	rows, err = q.Query(ctx, "SELECT DISTINCT name FROM pragma_function_list WHERE NOT builtin ORDER BY 1")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if sqlitePure[fold(r[0])] {
			in.functions = append(in.functions, rawFunction{name: r[0], purity: anything, own: true})
		}
	}
	rows, err = q.Query(ctx, `SELECT m.name, f."table", f.on_update, f.on_delete, coalesce(f."to", '') FROM sqlite_master m,
		pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	at := map[string]*rawRelation{} // a reference or a trigger may write its table's name in another case
	for i, r := range in.relations {
		at[fold(r.name)] = &in.relations[i]
	}
	for i, t := range in.triggers {
		if r := at[fold(t.table)]; r != nil {
			in.triggers[i].table = r.name
		}
	}
	for _, r := range rows {
		child, parent, onUpdate, onDelete, column := r[0], at[fold(r[1])], r[2], r[3], r[4]
		if parent == nil {
			continue
		}
		in.falls = append(in.falls, foreignKey("main", parent.name, "main", child, onUpdate, onDelete)...)
		parent.referred = append(parent.referred, column)
		parent.unsettled = parent.unsettled || column == "" // of its key, whatever it is
	}
	return in, nil
}

// sqliteKeys finds the primary keys of one column, of those that may have one.
func sqliteKeys(ctx context.Context, q Querier, in *raw) error {
	rows, err := q.Query(ctx, `SELECT m.name, max(c.name), max(c.type) FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.pk > 0 GROUP BY 1 HAVING count(*) = 1 ORDER BY 1`)
	if err != nil {
		return err
	}
	keys := map[string]string{}
	for _, r := range rows {
		if strings.Contains(strings.ToUpper(r[2]), "INT") { // its affinity is INTEGER ("Datatypes In SQLite", 3.1)
			keys[r[0]] = r[1]
		}
	}
	for i := range in.relations {
		r := &in.relations[i]
		if r.key.column = keys[r.name]; r.key.column == "" {
			r.key = rowKey{}
		}
	}
	return nil
}

// sqliteFilled reports whether a table's definition calls a function that may write: one that a program registered.
func sqliteFilled(tokens []token) bool {
	for i := 2; i+1 < len(tokens); i++ {
		t := tokens[i]
		if t.kind == word && tokens[i+1].is("(") && i > 3 && !notFunctions[t.text] && !sqlitePure[t.text] && !sqliteFickle[t.text] &&
			(tokens[i-1].is("(") || tokens[i-1].kind == sign) && !tokens[i-1].is(",") {
			return true
		}
	}
	return false
}

// sqliteEvent is what runs a trigger: its first verb, for nothing can be named by one without quotes.
func sqliteEvent(sql string) verbs {
	tokens, doubt := lex(sql, sqlite{}.syntax())
	if doubt != "" {
		return allVerbs
	}
	for _, t := range tokens {
		if t.kind == word {
			if v := verbNamed(t.text); v != allVerbs {
				return v
			}
		}
	}
	return allVerbs
}

// hold is not needed: a writer holds the database's one write lock.
func (sqlite) hold(context.Context, Querier, string) error { return nil }

func (sqlite) lockBefore() string { return "BEGIN IMMEDIATE" }

// ended takes the write lock: who holds it knows that every other transaction that wrote is over.
func (sqlite) ended(ctx context.Context, q Querier, _ string) (bool, error) {
	if err := q.Exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		if strings.Contains(err.Error(), "lock") || strings.Contains(strings.ToUpper(err.Error()), "BUSY") {
			return false, nil
		}
		return false, err
	}
	return true, q.Exec(ctx, "ROLLBACK")
}
