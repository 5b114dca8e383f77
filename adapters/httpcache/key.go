package httpcache

import (
	"hash/maphash"
	"net/http"
	"net/url"
	"strings"
)

// key names one URL's responses. Nothing is folded: two spellings are two keys.
type key struct {
	space  uint64 // the handler's
	scheme string
	host   string
	target string // path and query as the client sent them
	seen   string // the same as the handler sees them, where a middleware around the cache has changed them
	extra  string // by Options.Key
}

func (c *Cache) keyOf(h *handler, r *http.Request) key {
	k := key{space: h.space, scheme: scheme(r), host: host(r)}
	k.target = r.RequestURI
	switch {
	case !strings.HasPrefix(k.target, "/"): // of a client's request, or in absolute form
		k.target = r.URL.RequestURI()
	case !spells(k.target, r.URL):
		k.seen = r.URL.RequestURI()
	}
	if u := r.URL; u.Host != "" && (u.Host != k.host || u.Scheme != k.scheme) {
		k.seen = u.String()
	}
	if c.opts.Key != nil {
		k.extra = c.opts.Key(r)
	}
	return k
}

// spells reports whether target is u's path and query, without building them.
func spells(target string, u *url.URL) bool {
	path := u.Path
	if u.RawPath != "" {
		path = u.EscapedPath() // a RawPath that no longer fits Path counts for nothing
	}
	rest, ok := strings.CutPrefix(target, path)
	switch {
	case !ok || u.Opaque != "":
		return u.RequestURI() == target
	case rest == "":
		return u.RawQuery == "" && !u.ForceQuery
	case rest[0] == '?':
		return rest[1:] == u.RawQuery
	}
	return u.RequestURI() == target
}

// scheme is how the request came. What its absolute form says, it says itself: only a client's own requests, which have
// no RequestURI, are believed.
func scheme(r *http.Request) string {
	switch {
	case r.TLS != nil:
		return "https"
	case r.RequestURI == "" && r.URL.Scheme != "":
		return r.URL.Scheme
	}
	return "http"
}

func host(r *http.Request) string {
	if r.Host == "" {
		return r.URL.Host
	}
	return r.Host
}

func (k *key) origin() string { return k.scheme + "://" + k.host }

func (c *Cache) hash(k *key) uint64 { return maphash.Comparable(c.seed, *k) }
