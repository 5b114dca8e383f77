// Package httpcache is a shared HTTP cache after RFC 9111 as net/http middleware, whose responses also fall with the
// data under them.
//
// # What happens to one request
//
// A GET or HEAD is looked up by scheme, host, path and raw query. A stored response that the request selects (Vary) is
// served if it is fresh, and if its [invalidate.Validity] holds now: nothing that its handler read has fallen since
// before the handler began, and there is proof of that no older than MaxStaleness. Range and conditional requests are
// answered from it too.
//
// Otherwise the handler runs, with a context on which everything is recorded that it reads through a near cache, a
// loader of an adapter, or names with [invalidate.DependOn]. If a stale response with a validator is at hand the
// handler is asked whether it still holds, and a 304 makes it fresh again. What the handler writes goes to the client
// as it is written, and beside that into memory if its header allows it. It is stored when the handler has returned,
// nothing went wrong, and nothing that it rests on has fallen meanwhile.
//
// Requests for what is being loaded wait until the header tells whether the response may be shared, and then for the
// response. Where it may not, they are let go at once, and that is remembered for a minute: nobody waits there again.
//
// A response to any other method but the safe ones, if it is no error (4xx, 5xx), makes the stored responses of its URL
// fall, in every process, and those of its Location and Content-Location of the same origin; so does such a request that
// ends without a response. They fall when its header is written: a handler that
// answers first and changes the data afterwards has to Touch what it changed, as any writer.
//
// # What a response falls with
//
// With whatever its handler read on the request's context; with the names in its Cache-Tag (separated by commas) and
// Surrogate-Key (by spaces) fields: Tracker.Touch(ctx, invalidate.Tag("catalog")); with its Cache-Groups (RFC 9875), by
// a Cache-Group-Invalidation field or by Touch of [GroupTag]; and with its URL, by [Cache.Purge].
//
// What fell with its data, or is not proven to have not, is served neither by stale-while-revalidate nor by
// stale-if-error nor to max-stale: these are for what is merely old. Options.StaleFallen chooses otherwise.
//
// # Cost
//
// A hit of any size costs about a microsecond and allocates nothing: a look-up, the check, one header map filled, one
// Write of the body as it lies in memory. A miss costs some 25 µs beside its handler. Who waits for another's response
// waits for all of it, at the speed of the client that came first, and MaxWait at the most.
//
// An invalidating request announces what fell before its response goes out: one round trip to Redis.
//
// # Safety
//
// Not stored: what sets a cookie (unless the response lists the field in no-cache="Set-Cookie"); what answers a request
// with Authorization or a client certificate, unless public, s-maxage or must-revalidate says so; a GET with a body;
// what has trailers; event streams. A response that states no freshness itself, and lives by Recorded or by heuristics,
// is for those whom nobody knows: it is neither stored from nor served to a request with a cookie, Authorization or a
// client certificate, unless it is public, or Vary names Cookie and a cookie is all there was.
//
// The key has no header field in it but Host. If a handler answers by another one (X-Forwarded-Host, X-Forwarded-Proto,
// Accept-Language), its response has to say so in Vary, or Options.Key has to add it: otherwise what one client sends
// decides what others see.
package httpcache
