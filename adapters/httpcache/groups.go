package httpcache

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
	"github.com/gofreshet/freshet/invalidate"
)

// GroupTag is the name that responses of a cache group (RFC 9875) fall with. Groups are per origin: give it as scheme,
// "://" and host.
func GroupTag(origin, group string) invalidate.Name {
	return invalidate.Tag("http-group " + strings.ToLower(origin) + " " + group)
}

// urlTag is the name that all responses of one URL fall with.
func urlTag(origin, target string) invalidate.Name {
	return invalidate.Tag("http-url " + strings.ToLower(origin) + target)
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
