package sqlcache

import (
	"context"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// NoCache returns a ctx whose queries go to the database.
func NoCache(ctx context.Context) context.Context { return sqlengine.NoCache(ctx) }

// MaxStaleness returns a ctx whose queries take from memory only rows that are proven no older than d, where that is
// tighter than Options.MaxStaleness. d <= 0 is [NoCache].
func MaxStaleness(ctx context.Context, d time.Duration) context.Context {
	return sqlengine.MaxStaleness(ctx, d)
}
