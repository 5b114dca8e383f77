package httpcache

import (
	"net/http"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// verdict says whether a stored response may be served now, and if not, why.
type verdict struct {
	age         time.Duration
	serve       bool
	stale       bool   // served though no longer fresh
	current     bool   // nothing is known against the data under it: if it is not fresh, it is merely old
	fwd, detail string // for Cache-Status
}

// judge is RFC 9111 section 4.2 and 5.2.1, after the question whether e's data still stands.
func (c *Cache) judge(e *entry, ask *directives, bound time.Duration, now time.Time) verdict {
	_, state := e.valid.Check(bound)
	v := verdict{age: e.age(now), fwd: fwdStale}
	switch state {
	case invalidate.Current:
		v.current = true
	case invalidate.Unproven:
		v.current = c.opts.ServeUnproven && bound == c.opts.MaxStaleness
		v.detail = "unproven"
	default:
		v.detail = state.String()
	}
	left := e.lifetime - v.age
	switch {
	case e.cc.noCache:
	case left > 0 && v.current:
		v.serve, v.fwd = e.freshFor(ask, v.age), fwdRequest
	case (ask.anyStale || ask.maxStale.set && -left <= ask.maxStale.d) && !ask.noCache &&
		(!ask.maxAge.set || v.age <= ask.maxAge.d):
		v.serve = c.mayServeOld(e, v.current, false)
		v.stale = v.serve
	}
	return v
}

// freshFor reports whether e is fresh, and as fresh as the request demands.
func (e *entry) freshFor(ask *directives, age time.Duration) bool {
	left := e.lifetime - age
	return left > 0 && !e.cc.noCache && !ask.noCache && (!ask.maxAge.set || age <= ask.maxAge.d) && left >= ask.minFresh.d
}

// mayServeOld reports whether e may be served though it is not fresh. What fell with its data is not merely old.
func (c *Cache) mayServeOld(e *entry, current, said bool) bool {
	return e.part == nil && (current || c.opts.StaleFallen) && e.mayBeStale(c.shared(), said)
}

// whileRevalidate is RFC 5861 section 3.
func (c *Cache) whileRevalidate(l *look) bool {
	e := l.entry
	if e == nil || l.verdict.fwd != fwdStale || l.ask.noCache || l.ask.maxAge.set || l.ask.minFresh.set {
		return false
	}
	window := e.cc.staleWhileRevalidate
	return window.set && l.verdict.age-e.lifetime <= window.d && c.mayServeOld(e, l.verdict.current, true)
}

// ifError is RFC 5861 section 4: whether the stored response, if it is no error itself, may stand in for one that failed.
// Request and response may both say; where they do not, RFC 9111 section 4.2.4 lets a cache that is cut off from the origin
// serve what is stale, and the options say for how long.
func (c *Cache) ifError(l *look, status int) bool {
	e := l.entry
	if e == nil || e.status >= 500 || l.ask.noCache {
		return false
	}
	window := e.cc.staleIfError
	if !window.set && (status == http.StatusBadGateway || status == http.StatusGatewayTimeout) {
		window = delta{c.opts.StaleIfUnreachable, c.opts.StaleIfUnreachable > 0}
	}
	if l.ask.staleIfError.d > window.d {
		window = l.ask.staleIfError
	}
	_, state := e.valid.Check(l.bound)
	current := state == invalidate.Current || state == invalidate.Unproven && c.opts.ServeUnproven
	return window.set && e.age(time.Now())-e.lifetime <= window.d && c.mayServeOld(e, current, e.cc.staleIfError.set)
}
