package httpcache

import (
	"context"
	"net/http"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// exchange is one request's way to the handler and back.
type exchange struct {
	*look
	h           *handler
	c           *Cache
	r           *http.Request // the client's
	fwd, detail string
	unsafe      bool // its method may have changed what is stored
	flight      *flight

	ctx   context.Context // the handler's
	began time.Time
	// Both are begun before the handler (R3). On rec the handler's reads are recorded; own inherits them and adds what the
	// response falls with by itself: its URL and its tags.
	rec, own   *invalidate.Record
	names      []invalidate.Name
	validating bool // the handler was asked whether look.entry still holds
	completing bool // the handler was asked for the rest of look.entry
}

func (h *handler) exchange(r *http.Request, fwd string) *exchange {
	x := &exchange{h: h, c: h.c, r: r, fwd: fwd}
	if fwd == fwdBypass || fwd == fwdMethod {
		x.look = &look{key: h.c.keyOf(h, r), outer: invalidate.RecordIn(r.Context()), bound: h.c.opts.MaxStaleness}
		x.sum, x.ask = h.c.hash(&x.key), cacheControl(r.Header["Cache-Control"])
	}
	return x
}

// mayShare reports whether others may wait for this exchange, or it for another.
func (x *exchange) mayShare() bool {
	r := x.r
	if e := x.entry; e != nil && (e.cc.noCache || e.lifetime <= e.initial) {
		return false // every request has to ask for itself
	}
	if x.alone || r.Method != http.MethodGet || x.ask.noStore || x.ask.noCache || len(r.Header["Range"]) > 0 ||
		r.Header.Get("Accept") == "text/event-stream" {
		return false
	}
	return !conditional(r.Header) || x.validates()
}

// validates reports whether there is something to validate.
func (x *exchange) validates() bool {
	return x.entry != nil && x.entry.part == nil && (x.entry.etag != "" || x.dated())
}

// dated reports whether Last-Modified can tell: what fell may have changed within the second that it names.
func (x *exchange) dated() bool {
	m := x.entry.modified
	return !m.IsZero() && (x.verdict.current || x.entry.date.Sub(m) >= time.Second)
}

// run has the handler answer w, and keeps what may be kept.
func (x *exchange) run(w http.ResponseWriter) {
	ctx := x.r.Context()
	if x.flight != nil {
		var stop func()
		ctx, stop = x.flight.context(ctx)
		defer stop()
	}
	x.began = time.Now()
	x.own, _ = x.c.tracker.Record(ctx)
	x.rec, ctx = x.c.tracker.Record(ctx)
	x.rec.Within(x.bound)
	x.ctx = ctx
	out := newWriter(w, x)
	request := x.request(ctx)
	ended := false
	defer func() {
		if x.unsafe && out.plan == undecided { // nobody knows what became of it
			x.invalidate(0, nil)
		}
		if !ended { // a panic goes on, and nothing of it is kept (http.ErrAbortHandler among them)
			x.rec.NoStore()
			x.give(nil)
		}
	}()
	x.h.next.ServeHTTP(out, request)
	out.finish()
	ended = true
}

// request is what the handler gets: a copy, with our conditions in place of the client's where something is validated.
func (x *exchange) request(ctx context.Context) *http.Request {
	r := x.r.WithContext(ctx)
	r.Header = x.r.Header.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	switch {
	case x.unsafe || x.fwd == fwdBypass || x.entry == nil:
	case x.validates():
		x.validating = true
		delete(r.Header, "If-None-Match")
		delete(r.Header, "If-Modified-Since")
		if x.entry.etag != "" {
			r.Header["If-None-Match"] = []string{x.entry.etag}
		}
		if x.dated() {
			r.Header["If-Modified-Since"] = []string{x.entry.header.Get("Last-Modified")}
		}
	case x.completes():
		x.completing = true
		r.Header["Range"] = []string{x.entry.part.rest()}
		if strong(x.entry.etag) {
			r.Header["If-Range"] = []string{x.entry.etag}
		}
	}
	return r
}

// url is what everything of this URL falls with.
func (x *exchange) url() invalidate.Name { return urlTag(x.key.origin(), x.key.target) }

// seal ends both records. ok is false when what they rest on has fallen, or must not be kept.
func (x *exchange) seal() (v invalidate.Validity, ok bool) {
	v, ok = x.rec.Seal()
	x.own.Inherit(&v)
	x.own.DependOn(x.names...)
	x.names = nil
	v, still := x.own.Seal()
	return v, ok && still
}

// give ends the exchange for those who wait and for the load around it. e is nil when there is nothing to share.
func (x *exchange) give(e *entry) {
	v, _ := x.seal()
	if x.outer != nil {
		x.outer.Inherit(&v)
	}
	x.flight.land(e)
}

// store keeps e if everything that it rests on still holds. Either way e is good for the caller, and if it has merely
// fallen meanwhile, for all who asked before the handler began: shared.
func (x *exchange) store(e *entry) (stored, shared bool) {
	e.valid, stored = x.seal()
	x.c.seal(e)
	if stored {
		x.c.keep(x.sum, x.key, e)
		return true, true
	}
	probe, _ := x.c.tracker.Record(context.Background()) // nothing has fallen for it: it tells NoStore alone
	probe.Inherit(&e.valid)
	_, shared = probe.Seal()
	return false, shared
}
