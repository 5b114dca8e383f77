package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// entry is one stored response. It is never changed after it is stored, but for shown.
type entry struct {
	status   int
	header   http.Header // all that may be stored, targeted fields included: what a 304 updates
	fields   []field     // what is sent, but for Age and Cache-Status: built once
	body     []byte
	part     *part // nil: the body is all of it
	etag     string
	modified time.Time // Last-Modified; zero when there is none
	date     time.Time
	language string // Content-Language, if it is one

	selecting []selector
	anonymous bool // not for requests that say who they come from: see selects
	cc        directives
	lifetime  time.Duration // of freshness
	mayRecord bool          // Options.Recorded is its freshness, if it depends on something
	recorded  bool          // and it does, or did when it was last written in full
	asked     time.Time     // before the handler began
	received  time.Time     // when its header came
	initial   time.Duration // its age then

	valid invalidate.Validity
	size  int64

	shown atomic.Pointer[shown]
}

// field is one header field, ready to be put into a header map. The slice is shared by all who are served: its capacity
// is its length, so that who appends gets a copy.
type field struct {
	name  string
	lines []string
}

// overhead is about what an entry takes beside its body and header.
const overhead = 1024

func (e *entry) age(now time.Time) time.Duration { return e.initial + since(now, e.received) }

// hopByHop are not stored (RFC 9111 section 3.1, RFC 9110 section 7.6.1); nor is what Connection names. Age is reckoned
// anew.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
}

// storedHeader takes from h what may be stored. It owns h.
func storedHeader(h http.Header, cc *directives, shared bool) http.Header {
	for _, line := range h["Connection"] {
		for _, name := range fieldNames(line) {
			delete(h, http.CanonicalHeaderKey(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	for _, name := range cc.noCacheFields {
		delete(h, http.CanonicalHeaderKey(name))
	}
	if shared {
		for _, name := range cc.privateFields {
			delete(h, http.CanonicalHeaderKey(name))
		}
	}
	return h
}

// seal builds what hits need, once everything else is known.
func (c *Cache) seal(e *entry) *entry {
	e.etag = e.header.Get("Etag")
	e.modified, _ = parseDate(e.header.Get("Last-Modified"))
	if languages := e.header["Content-Language"]; len(languages) == 1 {
		e.language = languages[0]
	}
	if e.hasBody() && e.part == nil {
		e.header["Content-Length"] = []string{strconv.Itoa(len(e.body))}
	}
	e.size = overhead + int64(cap(e.body))
	e.fields = e.fields[:0]
	sent := e.header.Clone()
	c.untarget(sent)
	delete(sent, "Age")
	delete(sent, "Cache-Status")
	for name, lines := range sent {
		e.fields = append(e.fields, field{name, slices.Clip(lines)})
		e.size += int64(len(name)) + 64
		for _, l := range lines {
			e.size += int64(len(l)) + 16
		}
	}
	for _, s := range e.selecting {
		e.size += int64(len(s.name)+len(s.raw)+len(s.value)) + 64
	}
	return e
}

// useful reports whether e could ever be served or validated.
func (e *entry) useful() bool {
	lives := e.lifetime > e.initial || e.cc.staleWhileRevalidate.set || e.cc.staleIfError.set
	return lives && !e.cc.noCache || e.header.Get("Etag") != "" || e.header.Get("Last-Modified") != ""
}

func (e *entry) hasBody() bool {
	return e.status != http.StatusNoContent && e.status != http.StatusNotModified
}

func (e *entry) fill(h http.Header) {
	for i := range e.fields {
		h[e.fields[i].name] = e.fields[i].lines
	}
}

// mayBeStale reports whether the response itself lets stale copies be served (section 4.2.4). s-maxage forbids it like
// proxy-revalidate, unless the response also says when it may be after all.
func (e *entry) mayBeStale(shared, said bool) bool {
	cc := &e.cc
	return !cc.noCache && !cc.mustRevalidate && !(shared && (cc.proxyRevalidate || cc.sMaxage.set && !said))
}
