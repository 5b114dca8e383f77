package httpcache

import (
	"bytes"
	"net/http"
)

// serve answers r from e: with all of it, a range of it, or a 304.
func (e *entry) serve(w http.ResponseWriter, r *http.Request, age, status []string) {
	h := w.Header()
	e.fill(h)
	h["Age"] = age
	h["Cache-Status"] = status
	if e.status/100 == 2 && conditional(r.Header) && notModified(r.Header, e) {
		unfill(h)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet && e.status == http.StatusOK && len(r.Header["Range"]) > 0 {
		delete(h, "Content-Length")
		http.ServeContent(w, r, "", e.modified, bytes.NewReader(e.body))
		return
	}
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead && len(e.body) > 0 {
		_, _ = w.Write(e.body) // a client that has left
	}
}

// unfill takes from a 304 what describes a body (RFC 9110 section 15.4.5).
func unfill(h http.Header) {
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range"} {
		delete(h, name)
	}
}
