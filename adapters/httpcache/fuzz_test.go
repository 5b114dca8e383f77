package httpcache

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{
		"max-age=3600, no-store", `no-cache="a, b", private="c"`, `max-age="60", x="\"`, "max-age=-1,max-age=99999999999999999999",
		`"`, `a="b\`, ",,,=,", "max-stale", `private=""`, "stale-while-revalidate=1,stale-if-error=x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := cacheControl([]string{line, line})
		for _, delta := range []delta{d.maxAge, d.sMaxage, d.minFresh, d.maxStale, d.staleWhileRevalidate, d.staleIfError} {
			if delta.d < 0 || delta.d > maxDelta*time.Second || !delta.set && delta.d != 0 {
				t.Errorf("%q: %+v", line, delta)
			}
		}
		_, _ = targetedControl([]string{line})
		_, _ = surrogate([]string{line}, "freshet")
		_ = groups([]string{line})
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-5", "bytes=5-", "bytes=5-4", "bytes=", "bytes=9223372036854775807-", "bytes=-0", "bytes=1-2,3-4"} {
		f.Add(s, "bytes 0-4/10", int64(10))
	}
	f.Add("", "bytes 4-9/10", int64(5))
	f.Add("", "bytes 4-3/*", int64(0))
	f.Fuzz(func(t *testing.T, asked, told string, length int64) {
		if from, to, ok := byteRange(asked, max(0, length)); ok && (from < 0 || from >= to || to > length) {
			t.Errorf("%q of %d: %d..%d", asked, length, from, to)
		}
		h := http.Header{"Content-Range": {told}}
		if p := partOf(h, http.Header{"Range": {asked}}); p != nil {
			if p.first < 0 || p.first > p.last || p.last >= p.complete {
				t.Errorf("%q: %+v", told, p)
			}
			if n := int(min(length, 1<<20)); p.fits(n) && p.end() > p.last+1 {
				t.Errorf("%q with %d bytes: %+v", told, n, p)
			}
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, s := range []string{
		"Mon, 01 Jan 2024 00:00:00 GMT", "Monday, 01-Jan-24 00:00:00 GMT", "Mon Jan  1 00:00:00 2024", `W/"a", "b,c"`, "*", "en;q=0.5, *;q=x", "7200, 0", "-1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, ok := parseDate(s); ok && at.After(time.Now().AddDate(51, 0, 0)) && strings.Contains(s, "-") {
			t.Errorf("%q: %v", s, at)
		}
		if age := ageValue(http.Header{"Age": {s}}); age < 0 {
			t.Errorf("Age %q: %v", s, age)
		}
		_ = anyTag([]string{s}, `"a"`)
		for _, name := range []string{"Accept-Language", "X-Any"} {
			n := normalise(name, []string{s})
			if again := normalise(name, []string{n}); again != n {
				t.Errorf("%s %q: %q, and again %q", name, s, n, again)
			}
			if list, ok := selectors([]string{s}, http.Header{name: {s}}); ok {
				for i := range list {
					if !list[i].matches(http.Header{name: {s}}) {
						t.Errorf("%q does not select itself by %s", s, list[i].name)
					}
				}
			}
		}
		_ = prefers([]string{s}, "en")
	})
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?`)

// forbids is a second, cruder opinion on whether a Cache-Control field forbids storing in a shared cache.
func forbids(line string) bool {
	for member := range strings.SplitSeq(quoted.ReplaceAllString(line, `""`), ",") {
		name, arg, _ := strings.Cut(strings.ToLower(strings.Trim(member, " \t")), "=")
		switch {
		case name == "no-store":
			return true
		case name == "private" && arg == "":
			return true
		}
	}
	return false
}

// FuzzResponse sends fields of every kind through the cache. Nothing panics; what must not be stored never comes from
// memory; what does come is what the handler wrote for the same request.
func FuzzResponse(f *testing.F) {
	for _, s := range [][6]string{
		{"max-age=60", "Accept", "Set-Cookie", "a=b", "gzip", "bytes=0-1"},
		{"private, max-age=60", "*", "Age", "-1", "", ""},
		{`max-age=60, no-cache="Set-Cookie"`, "", "Set-Cookie", "x", "", "bytes=-1"},
		{"no-store;max-age=60", "Accept,,Accept", "Content-Length", "99", "br", "bytes=5-"},
		{"max-age=60", "", "Content-Range", "bytes 0-1/9", "", "x"},
		{"max-age=60", "", "Connection", "X-Gone, Cache-Control", "", ""},
		{"", "", "Cdn-Cache-Control", "max-age=60", "", ""},
		{"s-maxage=60", "", "Expires", "0", "", ""},
		{"max-age=60", "", "Date", "soon", "", ""},
		{"max-age=60", "", "Cache-Groups", `"a"`, "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5])
	}
	c := newCache(f, newTracker(f), Options{})
	n := 0
	f.Fuzz(func(t *testing.T, cc, vary, name, value, accept, span string) {
		n++
		calls := 0
		h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header()["Cache-Control"] = []string{cc}
			w.Header()["Vary"] = []string{vary}
			if name != "" {
				w.Header()[http.CanonicalHeaderKey(name)] = []string{value}
			}
			io.WriteString(w, "for "+r.Header.Get("Accept"))
		}))
		last := ""
		for i, a := range []string{accept, "other", accept} {
			r := get(fmt.Sprint("/", n))
			r.Header.Set("Accept", a)
			if i == 2 && span != "" {
				r.Header.Set("Range", span)
			}
			w := &recorder{sink: *newSink()}
			h.ServeHTTP(w, r)
			fromMemory := strings.Contains(last+w.header.Get("Cache-Status"), "freshet; hit")
			if !fromMemory {
				continue
			}
			targeted := strings.EqualFold(name, "Cdn-Cache-Control") || strings.EqualFold(name, "Freshet-Cache-Control") ||
				strings.EqualFold(name, "Cache-Control")
			if !targeted && forbids(cc) && !strings.Contains(strings.ToLower(cc), "must-understand") {
				t.Errorf("Cache-Control %q was stored", cc)
			}
			if strings.EqualFold(name, "Set-Cookie") && !strings.Contains(cc, "=") {
				t.Errorf("Set-Cookie was stored with Cache-Control %q", cc)
			}
			if w.header.Get("Set-Cookie") != "" {
				t.Error("a cookie came from memory")
			}
			if strings.EqualFold(vary, "accept") && w.status == http.StatusOK && string(w.body) != "for "+a {
				t.Errorf("Vary %q: %q was served to Accept %q", vary, w.body, a)
			}
		}
		if calls == 0 {
			t.Error("the handler was never called")
		}
	})
}

type recorder struct {
	sink
	status int
	body   []byte
}

func (r *recorder) WriteHeader(status int) { r.status = status }
func (r *recorder) Write(p []byte) (int, error) {
	r.body = append(r.body, p...)
	return len(p), nil
}
