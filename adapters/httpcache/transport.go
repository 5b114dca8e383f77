package httpcache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// Transport is next behind the cache: an http.RoundTripper for clients. It is the same engine, and its responses fall
// with the same names. For one user's client set Options.Private; without it the cache is a shared one, as for a
// server's calls to services on behalf of many.
//
// As with every RoundTripper, close the Body. Methods other than GET and HEAD go through, and make what they changed
// fall. After Close it answers [ErrClosed].
func (c *Cache) Transport(next http.RoundTripper) http.RoundTripper {
	t := &transport{c: c, next: next}
	t.handler = c.Handler(http.HandlerFunc(t.fetch))
	return t
}

type transport struct {
	c       *Cache
	next    http.RoundTripper
	handler http.Handler
}

// noResponse is what fetch panics with when next failed: it goes through the engine and comes back as RoundTrip's error.
type noResponse struct{ err error }

var errCutShort = errors.New("httpcache: the response ended too early")

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && len(r.Header["Upgrade"]) > 0 && !t.c.closed.Load() {
		return t.next.RoundTrip(r) // the response's body is written to
	}
	r = explicit(r)
	ctx, cancel := context.WithCancel(r.Context())
	body, in := io.Pipe()
	w := &trip{request: r, header: make(http.Header), ready: make(chan struct{}), in: in, cancel: cancel, PipeReader: body}
	// The goroutine ends with the handler: when the response has been read or its Body is closed, when the request's
	// context ends, when the cache is closed.
	started := t.c.start(func() {
		defer cancel()
		defer context.AfterFunc(ctx, func() { body.CloseWithError(context.Cause(ctx)) })()
		defer context.AfterFunc(t.c.life, cancel)()
		defer func() { w.ended(recover()) }()
		t.handler.ServeHTTP(w, r.WithContext(ctx))
	})
	if !started {
		cancel()
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, ErrClosed
	}
	select {
	case <-w.ready:
	case <-r.Context().Done(): // others may wait for the response, and keep the handler at it
		w.once.Do(func() {
			w.err = context.Cause(r.Context())
			close(w.ready)
		})
	}
	if w.response == nil {
		return nil, w.err
	}
	return w.response, nil
}

// explicit is r in the terms of a server's request: it has a method, and a length that is 0 only if there is no body.
func explicit(r *http.Request) *http.Request {
	unknown := r.Body != nil && r.Body != http.NoBody && r.ContentLength == 0
	if r.Method != "" && !unknown {
		return r
	}
	clone := *r
	if clone.Method == "" {
		clone.Method = http.MethodGet
	}
	if unknown {
		clone.ContentLength = -1
	}
	return &clone
}

// fetch is the handler behind the cache: it asks next.
func (t *transport) fetch(w http.ResponseWriter, r *http.Request) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		if out, ok := w.(*writer); ok && !out.x.unsafe && t.c.ifError(out.x.look, http.StatusBadGateway) {
			w.WriteHeader(http.StatusBadGateway) // which the stored response stands in for
			return
		}
		panic(noResponse{err})
	}
	defer resp.Body.Close()
	h := w.Header()
	for name, lines := range resp.Header {
		h[name] = lines
	}
	for name := range resp.Trailer {
		h.Add("Trailer", name)
	}
	if resp.ContentLength > 0 && h.Get("Content-Length") == "" {
		h.Set("Content-Length", itoa(int(resp.ContentLength)))
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(noResponse{err})
	}
	for name, lines := range resp.Trailer {
		h[name] = lines
	}
}

// trip is one RoundTrip: the ResponseWriter that the engine answers, and the Body that the client reads.
type trip struct {
	request *http.Request
	header  http.Header
	in      *io.PipeWriter
	cancel  context.CancelFunc
	*io.PipeReader

	once     sync.Once
	ready    chan struct{}  // closed when one of these two is set
	response *http.Response // nil when there is none
	err      error
}

func (w *trip) Header() http.Header { return w.header }

func (w *trip) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.once.Do(func() {
		h := w.header.Clone()
		resp := &http.Response{
			Status: itoa(status) + " " + http.StatusText(status), StatusCode: status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, Body: w, ContentLength: announced(h), Request: w.request,
		}
		for _, line := range h["Trailer"] {
			for _, name := range fieldNames(line) {
				if resp.Trailer == nil {
					resp.Trailer = make(http.Header)
				}
				resp.Trailer[http.CanonicalHeaderKey(name)] = nil
			}
		}
		delete(h, "Trailer")
		if w.request.Method == http.MethodHead {
			resp.Body = http.NoBody
		}
		w.response = resp
		close(w.ready)
	})
}

func (w *trip) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.request.Method == http.MethodHead {
		return len(p), nil
	}
	return w.in.Write(p)
}

// FlushError has nothing to do: the pipe holds nothing back.
func (w *trip) FlushError() error { return nil }

// ended is told what the handler panicked with, or nil.
func (w *trip) ended(panicked any) {
	var err error
	if failed, ok := panicked.(noResponse); ok {
		err = failed.err
	} else if panicked != nil {
		err = errCutShort
	}
	w.once.Do(func() {
		if w.err = err; err == nil {
			w.err = cmp.Or(context.Cause(w.request.Context()), errCutShort)
		}
		close(w.ready)
	})
	if w.response != nil {
		for name := range w.response.Trailer {
			w.response.Trailer[name] = w.header[name]
		}
	}
	_ = w.in.CloseWithError(err)
}

// Close ends the exchange: the client has had enough.
func (w *trip) Close() error {
	w.cancel()
	return w.PipeReader.Close()
}
