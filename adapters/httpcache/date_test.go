package httpcache

import (
	"net/http"
	"net/url"
	"testing"
)

// An Expires counts if it is an HTTP date in whatever case; what is nearly one has passed.
func TestExpiresForms(t *testing.T) {
	s := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Expires", r.URL.Query().Get("expires"))
	})
	for expires, fresh := range map[string]bool{
		"Thu, 18 Aug 2050 02:01:18 GMT":    true,
		"Sun, 21 Nov 2286 04:46:39 GMT":    true,
		"Thursday, 18-Aug-50 02:01:18 GMT": true,
		"Mon Aug  8 02:01:18 2050":         true,
		"Mon Aug 08 02:01:18 2050":         true,
		"THU aug 18 02:01:18 2050":         true,
		"THU, 18 aUG 2050 02:01:18 GMT":    true,
		"Fri, 18 Aug 2050 02:01:18 GMT":    true, // it is a Thursday; which day is meant is clear all the same

		// With the zone compared as it stands, these were no dates.
		"Thu, 18 Aug 2050 02:01:18 gMT":    true,
		"tHURSDAY, 18-AUG-50 02:01:18 gmt": true,

		// Without the comparison in exactly these were.
		"Thu, 18  Aug  2050 02:01:18 GMT": false,
		"Thu,  18 Aug 2050 02:01:18 GMT":  false,
		"Thu, 18 Aug 2050 2:01:18 GMT":    false,
		"Thu, 18 Aug  2050 2:01:18 GMT":   false,
		"Thu, 18 Aug 2050 02:01:18.5 GMT": false,
		"Thursday, 18-Aug-50 2:01:18 GMT": false,
		"Mon Aug 8 02:01:18 2050":         false,

		"":                               false,
		"0":                              false,
		" GMT":                           false,
		"Thu, 18 Aug 2050 02:01:18":      false,
		"Thu, 18 Aug 2050 02:01:18 UTC":  false,
		"Thu, 18 Aug 2050 02:01:18 AEST": false,
		"Thu, 18 Aug 2050 02:01:18  GMT": false,
		"Thu, 18 Aug 50 02:01:18 GMT":    false,
		"Thu 18 Aug 2050 02:01:18 GMT":   false,
		"Thu, 18-Aug-2050 02:01:18 GMT":  false,
		"Thu, 18 Aug 2050 02.01.18 GMT":  false,
		"Mon Aug  8 02:01:18 2050 GMT":   false,
		"Mon, 31 Feb 2050 02:01:18 GMT":  false,
	} {
		path := "/a?expires=" + url.QueryEscape(expires)
		s.wantMiss(path)
		if got := s.get(path).hit(); got != fresh {
			t.Errorf("Expires: %q: hit %v, want %v", expires, got, fresh)
		}
	}
}

// A Last-Modified that is no date must not look like one: with nearCentury applied to what exactly had refused, these were
// in the year 2001.
func TestNoDateIsZero(t *testing.T) {
	for _, s := range []string{"", "0", "nonsense GMT", "Thu, 18 Aug 2050 2:01:18 GMT", "Thursday, 18-Aug-50 2:01:18 GMT"} {
		if at, ok := parseDate(s); ok || !at.IsZero() {
			t.Errorf("%q: %v, %v", s, at, ok)
		}
	}
}
