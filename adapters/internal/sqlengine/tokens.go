package sqlengine

import (
	"strconv"
	"strings"
)

// tokenKind tells what a token may be. Only what matters to naming is told apart.
type tokenKind uint8

const (
	word   tokenKind = iota // an identifier or a keyword, unquoted
	quoted                  // an identifier in quotes of any kind
	either                  // in double quotes where that may be an identifier or a string
	text                    // a string
	number
	param // a placeholder
	sign  // one byte of anything else: an operator, a bracket, a comma
)

// token is a piece of a statement. text is without quotes; that of a word is in lower case.
type token struct {
	kind tokenKind
	text string
}

func (t token) is(s string) bool { return t.text == s && (t.kind == word || t.kind == sign) }

func (t token) name() bool { return t.kind == word || t.kind == quoted || t.kind == either }

// syntax is in what the dialects' tokens differ.
type syntax struct {
	backslash     bool // escapes in strings, as a rule
	dollarQuotes  bool // $tag$ ... $tag$, and E'...'
	nested        bool // comments nest
	hash          bool // # begins a comment
	dashSpace     bool // -- begins a comment only before white space
	carriage      bool // a carriage return ends a comment
	backquote     bool // `identifier`
	bracket       bool // [identifier]
	ansiQuotes    bool // "identifier", never a string where there is such a column
	digitNames    bool // identifiers may begin with a digit or a dollar sign
	colonParams   bool // :name, @name, $name
	stringsAsName bool // 'x' may stand where an identifier is expected
	versioned     bool // /*! comments that are code */
	longest       int  // identifiers are cut off at so many bytes; 0: never
}

// lex splits sql. It reports what it cannot read with certainty: an unknown mode of the server may give such a
// statement another meaning, so nothing may be concluded from the rest.
func lex(sql string, s syntax) (tokens []token, doubt string) {
	l := lexer{sql: sql, syntax: s}
	if strings.IndexByte(sql, 0) >= 0 {
		return nil, "a zero byte"
	}
	for l.at < len(sql) && l.doubt == "" {
		l.next()
	}
	return l.tokens, l.doubt
}

type lexer struct {
	syntax
	sql    string
	at     int
	tokens []token
	doubt  string
}

func (l *lexer) peek(ahead int) byte {
	if l.at+ahead < len(l.sql) {
		return l.sql[l.at+ahead]
	}
	return 0
}

func (l *lexer) emit(k tokenKind, s string) {
	if (token{kind: k}).name() {
		if l.longest > 0 && len(s) > l.longest {
			l.doubt = "an identifier that the server cuts off"
		}
	}
	l.tokens = append(l.tokens, token{k, s})
}

func (l *lexer) next() {
	c := l.sql[l.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		l.at++
	case c == '-' && l.peek(1) == '-' && (!l.dashSpace || l.peek(2) <= ' '):
		l.lineComment()
	case c == '#' && l.hash:
		l.lineComment()
	case c == '/' && l.peek(1) == '*':
		l.comment()
	case c == '\'':
		l.quoted(c, text, false)
	case c == '"':
		l.quoted(c, l.doubleQuotes(), false)
	case c == '`' && l.backquote:
		l.quoted(c, quoted, true)
	case c == '[' && l.bracket:
		l.bracketed()
	case c == '$' && l.dollarQuotes && !digit(l.peek(1)):
		l.dollar()
	case c == '$' && l.digitNames:
		l.word()
	case c == '$' || c == '?' || (c == ':' || c == '@') && l.colonParams:
		l.param()
	case c >= '0' && c <= '9':
		l.number()
	case nameStart(c):
		l.word()
	case c == '\\':
		l.doubt = "a backslash outside a string"
	default:
		l.emit(sign, l.sql[l.at:l.at+1])
		l.at++
	}
}

func digit(c byte) bool     { return c >= '0' && c <= '9' }
func nameStart(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }
func namePart(c byte) bool  { return nameStart(c) || digit(c) || c == '$' }

func (l *lexer) lineComment() {
	for l.at < len(l.sql) && l.sql[l.at] != '\n' && !(l.carriage && l.sql[l.at] == '\r') {
		l.at++
	}
}

func (l *lexer) doubleQuotes() tokenKind {
	if l.ansiQuotes {
		return quoted
	}
	return either
}

func (l *lexer) comment() {
	if c := l.peek(2); l.versioned && (c == '!' || c == 'M' && l.peek(3) == '!') {
		l.doubt = "a comment that some servers run"
		return
	}
	depth := 0
	for l.at < len(l.sql) {
		switch {
		case l.sql[l.at] == '/' && l.peek(1) == '*' && (depth == 0 || l.nested):
			depth++
			l.at += 2
		case l.sql[l.at] == '*' && l.peek(1) == '/':
			depth--
			l.at += 2
			if depth == 0 {
				return
			}
		default:
			l.at++
		}
	}
	l.doubt = "a comment without an end"
}

// quoted reads from a quote to its match; a doubled one stands for itself. Where a backslash comes before a quote the
// text ends in one place or another by a setting of the server; two of them end nothing by any.
func (l *lexer) quoted(q byte, k tokenKind, plain bool) {
	var b strings.Builder
	for i := l.at + 1; i < len(l.sql); i++ {
		c := l.sql[i]
		switch {
		case c == q && i+1 < len(l.sql) && l.sql[i+1] == q:
			b.WriteByte(q)
			i++
		case c == q:
			l.at = i + 1
			l.emit(k, b.String())
			return
		case c == '\\' && !plain && i+1 < len(l.sql) && l.sql[i+1] == c && (l.backslash || l.dollarQuotes):
			b.WriteString(`\\`)
			i++
		case c == '\\' && !plain && i+1 < len(l.sql) && l.sql[i+1] == q && (l.backslash || l.dollarQuotes):
			l.doubt = "a backslash before a quote"
			return
		default:
			b.WriteByte(c)
		}
	}
	l.doubt = "a quote without its match"
}

// escaped reads E'...', in which a backslash always escapes.
func (l *lexer) escaped() {
	var b strings.Builder
	for i := l.at + 1; i < len(l.sql); i++ {
		switch c := l.sql[i]; {
		case c == '\\':
			r, size := unescape(l.sql[i+1:])
			b.WriteRune(r)
			i += size
		case c == '\'' && i+1 < len(l.sql) && l.sql[i+1] == '\'':
			b.WriteByte(c)
			i++
		case c == '\'':
			l.at = i + 1
			l.emit(text, b.String())
			return
		default:
			b.WriteByte(c)
		}
	}
	l.doubt = "a quote without its match"
}

// unescape reads what is behind a backslash in E'...'. What it makes of letters is right; any other sign stands for
// white space too.
func unescape(s string) (r rune, size int) {
	if s == "" {
		return ' ', 0
	}
	digits, base, from := 0, 16, 1
	switch c := s[0]; {
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case c >= '0' && c <= '7':
		digits, base, from = 3, 8, 0
	case strings.IndexByte("bfnrt", c) >= 0:
		return ' ', 1
	}
	for n := min(len(s), from+digits); n > from; n-- {
		if v, err := strconv.ParseUint(s[from:n], base, 32); err == nil {
			if base == 8 {
				v &= 0xff // as the server does
			}
			return rune(v), n
		}
	}
	return rune(s[0]), 1
}

func (l *lexer) bracketed() {
	end := strings.IndexByte(l.sql[l.at:], ']')
	if end < 0 {
		l.doubt = "a bracket without its match"
		return
	}
	l.emit(quoted, l.sql[l.at+1:l.at+end])
	l.at += end + 1
}

func (l *lexer) dollar() {
	i := l.at + 1
	for i < len(l.sql) && namePart(l.sql[i]) && l.sql[i] != '$' {
		i++
	}
	if i == len(l.sql) || l.sql[i] != '$' {
		l.doubt = "a dollar sign"
		return
	}
	tag := l.sql[l.at : i+1]
	end := strings.Index(l.sql[i+1:], tag)
	if end < 0 {
		l.doubt = "a quote without its match"
		return
	}
	l.emit(text, l.sql[i+1:i+1+end])
	l.at = i + 1 + end + len(tag)
}

func (l *lexer) param() {
	start := l.at
	l.at++
	for l.at < len(l.sql) && (namePart(l.sql[l.at]) && l.sql[start] != '?' || digit(l.sql[l.at])) {
		l.at++
	}
	if l.colonParams && l.sql[start] == '$' && (l.peek(0) == '(' || l.peek(0) == ':') {
		l.doubt = "a placeholder of another language"
		return
	}
	if l.at == start+1 && l.sql[start] != '?' {
		l.emit(sign, l.sql[start:l.at])
		return
	}
	l.emit(param, l.sql[start:l.at])
}

// number reads digits and points alone: what follows them is taken for a word, which names too much, not too little.
func (l *lexer) number() {
	start := l.at
	for l.at < len(l.sql) && digit(l.sql[l.at]) {
		l.at++
	}
	if l.digitNames && l.at < len(l.sql) && namePart(l.sql[l.at]) {
		l.at = start
		l.word()
		return
	}
	if l.peek(0) == '.' && digit(l.peek(1)) {
		for l.at++; l.at < len(l.sql) && digit(l.sql[l.at]); l.at++ {
		}
	}
	l.emit(number, l.sql[start:l.at])
}

// lower is ASCII's alone: how other letters are folded is the server's business.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func (l *lexer) word() {
	start := l.at
	for l.at < len(l.sql) && namePart(l.sql[l.at]) {
		l.at++
	}
	w := lower(l.sql[start:l.at])
	if l.dollarQuotes {
		switch {
		case w == "e" && l.peek(0) == '\'':
			l.escaped()
			return
		case w == "u" && l.peek(0) == '&' && (l.peek(1) == '\'' || l.peek(1) == '"'):
			l.doubt = "unicode escapes"
			return
		}
	}
	l.emit(word, w)
}
