package httpcache

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// decide chooses what becomes of a response. Its header is complete and not yet sent.
func (x *exchange) decide(w *writer) {
	now := time.Now()
	h := w.view()
	if x.unsafe && w.status < 400 { // RFC 9111 section 4.4: a non-error response
		x.invalidate(w.status, h)
	}
	w.plan = passing
	switch {
	case x.validating && w.status == http.StatusNotModified && x.entry.isAnother(h["Etag"]):
		w.plan = fetchAgain
	case x.validating && w.status == http.StatusNotModified:
		w.plan, w.update = validated, h
		w.draft = x.refreshed(h, now)
	case x.completing && x.complete(w, h, now):
	case w.status >= 500 && x.look.entry != nil && !x.unsafe && x.c.ifError(x.look, w.status):
		w.plan = standIn
	default:
		if w.draft = x.storable(w.status, h, now); w.draft != nil && w.announced <= x.c.opts.MaxBody {
			w.plan = keeping
		}
	}
	if w.plan == keeping && w.body == nil && w.announced > 0 {
		w.body = make([]byte, 0, w.announced)
	}
	switch w.plan {
	case keeping:
		share := w.draft.part == nil && (w.draft.lifetime > w.draft.initial || w.draft.mayRecord) && !w.draft.cc.noCache
		x.flight.head(share, w.draft.selecting)
		if !share {
			x.goAlone()
		}
	case passing, standIn:
		x.flight.head(false, nil)
		if w.status < 500 { // an error passes
			x.goAlone()
		}
	}
}

// grounds reports whether e has reason to be kept as far as is known when its header goes out: one that lives by what is
// recorded has none where nothing was.
func (x *exchange) grounds(e *entry) bool { return e.useful() || x.rec.Depends() || len(x.names) > 1 }

// goAlone remembers that who waits here waits in vain.
func (x *exchange) goAlone() {
	if x.flight != nil && !x.alone && x.entry == nil {
		x.c.goAlone(x.sum, x.key, x.known)
	}
}

// storable is RFC 9111 section 3: it returns what of a response may be stored, without its body, or nil. It owns h.
func (x *exchange) storable(status int, h http.Header, now time.Time) *entry {
	if x.r.Method == http.MethodHead || x.ask.noStore || x.fwd == fwdBypass || status == http.StatusNotModified ||
		status == http.StatusSwitchingProtocols || status == http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	if x.unsafe && !x.representsItself(status, h) {
		return nil
	}
	if len(h["Trailer"]) > 0 || headerSize(h) > x.c.opts.MaxHeader {
		return nil
	}
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && media == "text/event-stream" {
		return nil
	}
	e := x.draft(status, h, now)
	if e == nil {
		return nil
	}
	x.names = append(names(h, x.key.origin()), x.url())
	return e
}

// draft judges a response, new or made of a stored one and a 304, by its header.
func (x *exchange) draft(status int, h http.Header, now time.Time) *entry {
	c := x.c
	cc, targeted := c.control(h)
	understood := http.StatusText(status) != ""
	switch {
	case cc.mustUnderstand && !understood, cc.noStore && !(cc.mustUnderstand && understood):
		return nil
	case cc.private && c.shared():
		return nil
	case authorized(x.r) && c.shared() && !cc.public && !cc.mustRevalidate && !cc.sMaxage.set:
		return nil
	}
	selecting, ok := selectors(h["Vary"], x.r.Header)
	if !ok || x.hidden(selecting) {
		return nil
	}
	date, ok := parseDate(h.Get("Date"))
	if !ok {
		date = now
		h["Date"] = []string{now.UTC().Format(http.TimeFormat)}
	}
	e := &entry{
		status: status, date: date, selecting: selecting, cc: cc,
		asked: x.began, received: now, initial: initialAge(h, date, x.began, now),
	}
	e.lifetime, ok = lifetime(h, &cc, targeted, c.shared(), date)
	if !ok {
		if x.unsafe { // RFC 9110 section 9.3.3: a response to POST needs explicit freshness
			return nil
		}
		if !x.impersonal(e) {
			return nil // not even to be validated by others
		}
		e.mayRecord = c.opts.Recorded > 0 && heuristic(status)
		if !targeted && !c.opts.NoHeuristic {
			e.lifetime = guess(h, status, &cc, date)
		}
	}
	if e.header = storedHeader(h, &cc, c.shared()); len(e.header["Set-Cookie"]) > 0 && c.shared() {
		return nil
	}
	if !e.mayRecord && !e.useful() {
		return nil
	}
	if status == http.StatusPartialContent {
		if e.part = partOf(e.header, x.r.Header); e.part == nil {
			return nil
		}
	}
	return e
}

// hidden reports whether the request named one of selecting in Connection: a proxy behind takes it off, and the response
// is not what that value gives.
func (x *exchange) hidden(selecting []selector) bool {
	for _, line := range x.r.Header["Connection"] {
		for _, name := range fieldNames(line) {
			if slices.ContainsFunc(selecting, func(s selector) bool { return strings.EqualFold(s.name, name) }) {
				return true
			}
		}
	}
	return false
}

// impersonal reports whether a response that says nothing of its freshness may be given one: not where the request said
// who it comes from, unless the response is kept apart by that or made for all. It then is for others of the kind alone.
func (x *exchange) impersonal(e *entry) bool {
	if e.cc.public || !x.c.shared() {
		return true
	}
	e.anonymous = true
	return !authorized(x.r) && (len(x.r.Header["Cookie"]) == 0 || e.variesBy("Cookie"))
}

func headerSize(h http.Header) (n int) {
	for name, lines := range h {
		for _, l := range lines {
			n += len(name) + len(l) + 4
		}
	}
	return n
}
