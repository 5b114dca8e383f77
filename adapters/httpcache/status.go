package httpcache

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// How a request went forward, for Cache-Status (RFC 9211 section 2.2).
const (
	fwdBypass  = "bypass"
	fwdMethod  = "method"
	fwdURIMiss = "uri-miss"
	fwdVary    = "vary-miss"
	fwdRequest = "request"
	fwdStale   = "stale"
	fwdPartial = "partial"
)

// forwarded is the member for a response that the handler gave; detail says more, or nothing.
func (c *Cache) forwarded(fwd, detail string, status int, stored, collapsed bool) string {
	s := c.opts.Name + "; fwd=" + fwd
	if status != 0 {
		s += "; fwd-status=" + strconv.Itoa(status)
	}
	if stored {
		s += "; stored"
	}
	if collapsed {
		s += "; collapsed"
	}
	if detail != "" {
		s += "; detail=" + detail
	}
	return s
}

// addStatus appends a member behind those of the caches nearer to the origin.
func addStatus(h http.Header, member string) {
	h["Cache-Status"] = append(slices.Clip(h["Cache-Status"]), member)
}

// shown are the two fields of a hit that change with time. They are made once a second.
type shown struct {
	second int64
	age    []string
	status []string
}

func (c *Cache) shown(e *entry, age time.Duration) *shown {
	second := int64(age / time.Second)
	if s := e.shown.Load(); s != nil && s.second == second {
		return s
	}
	ttl := int64(e.lifetime/time.Second) - second
	s := &shown{
		second: second,
		age:    []string{strconv.FormatInt(second, 10)},
		status: append(slices.Clip(e.header["Cache-Status"]), c.opts.Name+"; hit; ttl="+strconv.FormatInt(ttl, 10)),
	}
	e.shown.Store(s)
	return s
}
