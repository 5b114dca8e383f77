package sqlengine

import (
	"context"
	"time"
)

type boundKey struct{}

// NoCache returns a ctx whose queries go to the database.
func NoCache(ctx context.Context) context.Context { return context.WithValue(ctx, boundKey{}, noCache) }

const noCache = time.Duration(-1)

// MaxStaleness returns a ctx whose queries take from memory only rows that are proven no older than d. d <= 0 is
// [NoCache].
func MaxStaleness(ctx context.Context, d time.Duration) context.Context {
	if d <= 0 {
		d = noCache
	}
	return context.WithValue(ctx, boundKey{}, d)
}

// boundIn is what ctx asks for: 0 for nothing special, noCache, or a bound.
func boundIn(ctx context.Context) time.Duration {
	d, _ := ctx.Value(boundKey{}).(time.Duration)
	return d
}
