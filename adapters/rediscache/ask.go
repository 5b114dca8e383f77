package rediscache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// ask sends what fill puts into a pipeline, for what is being loaded in ctx, and returns the time before it did. It returns
// an error only where no command has one of its own: a hook of the client's stopped them. fill may be called twice: where
// the servers that tracker listens to do not answer, rdb is asked, and what comes is not kept. tracker may be nil.
func ask(ctx context.Context, tracker *invalidate.Tracker, rdb redis.UniversalClient, fill func(redis.Pipeliner)) (time.Time, error) {
	from := rdb
	if tracker != nil {
		from = tracker.Reader(ctx, rdb)
	}
	sent, cmds, err := askOne(ctx, from, fill)
	if from != rdb && astray(ctx, cmds) {
		invalidate.NoStore(ctx)
		sent, cmds, err = askOne(ctx, rdb, fill)
	}
	return sent, unblamed(cmds, err)
}

func askOne(ctx context.Context, rdb redis.UniversalClient, fill func(redis.Pipeliner)) (time.Time, []redis.Cmder, error) {
	pipe := rdb.Pipeline()
	fill(pipe)
	sent := time.Now()
	cmds, err := pipe.Exec(ctx)
	return sent, cmds, err
}

// unblamed is err where no command has one of its own.
func unblamed(cmds []redis.Cmder, err error) error {
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return nil
		}
	}
	return err
}

// astray reports whether a command met nobody, or somebody who said that he is not the one to ask.
func astray(ctx context.Context, cmds []redis.Cmder) bool {
	return ctx.Err() == nil && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool {
		err := cmd.Err()
		var answer redis.Error
		switch {
		case err == nil || errors.Is(err, redis.Nil):
			return false
		case !errors.As(err, &answer):
			return true
		}
		return slices.ContainsFunc(notMine, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
	})
}

// notMine begins the answers of a server that is not, or not now, the one to ask, or that lets no new connection in: rdb may
// have one from before it was full or had its password changed.
var notMine = []string{"MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ", "READONLY ", "LOADING ", "MASTERDOWN ",
	"NOAUTH ", "WRONGPASS ", "invalid password", "max number of clients"}
