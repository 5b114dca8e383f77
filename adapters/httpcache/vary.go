package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// selector is one field that Vary names, with what the request had there (RFC 9111 section 4.1).
type selector struct {
	name  string
	raw   string // the field's only line, for a quick look
	value string // all lines, normalised
	set   bool
}

// maxSelectors bounds what one response may vary by.
const maxSelectors = 64

// selectors reads Vary. ok is false for "*", which no other request matches, and for more names than anybody needs.
func selectors(vary []string, request http.Header) (list []selector, ok bool) {
	for _, line := range vary {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(trimOWS(name))
			switch {
			case name == "":
				continue
			case name == "*":
				return nil, false
			case slices.ContainsFunc(list, func(s selector) bool { return s.name == name }):
				continue
			}
			lines := request[name]
			s := selector{name: name, set: len(lines) > 0, value: normalise(name, lines)}
			if len(lines) == 1 {
				s.raw = lines[0]
			}
			if list = append(list, s); len(list) > maxSelectors {
				return nil, false
			}
		}
	}
	return list, true
}

func (s *selector) matches(request http.Header) bool {
	lines := request[s.name]
	switch {
	case len(lines) == 0 || !s.set:
		return !s.set && len(lines) == 0
	case len(lines) == 1 && lines[0] == s.raw && s.raw != "": // "" is what it is of several lines too
		return true
	}
	return normalise(s.name, lines) == s.value
}

// selects reports whether r chooses e among the responses of its URL. A response whose freshness nobody stated was made
// for somebody unknown, and is not what others get who say who they are.
func (e *entry) selects(r *http.Request) bool {
	request := r.Header
	if e.anonymous && (authorized(r) || len(request["Cookie"]) > 0 && !e.variesBy("Cookie")) {
		return false
	}
	for i := range e.selecting {
		s := &e.selecting[i]
		if !s.matches(request) && !(s.name == "Accept-Language" && e.language != "" &&
			prefers(request[s.name], e.language)) {
			return false
		}
	}
	return true
}

func (e *entry) variesBy(name string) bool {
	return slices.ContainsFunc(e.selecting, func(s selector) bool { return s.name == name })
}

func sameSelectors(a, b []selector) bool {
	return slices.EqualFunc(a, b, func(x, y selector) bool { return x.name == y.name && x.set == y.set && x.value == y.value })
}

// normalise gives fields that mean the same the same text: lines are joined, white space around the commas goes. In
// Accept-Encoding and Accept-Language neither case nor order matters: the preferences are in the q values.
func normalise(name string, lines []string) string {
	var members []string
	if name == "Accept-Language" || name == "Accept-Encoding" {
		for _, line := range lines {
			for m := range strings.SplitSeq(line, ",") {
				members = append(members, strings.ToLower(strings.Join(strings.Fields(m), "")))
			}
		}
		slices.Sort(members)
		return strings.Join(members, ",")
	}
	for _, line := range lines {
		for {
			m, rest := cutMember(line)
			members = append(members, trimOWS(m))
			if len(m) == len(line) {
				break
			}
			line = rest
		}
	}
	return strings.Join(members, ",")
}

// prefers reports whether language is what the request wants above all others: a stored response in that language is
// what another choice by the same preferences would give.
func prefers(lines []string, language string) bool {
	best, second, wanted := 0.0, 0.0, ""
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			tag, q := quality(member)
			if q > best {
				best, second, wanted = q, best, tag
			} else {
				second = max(second, q)
			}
		}
	}
	return best > second && strings.EqualFold(wanted, language)
}

func quality(member string) (tag string, q float64) {
	tag, params, has := strings.Cut(member, ";")
	tag = trimOWS(tag)
	if !has {
		return tag, 1
	}
	value, ok := strings.CutPrefix(strings.ToLower(trimOWS(params)), "q=")
	q, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || !(q >= 0 && q <= 1) {
		return tag, 0
	}
	return tag, q
}
