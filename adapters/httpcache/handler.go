package httpcache

import (
	"net/http"
	"strings"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// handler is one wrapped http.Handler.
type handler struct {
	c     *Cache
	next  http.Handler
	space uint64
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case h.c.closed.Load(), r.Method == http.MethodGet && len(r.Header["Upgrade"]) > 0:
		h.next.ServeHTTP(w, r) // with the server's own ResponseWriter: a WebSocket is none of our business
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if hasBody(r) || forOrigin(r.Header) {
			x := h.exchange(r, fwdBypass)
			x.run(w)
			return
		}
		h.get(w, r)
	case safe(r.Method):
		h.next.ServeHTTP(w, r)
	default:
		x := h.exchange(r, fwdMethod)
		x.unsafe = true
		x.run(w)
	}
}

// hasBody trusts the server's lengths and does not look at Body, which middlewares wrap.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 || len(r.TransferEncoding) > 0 }

// safe reports whether method is known to change nothing. What is not known invalidates (RFC 9111 section 4.4).
func safe(method string) bool {
	switch method {
	case "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

// look is what the cache found for a request.
type look struct {
	key     key
	sum     uint64
	ask     directives // the request's
	asked   time.Time
	bound   time.Duration
	outer   *invalidate.Record // of the load around the request, if there is one
	entry   *entry             // the response that the request selects, or nil
	others  bool               // there are variants that it does not select
	known   int                // 1 if the request says who it comes from
	alone   bool               // responses to its like are known not to be shared
	verdict verdict
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	var l look
	h.look(&l, r)
	if l.verdict.serve && h.c.serveHit(w, r, &l) {
		return
	}
	missed := l // so that a hit's stays on the stack
	h.miss(w, r, &missed)
}

func (h *handler) look(l *look, r *http.Request) {
	c := h.c
	l.key = c.keyOf(h, r)
	l.sum = c.hash(&l.key)
	if lines := r.Header["Cache-Control"]; len(lines) > 0 {
		l.ask = cacheControl(lines)
	} else if lines := r.Header["Pragma"]; len(lines) > 0 {
		l.ask.noCache = strings.Contains(strings.ToLower(lines[0]), "no-cache") // RFC 9111 section 5.4
	}
	l.outer = invalidate.RecordIn(r.Context())
	l.bound = c.opts.MaxStaleness
	if around := l.outer.Bound(); around > 0 && around < l.bound {
		l.bound = around
	}
	if len(r.Header["Cookie"]) > 0 || authorized(r) {
		l.known = 1
	}
	h.find(l, r)
}

// authorized reports whether a request says who it comes from in a way that HTTP knows of.
func authorized(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// find looks into the store, at the beginning and again after waiting.
func (h *handler) find(l *look, r *http.Request) {
	l.asked = time.Now()
	res := h.c.find(l.sum, &l.key)
	l.entry, l.others = res.choose(r)
	l.alone = res != nil && l.asked.Before(res.alone[l.known])
	l.verdict = verdict{fwd: fwdURIMiss}
	switch {
	case l.entry != nil:
		l.verdict = h.c.judge(l.entry, &l.ask, l.bound, l.asked)
	case l.others:
		l.verdict.fwd = fwdVary
	}
}

// serveHit serves l.entry, unless it is a part that does not hold what is asked for.
func (c *Cache) serveHit(w http.ResponseWriter, r *http.Request, l *look) bool {
	e := l.entry
	s := c.shown(e, l.verdict.age)
	if e.part != nil {
		if !e.servePart(w, r, s) {
			l.verdict.fwd = fwdPartial
			return false
		}
	} else {
		e.serve(w, r, s.age, s.status)
	}
	if l.outer != nil {
		l.outer.Inherit(&e.valid)
		if l.verdict.stale || l.verdict.detail != "" { // R6: served beyond its bound
			l.outer.NoStore()
		}
	}
	return true
}

// miss gets a response that memory alone cannot give.
func (h *handler) miss(w http.ResponseWriter, r *http.Request, l *look) {
	c := h.c
	if l.ask.onlyIfCached {
		addStatus(w.Header(), c.opts.Name+"; detail=only-if-cached")
		http.Error(w, "not in the cache", http.StatusGatewayTimeout)
		return
	}
	if c.whileRevalidate(l) {
		h.revalidate(r, l)
		l.verdict.stale = true
		c.serveHit(w, r, l)
		return
	}
	x := h.exchange(r, l.verdict.fwd)
	x.look, x.detail = l, l.verdict.detail
	asked := l.asked
	for range 2 { // R4: who waits in vain waits at most once more, for one that began after the call
		if !x.mayShare() {
			break
		}
		f, mine := c.flights.board(l, r.Header)
		if mine {
			x.flight = f
			break
		}
		e, how := f.await(r, c.opts.MaxWait)
		if e != nil && e.selects(r) && f.good(e, asked, l.bound) && e.freshFor(&l.ask, e.age(time.Now())) {
			c.serveJoined(w, r, l, e)
			return
		}
		if how == left {
			return
		}
		h.find(l, r)
		if l.verdict.serve && c.serveHit(w, r, l) {
			return
		}
		x.fwd, x.detail = l.verdict.fwd, l.verdict.detail
		if how == alone {
			break
		}
	}
	x.run(w)
}

func (c *Cache) serveJoined(w http.ResponseWriter, r *http.Request, l *look, e *entry) {
	s := c.shown(e, e.age(time.Now()))
	e.serve(w, r, s.age, []string{c.forwarded(l.verdict.fwd, l.verdict.detail, 0, false, true)})
	if l.outer != nil {
		l.outer.Inherit(&e.valid)
	}
}
