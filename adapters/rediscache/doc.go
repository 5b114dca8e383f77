// Package rediscache keeps Redis values in memory: near caches over strings and hashes ([New], [NewHash]), loaders for use
// inside any other cache's load ([GetString], [GetHash]), and a [Hook] that serves a go-redis client's own reads. A hook
// asks for no change to the code; the caches keep what they read decoded, and cost a hit less.
//
// What happens to one miss: the value and its remaining life are asked for in one round trip, on the primary whose
// events the tracker hears. The life counts from before the question was sent, so an entry never outlives its key, which
// Redis may report as expired only minutes later. A key that is gone comes back as redis.Nil.
package rediscache
