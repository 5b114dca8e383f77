package sqlengine

import (
	"strconv"
	"strings"
)

// clauses reads the few statements that are about rows they name, word by word: what is not exactly one of them is about
// the whole table.
//
//	SELECT columns FROM table WHERE conditions [ORDER BY ...] [LIMIT ...]
//	UPDATE table SET ... WHERE conditions [RETURNING ...]
//	DELETE FROM table WHERE conditions [RETURNING ...]
//
// The conditions are joined by AND, compare columns with values, and one of them says which values the primary key has:
//
//	key = value
//	key IN (value, ...)
//	key = ANY (argument), a list, in PostgreSQL
//
// The columns are plain ones: an aggregate would give a row where there is none.
type clauses struct {
	cat    *catalog
	of     *relation
	tokens []token
	next   int
	alias  string

	keys []keyValue // the first condition's about the key
}

// namedRows says what makes tokens, a statement that names no other relation than of, one about rows; nil if it is not.
func (cat *catalog) namedRows(tokens []token, of *relation) *byKey {
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
	if c.next < len(tokens) || len(c.keys) == 0 || len(c.keys) > mostRows || !ok {
		return nil
	}
	return &byKey{table: of.tag(), column: of.key.column, kind: of.key.kind, keys: c.keys, args: args}
}

// newRows reports whether tokens, a statement that names no other relation than of, adds rows and changes none.
func (cat *catalog) newRows(tokens []token, of *relation) bool {
	c := clauses{cat: cat, of: of, tokens: tokens}
	if of.key.kind == noKey || !c.word("insert") || !c.word("into") || !c.name() {
		return false
	}
	for i, t := range tokens {
		switch {
		case t.kind != word || !mayReplace[t.text]:
		case t.text == "select" && tokens[i-1].is("do"), locks(tokens, i): // ON CONFLICT DO SELECT FOR UPDATE
		default:
			return false
		}
	}
	return true
}

// mayReplace are words that make an INSERT more than that.
var mayReplace = fields("or set select with table replace update ignore delete")

// locks reports whether the word at i is the UPDATE of FOR [NO KEY] UPDATE, which changes nothing.
func locks(tokens []token, i int) bool {
	return i > 1 && tokens[i].is("update") && (tokens[i-1].is("for") || tokens[i-1].is("key") && tokens[i-2].is("no"))
}

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

// condition reads one of a column: = value, = ANY (argument), IN (values), IS [NOT] NULL.
func (c *clauses) condition() bool {
	column, ok := c.column()
	if !ok {
		return false
	}
	isKey := len(c.keys) == 0 && c.isKey(column)
	switch {
	case c.word("is"):
		c.word("not")
		return c.word("null")
	case c.word("in"):
		return c.word("(") && c.values(isKey) && c.word(")")
	case !c.word("="):
		return false
	case c.cat.dialect.Name() == "postgres" && c.word("any"):
		return c.word("(") && c.peek().kind == param && c.value(isKey, true) && c.word(")")
	}
	return c.value(isKey, false)
}

func (c *clauses) values(ofKey bool) bool {
	for {
		if !c.value(ofKey, false) {
			return false
		}
		if !c.word(",") {
			return true
		}
	}
}

// value reads an argument or a literal, and a cast if there is one; the key's are noted.
func (c *clauses) value(ofKey, list bool) bool {
	v, at := c.peek(), c.next
	switch c.next++; {
	case v.kind == param, v.kind == number, v.kind == text:
	case !ofKey && (v.is("true") || v.is("false")):
		return true
	default:
		return false
	}
	return c.cast(list) && (!ofKey || c.keyed(v, at, list))
}

// plainTypes change no value that they can take.
var plainTypes = fields("smallint int integer bigint int2 int4 int8 uuid text")

// cast reads PostgreSQL's ::type, of a list ::type[].
func (c *clauses) cast(list bool) bool {
	if c.cat.dialect.Name() != "postgres" || !c.word(":") {
		return true
	}
	if !c.word(":") || c.peek().kind != word || !plainTypes[c.peek().text] {
		return false
	}
	c.next++
	return !list || c.word("[") && c.word("]")
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

// keyed notes a value of the key, the token at index at.
func (c *clauses) keyed(v token, at int, list bool) bool {
	k := keyValue{list: list}
	switch v.kind {
	case param:
		n, ok := c.place(at)
		if !ok {
			return false
		}
		k.arg = n - 1
	case number:
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil {
			return false
		}
		k.row = integer(n)
	case text:
		k.row = uuid(v.text)
	}
	c.keys = append(c.keys, k)
	return v.kind == param || k.row.kind == c.of.key.kind
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
