package invalidate

import (
	"context"
	"errors"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// stopper is a client's hook that stops pipelines without giving any command an error, as a circuit breaker may.
type stopper struct {
	redis.Hook
	err error
}

func (s stopper) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (s stopper) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (s stopper) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return s.err }
}

// An announcement that a hook stopped is kept to be sent again.
// Seen to fail without the comparison with before in announce.
func TestAnnouncementStoppedByAHook(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	tr, err := Connect(t.Context(), rdb, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	open := errors.New("circuit open")
	rdb.AddHook(stopper{err: open})
	failed, err := tr.announce(t.Context(), []Name{Key("a"), Tag("b")})
	if !errors.Is(err, open) || len(failed) != 2 {
		t.Errorf("failed %v, %v", failed, err)
	}
}
