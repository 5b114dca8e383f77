package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// notModified evaluates a request's conditions against a stored response, as RFC 9111 section 4.3.2 has a cache do:
// If-None-Match, and only without it If-Modified-Since.
func notModified(request http.Header, e *entry) bool {
	if match := request["If-None-Match"]; len(match) > 0 {
		return anyTag(match, e.etag)
	}
	since := request["If-Modified-Since"]
	if len(since) != 1 {
		return false
	}
	at, ok := parseDate(since[0])
	if !ok {
		return false
	}
	modified := e.modified
	if modified.IsZero() {
		modified = e.date.Add(time.Second) // section 4.3.2: the Date stands in for a Last-Modified that is not there
	}
	return !modified.Truncate(time.Second).After(at)
}

// anyTag compares weakly (RFC 9110 section 8.8.3.2).
func anyTag(lines []string, etag string) bool {
	for _, line := range lines {
		if trimOWS(line) == "*" {
			return true
		}
		for line != "" {
			var tag string
			tag, line = cutTag(line)
			if tag = trimOWS(tag); etag != "" && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}

// cutTag cuts at the first comma outside quotes. Between an entity tag's quotes a backslash is a character like any.
func cutTag(s string) (tag, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// strong reports whether etag names one sequence of bytes.
func strong(etag string) bool { return len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' }

// forOrigin reports whether a request has conditions that only an origin may evaluate (section 4.3.2).
func forOrigin(request http.Header) bool {
	return len(request["If-Match"]) > 0 || len(request["If-Unmodified-Since"]) > 0
}

// conditional reports whether the client holds a response itself and asks whether it is still good.
func conditional(request http.Header) bool {
	return len(request["If-None-Match"]) > 0 || len(request["If-Modified-Since"]) > 0
}
