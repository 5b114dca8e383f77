package rediscache

import (
	"context"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// lasting is what PTTL and HPTTL answer for what lives for ever; other negative answers mean that it is gone.
const lasting = -1

// farAway, in milliseconds, is as good as for ever: 100 years.
const farAway = 100 * 365 * 24 * 60 * 60 * 1000

// pttl asks for milliseconds as they come: go-redis's own PTTL makes nanoseconds of -1 and -2.
func pttl(ctx context.Context, pipe redis.Pipeliner, key string) *redis.Cmd {
	return pipe.Do(ctx, "pttl", key)
}

// expire bounds what is being loaded in ctx by the life that ttl answered to a question sent at sent (R3).
func expire(ctx context.Context, sent time.Time, ttl *redis.Cmd) {
	ms, err := ttl.Int64()
	if err != nil { // refused: nobody knows how long the value lives
		invalidate.NoStore(ctx)
		return
	}
	expireIn(ctx, sent, ms)
}

func expireIn(ctx context.Context, sent time.Time, ms int64) {
	switch {
	case ms == lasting, ms > farAway:
	case ms < 0:
		invalidate.NoStore(ctx)
	default:
		// The server reckons in whole milliseconds and may tell one too many.
		invalidate.ExpireAt(ctx, sent.Add(time.Duration(ms-1)*time.Millisecond))
	}
}
