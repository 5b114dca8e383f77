package httpcache

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// part says where a stored 206's body lies.
type part struct {
	first    int64
	last     int64  // as Content-Range has it
	complete int64  // length of it all
	asked    string // the Range that it answered
	held     int64  // bytes of body
}

// partOf reads a 206's Content-Range. nil: nothing that can be stored.
func partOf(h, request http.Header) *part {
	lines := h["Content-Range"]
	if len(lines) != 1 {
		return nil // multipart/byteranges among others
	}
	spec, ok := strings.CutPrefix(lines[0], "bytes ")
	if !ok {
		return nil
	}
	span, complete, ok1 := strings.Cut(spec, "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok1 || !ok2 {
		return nil
	}
	p := &part{}
	if lines := request["Range"]; len(lines) == 1 && len(lines[0]) <= 64 {
		p.asked = strings.Clone(lines[0])
	}
	for _, n := range []struct {
		to   *int64
		from string
	}{{&p.first, first}, {&p.last, last}, {&p.complete, complete}} {
		v, err := strconv.ParseUint(n.from, 10, 62)
		if err != nil {
			return nil
		}
		*n.to = int64(v)
	}
	if p.first > p.last || p.last >= p.complete {
		return nil // invalid: RFC 9110 section 14.4
	}
	return p
}

// fits takes in how much came. Less than Content-Range says is an incomplete response, of which what is there counts
// (RFC 9111 section 3.4); more is nonsense.
func (p *part) fits(n int) bool {
	p.held = int64(n)
	return n > 0 && p.held <= p.last-p.first+1
}

func (p *part) end() int64 { return p.first + p.held }

// rest is the Range that asks for what follows.
func (p *part) rest() string { return "bytes=" + strconv.FormatInt(p.end(), 10) + "-" }

// servePart answers a request for a range that e holds; false, having done nothing, if it does not.
func (e *entry) servePart(w http.ResponseWriter, r *http.Request, s *shown) bool {
	lines := r.Header["Range"]
	if r.Method != http.MethodGet || len(lines) != 1 {
		return false
	}
	p := e.part
	from, to, ok := byteRange(lines[0], p.complete)
	same := p.asked != "" && lines[0] == p.asked && p.held > 0 // the same question: the same answer, whatever it says of itself
	if !same && (!ok || from < p.first || to > p.end()) || !e.ifRange(r.Header["If-Range"]) {
		return false
	}
	if conditional(r.Header) {
		return false
	}
	body := e.body
	contentRange := e.header.Get("Content-Range")
	if same && p.held != p.last-p.first+1 {
		contentRange = fmt.Sprintf("bytes %d-%d/%d", p.first, p.end()-1, p.complete)
	}
	if !same {
		body = e.body[from-p.first : to-p.first]
		contentRange = fmt.Sprintf("bytes %d-%d/%d", from, to-1, p.complete)
	}
	h := w.Header()
	e.fill(h)
	h["Age"], h["Cache-Status"] = s.age, s.status
	h["Content-Range"] = []string{contentRange}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body)
	return true
}

// ifRange evaluates If-Range (RFC 9110 section 13.1.5): strong comparison, or the very date.
func (e *entry) ifRange(lines []string) bool {
	switch {
	case len(lines) == 0:
		return true
	case len(lines) > 1:
		return false
	case strings.Contains(lines[0], `"`):
		return strong(e.etag) && lines[0] == e.etag
	}
	at, ok := parseDate(lines[0])
	return ok && !e.modified.IsZero() && e.modified.Equal(at)
}

// byteRange reads a Range of one part into positions from..to-1 of length bytes.
func byteRange(s string, length int64) (from, to int64, ok bool) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(trimOWS(spec), "-")
	if !ok || strings.Contains(b, ",") {
		return 0, 0, false
	}
	if a == "" { // the last b bytes
		n, err := strconv.ParseUint(b, 10, 62)
		if err != nil || n == 0 {
			return 0, 0, false
		}
		return max(0, length-int64(n)), length, length > 0
	}
	first, err := strconv.ParseUint(a, 10, 62)
	if err != nil || int64(first) >= length {
		return 0, 0, false
	}
	if b == "" {
		return int64(first), length, true
	}
	last, err := strconv.ParseUint(b, 10, 62)
	if err != nil || last < first {
		return 0, 0, false
	}
	return int64(first), min(int64(last)+1, length), true
}

// completes reports whether the rest of a stored part is worth asking for, to make a whole of both.
func (x *exchange) completes() bool {
	e := x.entry
	return e != nil && e.part != nil && e.part.first == 0 && e.part.end() < e.part.complete &&
		e.part.complete <= x.c.opts.MaxBody && x.verdict.serve && x.r.Method == http.MethodGet &&
		len(x.r.Header["Range"]) == 0 && !conditional(x.r.Header)
}

// complete takes the answer to a request for the rest. True: it is dealt with; false: it is a response like any.
func (x *exchange) complete(w *writer, h http.Header, now time.Time) bool {
	old := x.entry
	switch w.status {
	case http.StatusRequestedRangeNotSatisfiable:
		w.plan = fetchAgain
		return true
	case http.StatusPartialContent:
	default:
		return false
	}
	w.plan = fetchAgain
	p := partOf(h, nil)
	if p == nil || p.first != old.part.end() || p.last != p.complete-1 || p.complete != old.part.complete ||
		!strong(old.etag) || h.Get("Etag") != old.etag || w.announced >= 0 && w.announced != p.last-p.first+1 {
		return true // not of the same representation for sure (RFC 9110 section 15.3.7.3)
	}
	x.own.Inherit(&old.valid)
	merged := old.header.Clone()
	for name, lines := range h {
		merged[name] = lines
	}
	delete(merged, "Content-Range")
	merged["Content-Length"] = []string{strconv.FormatInt(p.complete, 10)}
	e := x.storable(http.StatusOK, merged, now)
	if e == nil {
		return true
	}
	w.plan, w.draft, w.status, w.announced = keeping, e, http.StatusOK, p.complete
	w.header = merged.Clone()
	for name, lines := range w.before {
		if _, ok := merged[name]; !ok {
			w.header[name] = lines
		}
	}
	w.body = append(make([]byte, 0, p.complete), old.body...)
	w.prefix = old.body
	return true
}

// fetchAgain fetches all of it.
func (x *exchange) fetchAgain(w http.ResponseWriter) {
	v, _ := x.seal()
	if x.outer != nil {
		x.outer.Inherit(&v)
	}
	plain := *x.look
	plain.entry = nil
	next := x.h.exchange(x.r, x.fwd)
	next.look, next.detail, next.flight = &plain, x.detail, x.flight
	x.flight = nil
	next.run(w)
}

// joinParts makes one of a new part and a stored one of the same representation that touch or overlap.
func (x *exchange) joinParts(e *entry) *entry {
	if e.part == nil || !strong(e.header.Get("Etag")) {
		return e
	}
	res := x.c.find(x.sum, &x.key)
	if res == nil {
		return e
	}
	for _, old := range res.entries {
		if old.part == nil || old.etag != e.header.Get("Etag") || old.part.complete != e.part.complete ||
			!sameSelectors(old.selecting, e.selecting) || !old.valid.Valid(x.bound) {
			continue
		}
		a, b := old, e
		if b.part.first < a.part.first {
			a, b = b, a
		}
		if b.part.first > a.part.end() || max(a.part.end(), b.part.end())-a.part.first > x.c.opts.MaxBody {
			continue
		}
		x.own.Inherit(&old.valid)
		body := slices.Clone(a.body)
		if b.part.end() > a.part.end() {
			body = append(body, b.body[a.part.end()-b.part.first:]...)
		}
		e.joined(a.part.first, body)
		break
	}
	return e
}

// joined makes e the part, or the whole, that body is.
func (e *entry) joined(first int64, body []byte) {
	e.body = body
	p := *e.part
	p.first, p.held, p.asked = first, int64(len(body)), ""
	p.last = p.end() - 1
	e.part = &p
	if p.first == 0 && p.held == p.complete {
		e.part, e.status = nil, http.StatusOK
		delete(e.header, "Content-Range")
		return
	}
	e.header["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", p.first, p.last, p.complete)}
}
