package sqltest

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	tidb "github.com/pingcap/tidb/pkg/parser"
	tidbast "github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver"
	pgquery "github.com/wasilibs/go-pgquery"
)

// parsed is what a full parser finds in one statement.
type parsed struct {
	sql            string
	reads, writes  []string // tables; what is written is among the reads too
	writing, other bool     // INSERT and its like occur; something else than those and SELECT
}

// The tokens are compared with full parsers on the statements in the parsers' own tests: no table that is read may be
// missed in what is kept, none that is written in what falls, and nothing that writes may be kept.
func TestCorpus(t *testing.T) {
	texts := corpus(t)
	for dialect, parse := range map[string]func(string) (parsed, bool){"postgres": parsePostgres, "mysql": parseMySQL} {
		t.Run(dialect, func(t *testing.T) {
			var all []parsed
			tables := map[string]bool{}
			for _, sql := range texts {
				if p, ok := parse(sql); ok {
					all = append(all, p)
					for _, n := range slices.Concat(p.reads, p.writes) {
						tables[strings.ToLower(n)] = true
					}
				}
			}
			b := newBase(t, dialect)
			plain := b.plain(t)
			q := map[string]string{"postgres": `"`, "mysql": "`"}[dialect]
			made := 0
			for n := range tables {
				if n == "" || strings.Contains(n, q) || len(n) > 60 {
					continue
				}
				if _, err := plain.Exec("CREATE TABLE " + q + n + q + " (id INT)"); err == nil {
					made++
				} else {
					delete(tables, n)
				}
			}
			_, c := open(t, b)
			kept, wrote := 0, 0
			for _, p := range all {
				e := c.Explain(p.sql)
				if e.Cached {
					kept++
					if p.writing || p.other {
						t.Errorf("kept, and it is no pure read: %q", p.sql)
					}
					missed(t, p.sql, "read", p.reads, e.Reads, tables)
				}
				if strings.HasPrefix(e.Why, "EXPLAIN") || strings.HasPrefix(e.Why, "DESC") {
					continue // tells what it would do, and does nothing
				}
				if p.writing && !slices.Equal(e.Writes, []string{"*"}) {
					wrote++
					missed(t, p.sql, "written", p.writes, e.Writes, tables)
				}
				if (p.writing || p.other) && e.Why == "" {
					t.Errorf("no reason: %q", p.sql)
				}
			}
			t.Logf("%d statements parsed, %d tables; %d kept, %d writes told apart", len(all), made, kept, wrote)
			if len(all) < 500 || kept < 100 || wrote < 50 {
				t.Error("too few to prove anything")
			}
		})
	}
}

func missed(t *testing.T, sql, what string, want, have []string, known map[string]bool) {
	for _, w := range want {
		w = strings.ToLower(w)
		if what == "written" && !known[w] {
			continue // an alias
		}
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasSuffix(strings.ToLower(h), "."+w) }) {
			t.Errorf("%s is %s and was missed: %q has %v", w, what, sql, have)
		}
	}
}

// corpus is every string in the tests of the two parsers.
func corpus(t *testing.T) []string {
	t.Helper()
	seen := map[string]bool{}
	for _, mod := range []string{"github.com/pingcap/tidb/pkg/parser", "github.com/wasilibs/go-pgquery"} {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", mod).Output()
		if err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*_test.go"))
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(s, " ") && !strings.HasPrefix(s, "{") && len(s) < 4000 {
						seen[s] = true
					}
				}
				return true
			})
		}
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

func parsePostgres(sql string) (p parsed, ok bool) {
	out, err := pgquery.ParseToJSON(sql)
	if err != nil {
		return p, false
	}
	var tree struct {
		Stmts []struct{ Stmt map[string]any }
	}
	if json.Unmarshal([]byte(out), &tree) != nil || len(tree.Stmts) == 0 {
		return p, false
	}
	p.sql = sql
	ctes := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for k, x := range v {
				m, _ := x.(map[string]any)
				switch k {
				case "CommonTableExpr":
					ctes[fmt.Sprint(m["ctename"])] = true
				case "RangeVar":
					p.reads = append(p.reads, fmt.Sprint(m["relname"]))
				case "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt":
					p.writing = true
					if rel, ok := m["relation"].(map[string]any); ok {
						p.writes = append(p.writes, fmt.Sprint(rel["relname"]))
						p.reads = append(p.reads, fmt.Sprint(rel["relname"]))
					}
				case "intoClause":
					p.other = true
				}
				walk(x)
			}
		}
	}
	for _, s := range tree.Stmts {
		for kind := range s.Stmt {
			switch kind {
			case "SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt":
			default:
				p.other = true
			}
		}
		walk(s.Stmt)
	}
	p.reads = slices.DeleteFunc(p.reads, func(n string) bool { return ctes[n] })
	return p, true
}

var tidbParser = tidb.New()

type tableVisitor struct {
	p    *parsed
	ctes map[string]bool
}

func (v *tableVisitor) Enter(n tidbast.Node) (tidbast.Node, bool) {
	switch n := n.(type) {
	case *tidbast.CommonTableExpression:
		v.ctes[n.Name.L] = true
	case *tidbast.TableName:
		v.p.reads = append(v.p.reads, n.Name.O)
	case *tidbast.InsertStmt, *tidbast.UpdateStmt, *tidbast.DeleteStmt:
		v.p.writing = true
	case *tidbast.SelectIntoOption:
		v.p.other = true
	}
	return n, false
}

func (v *tableVisitor) Leave(n tidbast.Node) (tidbast.Node, bool) { return n, true }

func parseMySQL(sql string) (p parsed, ok bool) {
	defer func() {
		if recover() != nil { // the parser panics at numbers that its test driver cannot hold
			tidbParser, ok = tidb.New(), false
		}
	}()
	stmts, _, err := tidbParser.Parse(sql, "", "")
	if err != nil || len(stmts) == 0 {
		return p, false
	}
	p.sql = sql
	v := &tableVisitor{&p, map[string]bool{}}
	for _, s := range stmts {
		switch s.(type) {
		case *tidbast.SelectStmt, *tidbast.SetOprStmt, *tidbast.InsertStmt, *tidbast.UpdateStmt, *tidbast.DeleteStmt:
		default:
			p.other = true
		}
		s.Accept(v)
	}
	p.reads = slices.DeleteFunc(p.reads, func(n string) bool { return v.ctes[strings.ToLower(n)] })
	if p.writing { // the first named is written; all may be
		p.writes = p.reads
	}
	return p, true
}
