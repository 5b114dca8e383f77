package rediscache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// Hook serves a client's own reads from memory, with no change to the code that makes them. [NewHook] makes one.
//
// What happens to one command: if it reads one of the keys under HookOptions.Prefixes, and is one of those that depend
// on nothing but the keys they name, it is answered from memory, or by a load that asks for the key's remaining life
// too. Everything else goes to Redis as it did before. So do commands on a connection of their own (Conn, Tx and so
// Watch, with all that is read there), transactions and those of an autopipeliner. The copy of a client that WithTimeout
// makes has no hooks at all: what it writes falls as what others write does.
//
// These are answered from memory: GET, MGET, STRLEN, GETRANGE, SUBSTR, GETBIT, BITCOUNT, BITPOS, BITFIELD_RO, EXISTS,
// TYPE, HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN, LRANGE, LINDEX, LLEN, LPOS, SMEMBERS, SCARD,
// SISMEMBER, SMISMEMBER, ZRANGE, ZREVRANGE, ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZRANGEBYLEX, ZREVRANGEBYLEX, ZCARD,
// ZCOUNT, ZLEXCOUNT, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, GEOPOS, GEODIST, GEOHASH, GEOSEARCH. MGET and EXISTS of several
// keys are answered key by key, so their answer is not of one instant any more.
//
// A pipeline is taken apart: the reads are answered from memory or loaded in one trip, then the rest is sent in another;
// a read of a key that an earlier command of the same pipeline changes stays with the rest, behind it.
//
// A command that may write makes every key fall that it names, or may name, below the prefixes, in this process and
// before it returns, whether it failed or not. FLUSHALL, FLUSHDB, SWAPDB, CLUSTER FLUSHSLOT, TRIMSLOTS and an EXEC whose
// MULTI was not in the same pipeline make all of them fall. What a script or a function changes without its name among the arguments falls
// with the event, as what others change does.
//
// Replies are those that go-redis itself would give, errors included, and belong to who asked: slices and maps are
// copied. Errors are not kept, nor is what EXISTS and TYPE say of keys whose type is a module's: vector sets come and go
// without an event, so that with NegativeTTL one that was absent may be taken for absent for that long.
type Hook struct {
	tracker  *invalidate.Tracker
	rdb      redis.UniversalClient
	cache    *cache.Cache[question, any]
	prefixes []string
	negative time.Duration

	send       atomic.Pointer[redis.ProcessPipelineHook] // past this hook, towards the server
	fieldsLive atomic.Bool                               // the server was last seen to know HPTTL

	mu     sync.Mutex // held while wg grows, and while closed is set
	closed atomic.Bool
	probed atomic.Int64 // when the last probe began, in nanoseconds since made
	made   time.Time
	wg     sync.WaitGroup // probes
}

// HookOptions for [NewHook]. Prefixes and one of MaxEntries and MaxBytes are required; the rest means what it means in
// [cache.Options].
type HookOptions struct {
	Prefixes []string // reads of keys that begin with one of these are served from memory; "" is every key

	MaxEntries int   // capacity in commands with their arguments
	MaxBytes   int64 // capacity in bytes, estimated

	TTL          time.Duration // longest life of a reply; default 10m
	NegativeTTL  time.Duration // longest life of a reply about a key that is not there; 0: not kept
	MaxStaleness time.Duration // default 1s
	Beyond       cache.Beyond
	LoadTimeout  time.Duration // default 30s

	Logger *slog.Logger // nil: silent
}

// NewHook makes a hook and adds it to rdb; go-redis knows no way to remove one, after [Hook.Close] it lets everything
// pass. Hooks that rdb has already see every command as before, those that are added later see what goes to Redis. To
// find out which connections are rdb's own it sends a PING through the hooks, which it answers itself: now, and when rdb's
// hooks change, at most once a second; until then everything passes.
//
// rdb must be a client of the server that tracker hears, in the same database. A Ring, and a client that
// may read replicas or caches by itself, is refused ([invalidate.ErrWrongClient]). With Sentinels or a Cluster, loads go
// past rdb and its hooks to the servers that tracker hears ([invalidate.Tracker.Reader]), so there a client of another
// user or protocol than the tracker's is refused too.
// It fails too where a prefix lies outside what tracker listens to ([invalidate.ErrNotCovered]).
func NewHook(tracker *invalidate.Tracker, rdb redis.UniversalClient, opts HookOptions) (*Hook, error) {
	if tracker == nil {
		return nil, errors.New("rediscache: tracker is nil: make one with invalidate.Connect")
	}
	if len(opts.Prefixes) == 0 {
		return nil, errors.New(`rediscache: HookOptions.Prefixes is empty: name what is to be cached, or "" for every key`)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	if err := tracker.CheckClient(ctx, rdb); err != nil {
		return nil, fmt.Errorf("rediscache: %w", err)
	}
	h := &Hook{
		tracker:  tracker,
		rdb:      rdb,
		prefixes: append([]string(nil), opts.Prefixes...),
		negative: opts.NegativeTTL,
		made:     time.Now(),
	}
	lives := func(ctx context.Context, pipe redis.Pipeliner, key string) answer[any] {
		pttl(ctx, pipe, key)
		pipe.Do(ctx, "hpttl", key, "fields", 1, "")
		return nil
	}
	for _, p := range h.prefixes {
		if err := mayRead(ctx, rdb, p, lives); err != nil {
			return nil, err
		}
		if err := tracker.Cover(ctx, p); err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("rediscache: HookOptions.Prefixes: %w", err)
		}
	}
	o := cache.Options[question, any]{
		Name: "hook", NoKey: true, Hash: hash, LoadMany: h.load, Absent: redis.Nil, NotFound: absent,
		MaxEntries: opts.MaxEntries, MaxBytes: opts.MaxBytes,
		TTL: opts.TTL, NegativeTTL: opts.NegativeTTL, MaxStaleness: opts.MaxStaleness, Beyond: opts.Beyond,
		LoadTimeout: opts.LoadTimeout, Logger: opts.Logger,
	}
	if opts.MaxBytes != 0 {
		o.Cost = func(q question, v any) int64 {
			return cache.EntryOverhead + int64(len(q.key)+len(q.rest)) + size(v)
		}
	}
	c, err := cache.New(tracker, o)
	if err != nil {
		return nil, fmt.Errorf("rediscache: HookOptions: %w", err)
	}
	h.cache = c
	h.rdb.AddHook(chain{h})
	h.probe(ctx)
	return h, nil
}

// absent reports that a reply is nil. No other error of a Redis client is an absence.
func absent(err error) bool { return errors.Is(err, redis.Nil) }

// Stats are those of the hook's memory. A key of an MGET or an EXISTS counts by itself.
func (h *Hook) Stats() cache.Stats { return h.cache.Stats() }

// Close lets every command pass from now on, and frees the memory. Safe twice and from any goroutine. The tracker and
// the client stay the caller's.
func (h *Hook) Close() error {
	h.mu.Lock()
	h.closed.Store(true) // under mu: no probe starts after this
	h.mu.Unlock()
	h.wg.Wait()
	return h.cache.Close()
}

// covers reports whether reads of key are served from memory.
func (h *Hook) covers(key string) bool {
	for _, p := range h.prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// process answers one command from memory or passes it on.
func (h *Hook) process(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
	var q question
	if !h.ask(cmd, &q) {
		return h.pass(ctx, cmd, next)
	}
	if err := ctx.Err(); err != nil { // as a client that has to wait for a connection
		return err
	}
	if q.many() {
		return h.processMany(ctx, cmd, &q, next)
	}
	v, err := h.cache.Get(ctx, q)
	switch {
	case err == nil:
		forms[q.shape].copy(cmd, v)
	case errors.Is(err, cache.ErrClosed):
		return next(ctx, cmd)
	}
	return err
}

// few questions and their answers need no memory but the stack's.
const few = 16

// processMany is process for a command that is answered key by key.
func (h *Hook) processMany(ctx context.Context, cmd redis.Cmder, q *question, next redis.ProcessHook) error {
	var room [few]question
	questions := q.each(room[:0], cmd)
	if h.answer(ctx, []inquiry{{cmd, len(questions)}}, questions) {
		return cmd.Err()
	}
	return next(ctx, cmd)
}

// pipeline answers of cmds what it can from memory or by one load, and sends the rest.
func (h *Hook) pipeline(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
	if ctx.Err() != nil {
		return h.passMany(ctx, cmds, next)
	}
	asked := make([]inquiry, 0, len(cmds))
	questions := make([]question, 0, len(cmds))
	var rest []redis.Cmder
	var f falling
	for _, cmd := range cmds {
		before := len(questions)
		var q question
		switch {
		case !h.ask(cmd, &q):
		case q.many():
			questions = q.each(questions, cmd)
		default:
			questions = append(questions, q)
		}
		own := questions[before:]
		if len(own) > 0 && !f.bars(own) {
			asked = append(asked, inquiry{cmd, len(own)})
			continue
		}
		questions = questions[:before]
		rest = append(rest, cmd)
		h.falls(&f, cmd)
	}
	if len(asked) == 0 || !h.answer(ctx, asked, questions) {
		return h.passMany(ctx, cmds, next)
	}
	var err error
	if len(rest) > 0 {
		err = h.passMany(ctx, rest, next)
	}
	for _, cmd := range cmds { // as go-redis does: the first in the pipeline's order
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	return err
}

// inquiry is a command to be answered, and how many questions it puts.
type inquiry struct {
	cmd redis.Cmder
	own int
}

// answer fills in the replies to asked, whose questions follow one another in questions; false when the cache is closed.
func (h *Hook) answer(ctx context.Context, asked []inquiry, questions []question) bool {
	var room [few]cache.Found[any]
	got := room[:]
	if len(questions) > few {
		got = make([]cache.Found[any], len(questions))
	}
	got = got[:len(questions)]
	h.cache.LookupMany(ctx, questions, got)
	var missing []question
	for i := range got {
		if !got[i].OK {
			missing = append(missing, questions[i])
		}
	}
	if missing != nil && !h.fetch(ctx, missing, questions, got) {
		return false
	}
	for _, a := range asked {
		if err := reply(a.cmd, &questions[0], got[:a.own]); err != nil {
			a.cmd.SetErr(err)
		}
		questions, got = questions[a.own:], got[a.own:]
	}
	return true
}

// fetch loads missing and fills in what got lacks.
func (h *Hook) fetch(ctx context.Context, missing, questions []question, got []cache.Found[any]) bool {
	found, err := h.cache.GetMany(ctx, missing)
	if errors.Is(err, cache.ErrClosed) {
		return false
	}
	var each cache.KeyErrors[question]
	if errors.As(err, &each) {
		err = nil
	}
	for i, q := range questions {
		r := &got[i]
		if r.OK {
			continue
		}
		v, ok := found[q]
		switch {
		case err != nil:
			r.Err = err
		case each[q] != nil:
			r.Err = each[q]
		case !ok:
			r.Err = redis.Nil
		default:
			r.Value = v
		}
	}
	return true
}

// reply puts cmd's answer together, from what came of the questions that begin with q.
func reply(cmd redis.Cmder, q *question, got []cache.Found[any]) error {
	for _, r := range got {
		if r.Err != nil {
			return r.Err
		}
	}
	switch q.command {
	case mget:
		all := make([]any, len(got))
		for i, r := range got {
			all[i] = r.Value
		}
		forms[q.shape].set(cmd, all)
	case exists:
		var sum int64
		for _, r := range got {
			n, _ := r.Value.(int64)
			sum += n
		}
		forms[q.shape].set(cmd, sum)
	default:
		forms[q.shape].copy(cmd, got[0].Value)
	}
	return nil
}
