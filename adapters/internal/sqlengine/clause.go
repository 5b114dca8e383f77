package sqlengine

import (
	"slices"
	"strconv"
	"strings"
)

// clauses reads the few statements that are about one row, word by word: what is not exactly one of them is about the
// whole table.
//
//	SELECT columns FROM table WHERE conditions [ORDER BY ...] [LIMIT ...]
//	UPDATE table SET ... WHERE conditions [RETURNING ...]
//	DELETE FROM table WHERE conditions [RETURNING ...]
//
// The conditions are joined by AND, compare columns with values, and one of them is: the primary key = a value. The
// columns are plain ones: an aggregate would give a row where there is none.
type clauses struct {
	cat    *catalog
	of     *relation
	tokens []token
	next   int
	alias  string

	row   Row
	arg   int
	found bool // the key's value
}

// singleRow says what makes tokens, a statement that names no other relation than of, one about a single row; nil if it
// is not.
func (cat *catalog) singleRow(tokens []token, of *relation) *single {
	if of.key.kind == noKey {
		return nil
	}
	c := clauses{cat: cat, of: of, tokens: tokens}
	switch {
	case c.word("select"):
		if !c.columns() || !c.word("from") || !c.table() || !c.where() || !c.order() || !c.limit() {
			return nil
		}
	case c.word("update"):
		if !c.table() || !c.word("set") {
			return nil
		}
		if c.assignments(); !c.where() || !c.returning() {
			return nil
		}
	case c.word("delete"):
		if !c.word("from") || !c.table() || !c.where() || !c.returning() {
			return nil
		}
	}
	args, ok := c.placeholders()
	if c.next < len(tokens) || !c.found || !ok {
		return nil
	}
	return &single{table: of.tag(), column: of.key.column, kind: of.key.kind, row: c.row, arg: c.arg, args: args}
}

// newRows reports whether tokens, a statement that names no other relation than of, adds rows and changes none.
func (cat *catalog) newRows(tokens []token, of *relation) bool {
	c := clauses{cat: cat, of: of, tokens: tokens}
	return of.key.kind != noKey && c.word("insert") && c.word("into") && c.name() &&
		!slices.ContainsFunc(tokens, func(t token) bool { return t.kind == word && mayReplace[t.text] })
}

// mayReplace are words that make an INSERT more than that.
var mayReplace = fields("on or set select with table replace update ignore delete")

func (c *clauses) peek() token {
	if c.next < len(c.tokens) {
		return c.tokens[c.next]
	}
	return token{kind: sign}
}

func (c *clauses) word(w string) bool {
	if !c.peek().is(w) {
		return false
	}
	c.next++
	return true
}

// path reads a.b.c, of which the last is returned and where it began.
func (c *clauses) path() (parts []token, ok bool) {
	for {
		t := c.peek()
		if t.kind != word && t.kind != quoted {
			return nil, false
		}
		parts = append(parts, t)
		c.next++
		if !c.word(".") {
			return parts, len(parts) <= 3
		}
	}
}

// name reads the table's own, with its schema or without.
func (c *clauses) name() bool {
	parts, ok := c.path()
	n := len(parts)
	return ok && n <= 2 && fold(parts[n-1].text) == fold(c.of.name) && (n == 1 || fold(parts[0].text) == fold(c.of.schema))
}

// table reads its name and an alias.
func (c *clauses) table() bool {
	if !c.name() {
		return false
	}
	t := c.peek()
	if as := c.word("as"); as || (t.kind == word || t.kind == quoted) && !t.is("where") && !t.is("set") {
		if t = c.peek(); t.kind != word && t.kind != quoted {
			return false
		}
		c.alias = fold(t.text)
		c.next++
	}
	return true
}

// column reads one of the table's.
func (c *clauses) column() (column token, ok bool) {
	parts, ok := c.path()
	n := len(parts)
	if !ok || n > 1 && !c.itself(parts[:n-1]) {
		return token{}, false
	}
	return parts[n-1], true
}

// itself reports whether what stands before a column is the table.
func (c *clauses) itself(parts []token) bool {
	last := fold(parts[len(parts)-1].text)
	if len(parts) == 1 && c.alias != "" {
		return last == c.alias
	}
	return last == fold(c.of.name) && (len(parts) == 1 || fold(parts[0].text) == fold(c.of.schema))
}

// columns reads what is selected. The alias is not known yet, but a wrong one is the server's to refuse.
func (c *clauses) columns() bool {
	for {
		switch {
		case c.word("*"):
		case c.peek().kind == number:
			c.next++
		case !c.selected():
			return false
		}
		if !c.word(",") {
			return true
		}
	}
}

// selected reads table.*, or a column and its alias. In PostgreSQL table.count may be the aggregate.
func (c *clauses) selected() bool {
	for dotted := false; ; dotted = true {
		t := c.peek()
		if dotted && c.word("*") {
			return true
		}
		if t.kind != word && t.kind != quoted {
			return false
		}
		c.next++
		if c.word(".") {
			continue
		}
		if dotted && c.cat.aggregates[fold(t.text)] {
			return false
		}
		break
	}
	if t := c.peek(); c.word("as") || (t.kind == word || t.kind == quoted) && !t.is("from") {
		if t = c.peek(); t.kind != word && t.kind != quoted {
			return false
		}
		c.next++
	}
	return true
}

// assignments reads over what is set. The key may be among it: nothing can be known of a row with the new one but that
// there is none.
func (c *clauses) assignments() {
	depth := 0
	for ; c.next < len(c.tokens); c.next++ {
		switch t := c.peek(); {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && (t.is("where") || t.is("from") && !c.tokens[c.next-1].is("distinct")): // IS DISTINCT FROM
			return
		}
	}
}

func (c *clauses) where() bool { return c.word("where") && c.conditions() }

func (c *clauses) conditions() bool {
	for {
		if c.word("(") {
			if !c.conditions() || !c.word(")") {
				return false
			}
		} else if !c.condition() {
			return false
		}
		if !c.word("and") {
			return true
		}
	}
}

// condition reads column = value, or column IS [NOT] NULL.
func (c *clauses) condition() bool {
	column, ok := c.column()
	if !ok {
		return false
	}
	if c.word("is") {
		c.word("not")
		return c.word("null")
	}
	if !c.word("=") {
		return false
	}
	v := c.peek()
	at := c.next
	switch c.next++; {
	case v.kind == param, v.kind == number, v.kind == text:
	case v.is("true"), v.is("false"):
		return true
	default:
		return false
	}
	if c.isKey(column) && !c.found {
		return c.keyed(v, at)
	}
	return true
}

func (c *clauses) isKey(column token) bool {
	if !ascii(column.text) {
		return false
	}
	if c.cat.dialect.Name() == "postgres" {
		return column.text == c.of.key.column
	}
	return fold(column.text) == fold(c.of.key.column)
}

// keyed notes the key's value, the token at index at.
func (c *clauses) keyed(v token, at int) bool {
	switch v.kind {
	case param:
		n, ok := c.place(at)
		if !ok {
			return false
		}
		c.arg = n - 1
	case number:
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil {
			return false
		}
		c.row = integer(n)
	case text:
		c.row = uuid(v.text)
	}
	c.found = true
	return v.kind == param || c.row.kind == c.of.key.kind
}

// place says for which argument, from 1, the placeholder at index at stands; ok is false where that is not told by
// places.
func (c *clauses) place(at int) (n int, ok bool) {
	if c.cat.dialect.Name() == "postgres" {
		digits, numbered := strings.CutPrefix(c.tokens[at].text, "$")
		n, err := strconv.Atoi(digits)
		return n, numbered && err == nil && n > 0
	}
	for _, t := range c.tokens[:at+1] {
		if t.kind == param {
			if t.text != "?" {
				return 0, false
			}
			n++
		}
	}
	return n, true
}

// placeholders is how many arguments the statement takes.
func (c *clauses) placeholders() (n int, ok bool) {
	for i, t := range c.tokens {
		if t.kind == param {
			at, ok := c.place(i)
			if !ok {
				return 0, false
			}
			n = max(n, at)
		}
	}
	return n, true
}

func (c *clauses) order() bool {
	if !c.word("order") {
		return true
	}
	if !c.word("by") {
		return false
	}
	for {
		if c.peek().kind == number {
			c.next++
		} else if _, ok := c.column(); !ok {
			return false
		}
		if !c.word("asc") {
			c.word("desc")
		}
		if !c.word(",") {
			return true
		}
	}
}

func (c *clauses) limit() bool {
	if !c.word("limit") {
		return true
	}
	if !c.count() {
		return false
	}
	if c.word("offset") || c.word(",") {
		return c.count()
	}
	return true
}

func (c *clauses) count() bool {
	k := c.peek().kind
	c.next++
	return k == number || k == param
}

// returning reads over what a write gives back: it changes nothing.
func (c *clauses) returning() bool {
	if c.word("returning") {
		c.next = len(c.tokens)
	}
	return true
}
