package httpcache

import (
	"math"
	"slices"
	"strings"
	"time"
)

// directives are what a Cache-Control field says, in a request or in a response (RFC 9111 section 5.2).
type directives struct {
	noStore, noCache, private, public               bool
	mustRevalidate, proxyRevalidate, mustUnderstand bool
	onlyIfCached                                    bool
	anyStale                                        bool // max-stale without a value

	noCacheFields, privateFields []string // of the qualified forms, which limit themselves to these fields

	maxAge, sMaxage, minFresh, maxStale, staleWhileRevalidate, staleIfError delta
}

// delta is a directive's number of seconds. One that cannot be read is set and zero: what says nonsense of its freshness
// has none (section 4.2.1).
type delta struct {
	d   time.Duration
	set bool
}

// least keeps the more cautious of a directive that was given twice.
func (d *delta) least(o delta) {
	if !d.set || o.d < d.d {
		*d = o
	}
}

// maxDelta is what larger numbers are taken for: delta-seconds may be capped at 2^31 (section 1.2.2).
const maxDelta = math.MaxInt32 + 1

func parseSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), maxDelta)
	}
	return time.Duration(n) * time.Second, true
}

func seconds(arg string) delta {
	d, _ := parseSeconds(arg)
	return delta{d, true}
}

// cacheControl reads the lines of a Cache-Control field.
func cacheControl(lines []string) (d directives) {
	for _, line := range lines {
		eachMember(line, func(name, arg string, hasArg bool) { d.add(name, arg, hasArg) })
	}
	return d
}

func (d *directives) add(name, arg string, hasArg bool) {
	// What surrounds a name that is not quite one is taken off: who writes "private"; does not mean nothing.
	token := strings.TrimFunc(name, notInToken)
	hasArg = hasArg && token == name
	switch strings.ToLower(token) {
	case "no-store":
		d.noStore = true
	case "no-cache":
		if fields := fieldNames(arg); hasArg && len(fields) > 0 && !slices.ContainsFunc(fields, notToken) {
			d.noCacheFields = append(d.noCacheFields, fields...)
		} else {
			d.noCache = true
		}
	case "private":
		if fields := fieldNames(arg); hasArg && len(fields) > 0 && !slices.ContainsFunc(fields, notToken) {
			d.privateFields = append(d.privateFields, fields...)
		} else {
			d.private = true
		}
	case "public":
		d.public = true
	case "must-revalidate":
		d.mustRevalidate = true
	case "proxy-revalidate":
		d.proxyRevalidate = true
	case "must-understand":
		d.mustUnderstand = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		d.maxAge.least(seconds(arg))
	case "s-maxage":
		d.sMaxage.least(seconds(arg))
	case "min-fresh":
		d.minFresh = seconds(arg)
	case "max-stale":
		if !hasArg {
			d.anyStale = true
		}
		d.maxStale.least(seconds(arg))
	case "stale-while-revalidate":
		d.staleWhileRevalidate.least(seconds(arg))
	case "stale-if-error":
		d.staleIfError.least(seconds(arg))
	}
}

// eachMember calls do for each member of a comma-separated list of name, name=token and name="quoted string". What
// fits none of these is handed over as it stands, for a directive's own rule to refuse.
func eachMember(line string, do func(name, arg string, hasArg bool)) {
	for line != "" {
		var member string
		member, line = cutMember(line)
		member = trimOWS(member)
		if member == "" {
			continue
		}
		name, arg, hasArg := strings.Cut(member, "=")
		if strings.HasPrefix(arg, `"`) {
			arg = unquote(arg)
		}
		do(name, arg, hasArg)
	}
}

// cutMember cuts at the first comma outside a quoted string.
func cutMember(s string) (member, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == ',':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// unquote undoes a quoted string; one that does not end as it should is left as it is, quotes and all.
func unquote(s string) string {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i != len(s)-1 {
				return s
			}
			return b.String()
		case '\\':
			if i++; i == len(s) {
				return s
			}
		}
		b.WriteByte(s[i])
	}
	return s
}

// fieldNames are the names in the argument of a qualified directive.
func fieldNames(arg string) (names []string) {
	for name := range strings.SplitSeq(arg, ",") {
		if name = trimOWS(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func notToken(s string) bool { return strings.ContainsFunc(s, notInToken) }

// notInToken reports whether r has no place in a token (RFC 9110 section 5.6.2).
func notInToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }
