package httpcache

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
)

// control reads the directives that count for this cache: those of the first targeted field that is there and valid
// (RFC 9213 section 2.2), else Cache-Control's.
func (c *Cache) control(h http.Header) (cc directives, targeted bool) {
	for _, name := range c.opts.Targets {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		var d directives
		var ok bool
		if name == SurrogateControl {
			d, ok = surrogate(lines, c.opts.Name)
		} else {
			d, ok = targetedControl(lines)
		}
		if ok {
			return d, true
		}
	}
	return cacheControl(h["Cache-Control"]), false
}

// targetedControl reads a dictionary of directives (RFC 9213 section 2.1). ok is false when it is not one, or empty: then
// the field counts for nothing. A directive whose value has the wrong type is passed over.
func targetedControl(lines []string) (d directives, ok bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return d, false
	}
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, isItem := member.(httpsfv.Item)
		if !isItem {
			continue
		}
		switch v := item.Value.(type) {
		case bool:
			if v && !counts(name) {
				d.add(name, "", false)
			}
		case int64:
			if counts(name) {
				d.add(name, strconv.FormatInt(v, 10), true)
			}
		case string:
			if name == "no-cache" || name == "private" {
				d.add(name, v, true)
			}
		}
	}
	return d, true
}

// counts reports whether a directive's value is a number of seconds.
func counts(name string) bool {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		return true
	}
	return false
}

// surrogate reads Surrogate-Control: like Cache-Control, but a directive may end in ;device, and is then for that device
// alone, and max-age may have +seconds of staleness added. ok is false when nothing in it is for us.
func surrogate(lines []string, device string) (d directives, ok bool) {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = cutMember(line)
			member, target, targeted := strings.Cut(trimOWS(member), ";")
			if member == "" || targeted && trimOWS(target) != device {
				continue
			}
			name, arg, hasArg := strings.Cut(member, "=")
			arg, _, _ = strings.Cut(arg, "+")
			d.add(name, arg, hasArg)
			ok = true
		}
	}
	return d, ok
}

// untarget takes off what is meant for this cache alone.
func (c *Cache) untarget(h http.Header) {
	for _, name := range c.opts.Targets {
		if name != CDNCacheControl {
			delete(h, name)
		}
	}
}
