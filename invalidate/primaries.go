package invalidate

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// OnPrimaries calls do with a client for books that an adapter keeps in this Redis beside the data, and returns nil if do did
// and if the servers that it speaks to were still the primaries when it had; else do may have written to one that was
// deposed. A failover that comes later may lose what was written all the same. With Sentinels or a Cluster it costs a round
// trip to a majority of those who decide, and its errors may wrap [notify.ErrTopology]; with one server it is a call of do
// with the tracker's client. Call nothing of the tracker in do.
func (t *Tracker) OnPrimaries(ctx context.Context, do func(rdb redis.UniversalClient) error) error {
	if t.closed.Load() {
		return ErrClosed
	}
	return t.listener.OnPrimaries(ctx, do)
}
