package rediscache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// gone is what PTTL answers for a key that is not there.
const gone = -2

// load asks the server all of qs in one pipeline, and in a second how long the fields of hashes live, where the server
// has such a thing. Nil replies are absent from what it returns.
func (h *Hook) load(ctx context.Context, qs []question) (map[question]any, error) {
	for _, q := range qs {
		invalidate.DependOn(cache.ForKey(ctx, q), invalidate.Key(q.key))
	}
	next := *h.send.Load() // set before any question can be put
	var (
		asked []*inquest
		sent  time.Time
		err   error
	)
	from := h.tracker.Reader(ctx, h.rdb)
	if from != h.rdb {
		asked, sent, err = h.inquireAll(ctx, pipelined(from), qs)
	}
	if from == h.rdb || slices.ContainsFunc(asked, func(a *inquest) bool { return astray(ctx, a.cmds()) }) {
		if from != h.rdb {
			invalidate.NoStore(ctx)
		}
		asked, sent, err = h.inquireAll(ctx, next, qs)
	}
	if err != nil {
		return nil, err
	}
	found, failed := make(map[question]any, len(qs)), make(cache.KeyErrors[question])
	for _, a := range asked {
		v, err := a.answer(cache.ForKey(ctx, a.q), h, sent)
		switch {
		case absent(err):
		case err != nil:
			failed[a.q] = err
		default:
			found[a.q] = v
		}
	}
	return found, failed
}

// pipelined sends commands through rdb.
func pipelined(rdb redis.UniversalClient) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		pipe := rdb.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, cmd) // queues it
		}
		_, err := pipe.Exec(ctx)
		return err
	}
}

func (h *Hook) inquireAll(ctx context.Context, next redis.ProcessPipelineHook, qs []question) ([]*inquest, time.Time, error) {
	var cmds []redis.Cmder
	asked := make([]*inquest, len(qs))
	for i, q := range qs {
		asked[i] = h.inquire(ctx, q)
		cmds = append(cmds, asked[i].cmds()...)
	}
	sent := time.Now()
	err := run(ctx, next, cmds)
	if err == nil {
		err = h.askFields(ctx, next, asked)
	}
	return asked, sent, err
}

// run sends cmds. It returns an error only where no command has one of its own: a hook stopped them.
func run(ctx context.Context, next redis.ProcessPipelineHook, cmds []redis.Cmder) error {
	return unblamed(cmds, next(ctx, cmds))
}

// told are the types of keys that events speak of, and that of none. What changes in a module's own is the module's to tell:
// Redis's vector sets come and go without a word.
var told = names("string", "list", "set", "zset", "hash", "stream", "none")

// inquest is a question on its way.
type inquest struct {
	q     question
	ttl   *redis.Cmd
	kind  *redis.StatusCmd // TYPE, for commands that answer for keys of every type
	reply redis.Cmder
	names *redis.StringSliceCmd // byHash: its fields, where they were last seen to have lives
	lives *redis.Cmd            // byField: HPTTL of those asked for; byHash: of all, or a test whether the server knows HPTTL
	sent  time.Time             // before lives was sent, where that was later than the rest
}

// inquire asks for lives before the reply, other than the loaders of [New]: what was not there then may be kept as absent,
// for if the reply speaks of it after all, it was made in between, and an event says so (R3).
func (h *Hook) inquire(ctx context.Context, q question) *inquest {
	a := &inquest{q: q}
	rest := q.arguments()
	a.ttl = redis.NewCmd(ctx, "pttl", q.key)
	a.reply = forms[q.shape].command(ctx, append([]any{readables[q.command].name, q.key}, rest...)...)
	if readables[q.command].every {
		a.kind = redis.NewStatusCmd(ctx, "type", q.key)
	}
	switch l := readables[q.command].lives; {
	case l == byField:
		a.lives = hpttl(ctx, q.key, rest)
	case l == byHash && h.fieldsLive.Load():
		a.names = redis.NewStringSliceCmd(ctx, "hkeys", q.key)
	case l == byHash:
		a.lives = hpttl(ctx, q.key, []any{""})
	}
	return a
}

func hpttl(ctx context.Context, key string, fields []any) *redis.Cmd {
	return redis.NewCmd(ctx, append([]any{"hpttl", key, "fields", len(fields)}, fields...)...)
}

func (a *inquest) cmds() []redis.Cmder {
	cmds := []redis.Cmder{a.ttl}
	if a.kind != nil {
		cmds = append(cmds, a.kind)
	}
	if a.names != nil {
		cmds = append(cmds, a.names)
	}
	if a.lives != nil {
		cmds = append(cmds, a.lives)
	}
	return append(cmds, a.reply)
}

// askFields asks for the lives of all fields of the hashes among asked.
func (h *Hook) askFields(ctx context.Context, next redis.ProcessPipelineHook, asked []*inquest) error {
	var cmds []redis.Cmder
	sent := time.Now()
	for _, a := range asked {
		if a.names == nil || len(a.names.Val()) == 0 {
			continue
		}
		fields := make([]any, len(a.names.Val()))
		for i, f := range a.names.Val() {
			fields[i] = f
		}
		a.lives, a.sent = hpttl(ctx, a.q.key, fields), sent
		cmds = append(cmds, a.lives)
	}
	if len(cmds) == 0 {
		return nil
	}
	return run(ctx, next, cmds)
}

// answer is the reply; what is being loaded in ctx lives no longer than what it speaks of.
func (a *inquest) answer(ctx context.Context, h *Hook, sent time.Time) (any, error) {
	v, err := forms[a.q.shape].result(a.reply)
	if err != nil && !absent(err) {
		return nil, err
	}
	if a.kind != nil && !told[a.kind.Val()] {
		invalidate.NoStore(ctx)
	}
	if ms, terr := a.ttl.Int64(); terr == nil && ms == gone {
		if h.negative == 0 {
			invalidate.NoStore(ctx)
		} else {
			invalidate.ExpireAt(ctx, sent.Add(h.negative))
		}
	} else {
		expire(ctx, sent, a.ttl)
		a.expireFields(ctx, h, sent)
	}
	if err == nil && a.q.command == mget {
		v, err = first(v)
	}
	return v, err
}

// first is the one element of an MGET of one key.
func first(v any) (any, error) {
	if all, ok := v.([]any); ok && len(all) == 1 {
		return all[0], nil
	}
	return nil, errors.New("rediscache: MGET of one key did not answer with one element")
}

// expireFields is [expireFields] for what a hook asks.
func (a *inquest) expireFields(ctx context.Context, h *Hook, sent time.Time) {
	l := readables[a.q.command].lives
	switch {
	case l == byKey:
		return
	case a.lives == nil && a.names.Err() != nil: // nobody knows the fields
		invalidate.NoStore(ctx)
		return
	case a.lives == nil: // no fields: the hash is gone again
		return
	case unknownCommand(a.lives.Err()):
		h.fieldsLive.Store(false)
		return
	}
	if l == byHash && a.names == nil { // a test, and the server knows: the next load asks for all
		h.fieldsLive.Store(true)
		invalidate.NoStore(ctx)
		return
	}
	if !a.sent.IsZero() {
		sent = a.sent
	}
	ms, err := a.lives.Int64Slice()
	if err != nil {
		invalidate.NoStore(ctx)
		return
	}
	for _, m := range ms {
		if l == byField && m == gone { // it was not there before it was read; of those of byHash each was
			continue
		}
		expireIn(ctx, sent, m)
	}
}
