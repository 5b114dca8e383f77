package httpcache

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// touchWithin bounds the announcement of what a request invalidated. In this process it has fallen before; what could not
// be announced is announced when Redis answers.
const touchWithin = time.Second

// invalidate makes fall what a response to an unsafe method says has changed (RFC 9111 section 4.4): its URL, and those of
// Location and Content-Location if they are of the same origin; and its groups (RFC 9875 section 3). It returns before
// the response goes out, so that who has seen that sees what it did. A response that is what a GET would give outlives it.
func (x *exchange) invalidate(status int, h http.Header) {
	list := []invalidate.Name{x.url()}
	for _, name := range []string{"Location", "Content-Location"} {
		if target, ok := x.sameOrigin(h.Get(name)); ok && target != x.key.target {
			list = append(list, urlTag(x.key.origin(), target))
		}
	}
	for _, g := range groups(h["Cache-Group-Invalidation"]) {
		list = append(list, GroupTag(x.key.origin(), g))
	}
	within := touchWithin
	if !x.c.tracker.Synced() {
		within /= 20 // Redis is away: nobody waits for it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), within)
	defer cancel()
	var by *invalidate.Record
	if x.representsItself(status, h) {
		by = x.own
		by.DependOn(append(names(h, x.key.origin()), x.url())...)
	}
	if err := x.c.tracker.TouchFrom(ctx, by, list...); err != nil {
		x.c.opts.Logger.Warn("freshet: invalidation not announced yet", "url", x.key.target, "error", err)
	}
}

// sameOrigin resolves a reference to path and query, if it points to the request's own origin. Which of http and https
// it names does not matter: behind what ends TLS the handler's scheme is not the client's.
func (x *exchange) sameOrigin(ref string) (target string, ok bool) {
	if ref == "" {
		return "", false
	}
	base, err := url.Parse(x.key.origin() + x.key.target)
	if err != nil {
		return "", false
	}
	u, err := base.Parse(ref)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || plainHost(u) != plainHost(base) {
		return "", false
	}
	return u.RequestURI(), true
}

// plainHost is u's host and port as [plainOrigin] has them.
func plainHost(u *url.URL) string {
	_, host, _ := strings.Cut(plainOrigin(u.Scheme+"://"+u.Host), "://")
	return host
}

// representsItself reports whether a response to POST is what a GET of the same URL would give (RFC 9110 section 9.3.3).
func (x *exchange) representsItself(status int, h http.Header) bool {
	target, ok := x.sameOrigin(h.Get("Content-Location"))
	return x.r.Method == http.MethodPost && status == http.StatusOK && ok && target == x.key.target
}
