package httpcache

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
	"github.com/gofreshet/freshet/invalidate"
)

// GroupTag is the name that responses of a cache group (RFC 9875) fall with. Groups are per origin: give it as scheme,
// "://" and host.
func GroupTag(origin, group string) invalidate.Name {
	return invalidate.Tag("http-group " + plainOrigin(origin) + " " + group)
}

// urlTag is the name that all responses of one URL fall with, however it is spelled. URLs that only look alike may fall
// together: too much, never too little.
func urlTag(origin, target string) invalidate.Name {
	return invalidate.Tag("http-url " + plainOrigin(origin) + unescaped(target))
}

// plainOrigin is origin in lower case and without the port that its scheme implies (RFC 9110 section 4.2.3).
func plainOrigin(origin string) string {
	origin = strings.TrimSuffix(strings.ToLower(origin), ":")
	if strings.HasPrefix(origin, "https:") {
		return strings.TrimSuffix(origin, ":443")
	}
	return strings.TrimSuffix(origin, ":80")
}

// unescaped undoes every percent-encoding in target. What clients send as it is, net/url encodes, and the reverse.
func unescaped(target string) string {
	if strings.IndexByte(target, '%') < 0 {
		return target
	}
	b := make([]byte, 0, len(target))
	for i := 0; i < len(target); i++ {
		if target[i] == '%' && i+2 < len(target) {
			if c, err := strconv.ParseUint(target[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, target[i])
	}
	return string(b)
}

// names are what a response says it falls with: groups, tags and surrogate keys.
func names(h http.Header, origin string) (list []invalidate.Name) {
	for _, g := range groups(h["Cache-Groups"]) {
		list = append(list, GroupTag(origin, g))
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = trimOWS(tag); tag != "" {
				list = append(list, invalidate.Tag(tag))
			}
		}
	}
	for _, line := range h["Surrogate-Key"] {
		for tag := range strings.FieldsSeq(line) {
			list = append(list, invalidate.Tag(tag))
		}
	}
	return list
}

// groups reads a list of strings (RFC 9875 section 2); what is no such list names no group.
func groups(lines []string) (list []string) {
	if len(lines) == 0 {
		return nil
	}
	members, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	for _, m := range members {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		list = append(list, s)
	}
	return list
}
