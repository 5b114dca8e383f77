package httpcache

import (
	"net/http"
	"slices"
	"time"
)

// finishKept stores a response whose handler has returned.
func (x *exchange) finishKept(w *writer) {
	e := w.draft
	if w.body == nil {
		w.body = []byte{}
	}
	switch {
	case x.ctx.Err() != nil: // the handler may have cut it short, told that nobody wants it any more
		x.give(nil)
		return
	case !w.whole(int64(len(w.body))):
		x.give(nil)
		return
	case e.part != nil && !e.part.fits(len(w.body)):
		x.give(nil)
		return
	}
	if cap(w.body)-len(w.body) > 512 {
		w.body = slices.Clone(w.body)
	}
	e.body = w.body
	x.keepOrNot(e)
}

// keepOrNot stores e, whose header and body are complete, and gives it to those who wait.
func (x *exchange) keepOrNot(e *entry) (stored bool) {
	if v, _ := x.rec.Seal(); e.mayRecord && (e.recorded || v.Depends() || len(x.names) > 1) {
		e.lifetime, e.recorded = x.c.opts.Recorded, true
	}
	if !e.useful() {
		x.c.seal(e)
		x.give(nil)
		x.goAlone()
		return false
	}
	merged := x.joinParts(e)
	stored, shared := x.store(merged)
	if !shared || e.part != nil || e.lifetime <= e.initial || e.cc.noCache {
		x.give(nil)
	} else {
		x.give(merged)
	}
	return stored
}

// finishPassed ends an exchange whose response is the client's alone.
func (x *exchange) finishPassed(w *writer) {
	if x.r.Method == http.MethodHead && w.status == http.StatusOK && x.entry != nil {
		x.headTold(w.view())
	}
	if w.status != http.StatusNotModified && w.status != http.StatusRequestedRangeNotSatisfiable && w.status < 500 {
		x.supersede()
	}
	x.give(nil)
}

// supersede drops the stale response that this one has taken the place of, and which is not stored itself.
func (x *exchange) supersede() {
	if x.entry != nil && x.fwd == fwdStale && x.r.Method == http.MethodGet && !x.ask.noStore {
		x.c.drop(x.sum, x.key, x.entry)
	}
}

// finishValidated answers from the stored response, which the handler says still holds.
func (x *exchange) finishValidated(w *writer) {
	e := w.draft
	stored := !e.cc.noStore && x.keepOrNot(e)
	if e.cc.noStore {
		e.valid, _ = x.seal()
		x.c.seal(e)
		x.supersede()
		x.give(nil)
	}
	status := append(slices.Clip(w.update["Cache-Status"]),
		x.c.forwarded(x.fwd, x.detail, http.StatusNotModified, stored, false))
	if cookies := w.update["Set-Cookie"]; len(cookies) > 0 { // for this client; not stored
		w.rw.Header()["Set-Cookie"] = cookies
	}
	e.serve(w.rw, x.r, x.c.shown(e, e.age(time.Now())).age, status)
}

// finishStandIn answers from the stored response, because the handler could not.
func (x *exchange) finishStandIn(w *writer) {
	if x.outer != nil {
		x.outer.NoStore()
	}
	x.give(nil)
	e := x.entry
	s := x.c.shown(e, e.age(time.Now()))
	e.serve(w.rw, x.r, s.age, []string{s.status[len(s.status)-1] + "; fwd-status=" + itoa(w.status) + "; detail=stale-if-error"})
}
