package httpcache

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/invalidate"
)

const (
	defaultMaxBytes     = 64 << 20
	defaultMaxBody      = 1 << 20
	defaultMaxHeader    = 32 << 10
	defaultMaxVariants  = 16
	defaultMaxStaleness = time.Second
	defaultMaxWait      = 5 * time.Second
	defaultLoadTimeout  = 30 * time.Second
	defaultName         = "freshet"
)

// The targeted fields (RFC 9213) that are obeyed by default. The second may be meant for other caches on the way too and
// is passed on; all others are this cache's own and are taken off the response.
const (
	OwnCacheControl = "Freshet-Cache-Control"
	CDNCacheControl = "Cdn-Cache-Control"
)

// SurrogateControl is what came before targeted fields. It is obeyed where Options.Targets names it, in its own syntax.
const SurrogateControl = "Surrogate-Control"

// Options for [New]. The zero value is a shared cache of 64 MiB that keeps to the standard.
type Options struct {
	MaxBytes    int64 // of all stored responses, headers included; default 64 MiB
	MaxBody     int64 // of one body; a longer one is passed on and not stored. Default 1 MiB, or MaxBytes/8 if that is less
	MaxHeader   int   // of one response's header fields, in bytes; default 32 KiB
	MaxVariants int   // per URL; the oldest goes. Default 16

	// MaxStaleness is how long after the last proof that nothing fell a response is served from memory. Default 1s, or
	// four heartbeats of the tracker if that is more. At least two heartbeats.
	MaxStaleness time.Duration
	// ServeUnproven also serves what is fresh by its header alone while there is no such proof: while Redis is away,
	// responses then live by the standard, and may have fallen without this process knowing.
	ServeUnproven bool
	// StaleFallen lets stale-while-revalidate, stale-if-error and max-stale also serve what has fallen with its data.
	StaleFallen bool

	// StaleIfUnreachable is for how long past its freshness a response that says nothing of stale-if-error stands in where
	// the handler answers 502 or 504, as a proxy does that cannot reach its origin (RFC 9111 section 4.2.4). Not where it
	// says no-cache, must-revalidate, proxy-revalidate or s-maxage. Default 0: only where response or request ask for it.
	StaleIfUnreachable time.Duration

	// Recorded is the freshness of a response that states none itself but depends on something that was recorded while
	// its handler ran: what it read with the request's context. What it reads with another one is not seen. 0: such a response is not stored, unless heuristics give it a freshness. Requests that say who they
	// come from, by a cookie among others, are left out: see Safety in the package's comment.
	Recorded time.Duration
	// NoHeuristic stores nothing on the strength of a Last-Modified alone. By default a response that states no freshness
	// is fresh for a tenth of the time since then, an hour at the most.
	NoHeuristic bool

	// Targets are the RFC 9213 fields that are obeyed in place of Cache-Control and Expires; the first one that is there
	// and valid counts. Default [OwnCacheControl], [CDNCacheControl].
	Targets []string
	// Key adds to the key: a tenant, an experiment. "" adds nothing. It runs on every request.
	Key func(*http.Request) string
	// Private makes a cache for one user, as [Cache.Transport] may want: private responses are stored and s-maxage means
	// nothing. Each hit gives the stored Set-Cookie again, as RFC 9111 section 3.1 has all fields stored: above it a cookie
	// jar would be set back to an older cookie. Never set it for a server's cache.
	Private bool

	// MaxWait is how long a request waits for the response to another, which comes as fast as the other's client reads;
	// then it asks the handler itself. Default 5s.
	MaxWait     time.Duration
	LoadTimeout time.Duration // of a revalidation in the background; default 30s

	Name   string        // in Cache-Status; a token (RFC 9651); default "freshet"
	Store  store.Factory // default [store.Open]: ristretto behind a recency window
	Logger *slog.Logger  // nil: silent
}

// Validate names the first field that cannot be used and how to mend it. New calls it.
func (o *Options) Validate() error {
	bad := func(format string, args ...any) error { return fmt.Errorf("httpcache: Options."+format, args...) }
	switch {
	case o.MaxBytes < 0:
		return bad("MaxBytes is %d: give a positive number, or 0 for %d", o.MaxBytes, int64(defaultMaxBytes))
	case o.MaxBody < 0:
		return bad("MaxBody is %d: give a positive number, or 0 for the default", o.MaxBody)
	case o.MaxBody > 0 && o.MaxBody > o.maxBytes():
		return bad("MaxBody is %d, more than MaxBytes (%d): such a response could never be kept", o.MaxBody, o.maxBytes())
	case o.MaxHeader < 0:
		return bad("MaxHeader is %d: give a positive number, or 0 for %d", o.MaxHeader, defaultMaxHeader)
	case o.MaxVariants < 0:
		return bad("MaxVariants is %d: give a positive number, or 0 for %d", o.MaxVariants, defaultMaxVariants)
	case o.MaxStaleness < 0:
		return bad("MaxStaleness is %v: give a positive duration, or 0 for %v", o.MaxStaleness, defaultMaxStaleness)
	case o.StaleIfUnreachable < 0:
		return bad("StaleIfUnreachable is %v: give a positive duration, or 0 for none", o.StaleIfUnreachable)
	case o.Recorded < 0:
		return bad("Recorded is %v: give a positive duration, or 0 for none", o.Recorded)
	case o.MaxWait < 0:
		return bad("MaxWait is %v: give a positive duration, or 0 for %v", o.MaxWait, defaultMaxWait)
	case o.LoadTimeout < 0:
		return bad("LoadTimeout is %v: give a positive duration, or 0 for %v", o.LoadTimeout, defaultLoadTimeout)
	}
	if o.Name != "" {
		if _, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(o.Name))); err != nil {
			return bad("Name is %q: give a token, such as %q", o.Name, defaultName)
		}
	}
	for _, t := range o.Targets {
		if t == "" || strings.ContainsAny(t, " \t:,;") {
			return bad("Targets has %q: give names of header fields", t)
		}
		if strings.EqualFold(t, "Cache-Control") {
			return bad("Targets has Cache-Control, which is asked where no target is there: leave it out")
		}
	}
	return nil
}

func (o *Options) maxBytes() int64 {
	if o.MaxBytes == 0 {
		return defaultMaxBytes
	}
	return o.MaxBytes
}

// withDefaults fills in what was left at zero.
func (o Options) withDefaults(heartbeat time.Duration) Options {
	o.MaxBytes = o.maxBytes()
	if o.MaxBody == 0 {
		o.MaxBody = min(defaultMaxBody, o.MaxBytes/8)
	}
	or(&o.MaxHeader, defaultMaxHeader)
	or(&o.MaxVariants, defaultMaxVariants)
	or(&o.MaxStaleness, max(defaultMaxStaleness, 4*heartbeat))
	or(&o.MaxWait, defaultMaxWait)
	or(&o.LoadTimeout, defaultLoadTimeout)
	or(&o.Name, defaultName)
	if o.Targets == nil {
		o.Targets = []string{OwnCacheControl, CDNCacheControl}
	}
	targets := make([]string, len(o.Targets))
	for i, t := range o.Targets {
		targets[i] = http.CanonicalHeaderKey(t)
	}
	o.Targets = targets
	if o.Store == nil {
		o.Store = store.Open
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// ErrClosed is returned by a [Cache.Transport] whose cache is closed. A closed cache's handlers pass everything on.
var ErrClosed = errors.New("httpcache: closed")

var errNoTracker = errors.New("httpcache: tracker is nil: make one with invalidate.Connect")

func checkTracker(t *invalidate.Tracker, o *Options) error {
	if least := 2 * t.Heartbeat(); o.MaxStaleness < least {
		return fmt.Errorf("httpcache: Options.MaxStaleness is %v, below two heartbeats of the tracker (%v): "+
			"raise it, or lower notify.Options.Heartbeat", o.MaxStaleness, least)
	}
	return nil
}
