package httpcache

import (
	"strings"
	"time"
)

// The forms of an HTTP date (RFC 9110 section 5.6.7), the first two without the " GMT" that they end in.
const (
	preferred = "Mon, 02 Jan 2006 15:04:05"
	twoDigits = "Monday, 02-Jan-06 15:04:05"
	asctime   = "Mon Jan _2 15:04:05 2006"
	asctime02 = "Mon Jan 02 15:04:05 2006"
)

// parseDate reads an HTTP date in whatever case, as RFC 9111 section 4.2 asks of a cache. If there is none it is zero.
func parseDate(s string) (t time.Time, ok bool) {
	const zone = " GMT"
	if n := len(s) - len(zone); n > 0 && strings.EqualFold(s[n:], zone) {
		if t, ok = exactly(preferred, s[:n]); ok {
			return t, true
		}
		if t, ok = exactly(twoDigits, s[:n]); ok {
			t = nearCentury(t, time.Now())
		}
		return t, ok
	}
	if t, ok = exactly(asctime, s); ok {
		return t, true
	}
	return exactly(asctime02, s)
}

// exactly reads what is written as form has it but for its case, whatever it calls the day of the week. time.Parse
// overlooks more, such as an hour of one digit, but an Expires that is no HTTP date has passed (RFC 9111 section 5.3).
func exactly(form, s string) (time.Time, bool) {
	t, err := time.Parse(form, s)
	if err != nil {
		return time.Time{}, false
	}
	_, form, _ = strings.Cut(form, " ")
	_, s, _ = strings.Cut(s, " ")
	var b [32]byte
	if !strings.EqualFold(string(t.AppendFormat(b[:0], form)), s) {
		return time.Time{}, false
	}
	return t, true
}

// nearCentury places a year of two digits: never more than 50 years ahead.
func nearCentury(t, now time.Time) time.Time {
	year := now.Year()/100*100 + t.Year()%100
	if year > now.Year()+50 {
		year -= 100
	}
	return t.AddDate(year-t.Year(), 0, 0)
}
