package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// heuristicShare is the part of the time since Last-Modified that a response without explicit freshness is fresh for
// (RFC 9111 section 4.2.2), and heuristicMost its bound.
const (
	heuristicShare = 10
	heuristicMost  = time.Hour
)

// heuristic reports whether status is cacheable though nothing says for how long (RFC 9110 section 15.1).
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// lifetime is for how long a response is fresh by what it says itself; ok is false when it says nothing.
func lifetime(h http.Header, cc *directives, targeted, shared bool, date time.Time) (d time.Duration, ok bool) {
	switch {
	case shared && cc.sMaxage.set:
		return cc.sMaxage.d, true
	case cc.maxAge.set:
		return cc.maxAge.d, true
	case targeted: // RFC 9213 section 2.1: Expires is not asked either
		return 0, false
	}
	expires := h["Expires"]
	if len(expires) == 0 {
		return 0, false
	}
	at, valid := parseDate(expires[0])
	for _, other := range expires[1:] {
		valid = valid && other == expires[0]
	}
	if !valid { // notably "0": already expired (section 5.3)
		return 0, true
	}
	return max(0, at.Sub(date)), true
}

// guess is the heuristic lifetime of a response that states none.
func guess(h http.Header, status int, cc *directives, date time.Time) time.Duration {
	if !heuristic(status) && !cc.public {
		return 0
	}
	modified, ok := parseDate(h.Get("Last-Modified"))
	if !ok || !modified.Before(date) {
		return 0
	}
	return min(date.Sub(modified)/heuristicShare, heuristicMost)
}

// initialAge is how old a response already was when it came (section 4.2.3): corrected_initial_age.
func initialAge(h http.Header, date, asked, received time.Time) time.Duration {
	return max(0, received.Sub(date), ageValue(h)+received.Sub(asked))
}

// ageValue reads Age by section 5.1: the first member counts, and one that is no number is ignored.
func ageValue(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	age, _ := parseSeconds(trimOWS(first))
	return age
}

// since is how long ago past was: by the clock on the wall or by the one that nobody sets, whichever says more (R2).
func since(now, past time.Time) time.Duration {
	return max(now.Sub(past), time.Duration(now.UnixNano()-past.UnixNano()))
}
