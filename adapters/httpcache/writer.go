package httpcache

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// plan is what becomes of a response once its header is known.
type plan int

const (
	undecided  plan = iota
	passing         // to the client alone
	keeping         // to the client, and beside that into memory
	validated       // a 304 that was asked for: the client gets the stored response
	standIn         // an error: the client gets the stored response
	fetchAgain      // what came is of another representation than the stored one: all of it is fetched
)

// writer is the http.ResponseWriter that the handler sees. What it writes goes through at once; nothing is held back
// but a header that is not sent because the stored response takes its place.
//
// Its header map is its own: what middlewares around the cache have set is in it, and not in what is stored.
type writer struct {
	rw     http.ResponseWriter
	x      *exchange
	header http.Header
	before http.Header // header as the handler found it

	plan      plan
	status    int
	draft     *entry // what is to be stored, while keeping or validated
	update    http.Header
	announced int64 // Content-Length; -1 when there is none
	body      []byte
	prefix    []byte // what is held of the body already and goes out first
	sniffed   bool
	gone      bool // the client has left, and others wait
	failed    bool // a write failed, or there was too much
	hijacked  bool
}

func newWriter(rw http.ResponseWriter, x *exchange) *writer {
	outer := rw.Header()
	w := &writer{rw: rw, x: x, header: make(http.Header, len(outer)+8), announced: -1}
	for name, lines := range outer {
		w.header[name] = slices.Clone(lines)
	}
	if len(outer) > 0 {
		w.before = outer.Clone()
	}
	return w
}

func (w *writer) Header() http.Header { return w.header }

// Unwrap is for http.ResponseController: deadlines and full duplex are the server's.
func (w *writer) Unwrap() http.ResponseWriter { return w.rw }

func (w *writer) WriteHeader(status int) {
	switch {
	case w.plan > keeping: // this response does not go out
	case w.hijacked || w.plan != undecided:
		w.rw.WriteHeader(status) // the server says what is wrong with that
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
	default:
		w.status = status
		w.announced = announced(w.header)
		w.x.decide(w)
		if w.plan == passing || w.plan == keeping {
			w.commit(w.status)
		}
	}
}

// interim passes a 1xx on, at once. Its fields are not the response's.
func (w *writer) interim(status int) {
	h := w.rw.Header()
	w.sync(h)
	w.rw.WriteHeader(status)
	clear(h)
	for name, lines := range w.before {
		h[name] = lines
	}
}

func (w *writer) sync(h http.Header) {
	clear(h)
	for name, lines := range w.header {
		h[name] = lines
	}
}

// commit sends the header.
func (w *writer) commit(status int) {
	w.x.c.untarget(w.header)
	addStatus(w.header, w.x.c.forwarded(w.x.fwd, w.x.detail, 0, w.plan == keeping && w.x.grounds(w.draft), false))
	w.sync(w.rw.Header())
	w.rw.WriteHeader(status)
	if len(w.prefix) > 0 {
		if _, err := w.rw.Write(w.prefix); err != nil {
			w.fail()
		}
	}
}

func (w *writer) Write(p []byte) (int, error) {
	if w.hijacked {
		return w.rw.Write(p)
	}
	if w.plan == undecided {
		w.WriteHeader(http.StatusOK)
	}
	if w.plan > keeping {
		return len(p), nil // the body of a response that does not go out
	}
	w.keep(p)
	if w.gone {
		return len(p), nil
	}
	n, err := w.rw.Write(p)
	if err != nil {
		// A client that leaves truncates nothing: either the response is read to its end for those who wait, or it is
		// not stored.
		if w.plan == keeping && !w.failed && w.x.flight.waited() {
			w.gone = true
			return len(p), nil
		}
		w.fail()
	}
	return n, err
}

// keep appends p to what is going to be stored.
func (w *writer) keep(p []byte) {
	if w.plan != keeping || w.failed {
		return
	}
	if int64(len(w.body))+int64(len(p)) > w.x.c.opts.MaxBody {
		w.fail()
		w.x.goAlone()
		return
	}
	w.body = append(w.body, p...)
}

// sniff stores the Content-Type that the server is about to guess.
func (w *writer) sniff() {
	if w.sniffed || w.plan != keeping || len(w.body) == 0 {
		return
	}
	w.sniffed = true
	p, h := w.body, w.draft.header
	_, typed := w.header["Content-Type"]
	if !typed && h.Get("Content-Encoding") == "" {
		h["Content-Type"] = []string{http.DetectContentType(p)}
	}
}

// fail ends the storing. The client notices nothing.
func (w *writer) fail() {
	if w.plan == keeping && !w.failed {
		w.x.flight.land(nil)
	}
	w.failed = true
	w.body = nil
}

// ReadFrom lets the server use what its connection can do, where nothing is stored.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	if w.plan == undecided && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	if rf, ok := w.rw.(io.ReaderFrom); ok && w.plan == passing {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *writer) FlushError() error {
	if w.plan == undecided && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	if w.plan > keeping || w.gone {
		return nil
	}
	w.sniff()
	return http.NewResponseController(w.rw).Flush()
}

// Hijack takes the connection; nothing is stored.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(w.rw).Hijack()
	if err == nil {
		w.hijacked = true
		w.x.flight.land(nil)
	}
	return conn, buf, err
}

// Push is HTTP/2's, where the server has it.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.rw.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// finish is called when the handler has returned.
func (w *writer) finish() {
	x := w.x
	if w.hijacked {
		x.give(nil)
		return
	}
	if w.plan == undecided {
		w.WriteHeader(http.StatusOK)
	}
	switch w.plan {
	case keeping:
		w.sniff()
		w.trailers()
		x.finishKept(w)
	case validated:
		x.finishValidated(w)
	case standIn:
		x.finishStandIn(w)
	case fetchAgain:
		x.fetchAgain(w.rw)
	default:
		w.trailers()
		x.finishPassed(w)
	}
}

// trailers hands over what a handler sets after its body.
func (w *writer) trailers() {
	h := w.rw.Header()
	for _, line := range w.header["Trailer"] {
		for _, name := range fieldNames(line) {
			name = http.CanonicalHeaderKey(name)
			if lines, ok := w.header[name]; ok {
				h[name] = lines
			}
		}
	}
	for name, lines := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			h[name] = lines
			w.fail()
		}
	}
}

func announced(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// whole reports whether the body came as announced.
func (w *writer) whole(have int64) bool { return !w.failed && (w.announced < 0 || w.announced == have) }

// view is what the handler has set, under canonical names: what a middleware around the cache had set before is left out.
func (w *writer) view() http.Header {
	v := make(http.Header, len(w.header))
	for name, lines := range w.header {
		if had, ok := w.before[name]; ok && slices.Equal(had, lines) && !w.governs(name) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		v[name] = append(v[name], lines...)
	}
	return v
}

// governs reports whether a field decides who may be given the response: then it counts whoever has set it.
func (w *writer) governs(name string) bool {
	return name == "Vary" || name == "Cache-Control" || name == "Expires" || slices.Contains(w.x.c.opts.Targets, name)
}

// nowhere is the client of a revalidation in the background.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}
