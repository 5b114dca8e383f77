package httpcache

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// notUpdated are the fields that describe the stored body, which a 304 leaves alone (RFC 9111 section 3.2).
var notUpdated = []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Etag"}

// isAnother reports whether a 304 with these entity tags speaks of another representation than e: then it updates nothing
// (RFC 9111 section 4.3.4). One that was asked about by its own tag is what a 304 says is current, whatever else it says:
// origins and encoders in front of them are known to name the same representation in two ways.
func (e *entry) isAnother(etags []string) bool {
	return e.etag == "" && slices.ContainsFunc(etags, strong)
}

// refreshed is look.entry with the header of a 304 laid over it (section 4.3.4). It depends on what both came from: the
// handler may have read less to say that nothing changed than to write it all.
func (x *exchange) refreshed(update http.Header, now time.Time) *entry {
	old := x.entry
	x.own.Inherit(&old.valid)
	h := old.header.Clone()
	delete(h, "Age")
	delete(h, "Date")
	for name, lines := range update {
		h[name] = lines
	}
	for _, name := range notUpdated {
		if lines, ok := old.header[name]; ok {
			h[name] = lines
		} else {
			delete(h, name)
		}
	}
	delete(h, "Set-Cookie")
	x.names = append(names(h, x.key.origin()), x.url())
	var e *entry
	if !x.ask.noStore && headerSize(h) <= x.c.opts.MaxHeader {
		e = x.draft(old.status, h, now)
	}
	if e == nil { // not to be stored any more; this client gets it all the same
		e = &entry{status: old.status, date: now, header: storedHeader(h, &directives{}, x.c.shared()), received: now}
		e.cc.noStore = true
	}
	e.body, e.recorded = old.body, old.recorded && e.mayRecord
	return e
}

// headTold is RFC 9111 section 4.3.5: a response to HEAD says something of the stored response to GET. It is dropped
// where they differ.
func (x *exchange) headTold(h http.Header) {
	old := x.entry
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length"} {
		told := h.Get(name)
		if told != "" && old.header.Get(name) != told {
			x.c.drop(x.sum, x.key, old)
			return
		}
	}
}

// revalidate fetches in the background what was just served stale, unless somebody is at it.
func (h *handler) revalidate(r *http.Request, l *look) {
	f, mine := h.c.flights.board(l, r.Header)
	if !mine {
		f.leave()
		return
	}
	c := h.c
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), c.opts.LoadTimeout)
	r = r.Clone(ctx)
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		delete(r.Header, name)
	}
	r.Method = http.MethodGet
	again := *l
	again.outer = nil
	mine = c.start(func() {
		defer cancel()
		defer context.AfterFunc(c.life, cancel)()
		defer func() {
			p := recover()
			if _, failed := p.(noResponse); p != nil && p != http.ErrAbortHandler && !failed {
				c.opts.Logger.Error("freshet: revalidation panicked", "url", r.URL.String(), "panic", p)
			}
		}()
		x := h.exchange(r, fwdStale)
		x.look, x.flight = &again, f
		x.run(nowhere{make(http.Header)})
	})
	if !mine {
		cancel()
		f.land(nil)
	}
}
