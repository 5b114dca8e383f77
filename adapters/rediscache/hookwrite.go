package rediscache

import (
	"context"
	"strings"

	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// looks are the commands that change nothing and are not answered from memory either. A command that is neither here nor
// in readables is taken for a write of all that it names.
var looks = names(
	"ttl", "pttl", "expiretime", "pexpiretime", "httl", "hpttl", "hexpiretime", "hpexpiretime", // a moment's
	"object", "dump", "memory", "randomkey", "keys", "dbsize", "touch",
	"scan", "hscan", "sscan", "zscan", "srandmember", "hrandfield", "zrandmember",
	"sinter", "sunion", "sdiff", "sintercard", "zinter", "zunion", "zdiff", "zintercard", "lcs", "sort_ro", "digest",
	"georadius_ro", "georadiusbymember_ro",
	"xlen", "xrange", "xrevrange", "xread", "xinfo", "xpending",
	"eval_ro", "evalsha_ro", "fcall_ro",
	"ping", "echo", "time", "info", "config", "command", "client", "hello", "auth", "select", "wait", "cluster", "acl",
	"watch", "unwatch", "multi", "discard",
	"publish", "spublish", "pubsub", "subscribe", "psubscribe", "ssubscribe",
)

// turns are the commands after which the rest of a pipeline means something else: another database, a transaction,
// another user.
var turns = names("multi", "watch", "select", "auth", "hello", "reset", "client", "asking", "readonly")

// clears are the commands after which nothing under a prefix can be trusted.
var clears = names("flushall", "flushdb", "swapdb", "trimslots")

func names(all ...string) map[string]bool {
	m := make(map[string]bool, len(all))
	for _, n := range all {
		m[n] = true
	}
	return m
}

// clearsSlot reports whether a subcommand of CLUSTER removes keys: that of Valkey 9 does.
func clearsSlot(subcommand any) bool {
	s, _ := text(subcommand)
	return strings.EqualFold(s, "flushslot")
}

// falling is what commands make fall.
type falling struct {
	keys   []string
	all    bool
	multi  bool // a transaction began in this very pipeline
	turned bool // what follows in this pipeline is the server's to answer
}

// falls adds to f what cmd may change: every argument that reads like one of our keys. Too much, never too little.
func (h *Hook) falls(f *falling, cmd redis.Cmder) {
	args := cmd.Args()
	if len(args) == 0 {
		return
	}
	name := cmd.Name()
	f.multi = f.multi || name == "multi"
	f.turned = f.turned || turns[name]
	_, reading := readableBy(name)
	switch {
	case name == "exec":
		f.all = f.all || !f.multi // what was queued before went by unseen, or too early
	case clears[name], name == "cluster" && len(args) > 1 && clearsSlot(args[1]):
		f.all = true
	case reading, looks[name]:
	default:
		for _, arg := range args[1:] {
			if s, ok := text(arg); ok && h.covers(s) {
				f.keys = append(f.keys, s)
			}
		}
	}
}

// bars reports whether questions have to be asked after what f is made of.
func (f *falling) bars(questions []question) bool {
	if f.all || f.turned {
		return true
	}
	for _, q := range questions {
		for _, k := range f.keys {
			if k == q.key {
				return true
			}
		}
	}
	return false
}

// forget makes f fall in this process.
func (h *Hook) forget(f *falling) {
	var fallen []invalidate.Name
	if f.all {
		for _, p := range h.prefixes {
			fallen = append(fallen, invalidate.Prefix(p))
		}
	} else {
		for _, k := range f.keys {
			if k != "" {
				fallen = append(fallen, invalidate.Key(k))
			}
		}
	}
	if len(fallen) > 0 {
		h.tracker.Forget(fallen...)
	}
}

// pass hands cmd on. R12: what it may have changed falls before it returns, error or not.
func (h *Hook) pass(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
	var f falling
	if h.falls(&f, cmd); f.all || f.keys != nil {
		defer h.forget(&f)
	}
	return next(ctx, cmd)
}

// passMany is pass for a pipeline or a transaction.
func (h *Hook) passMany(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
	var f falling
	for _, cmd := range cmds {
		h.falls(&f, cmd)
	}
	if f.all || f.keys != nil {
		defer h.forget(&f)
	}
	return next(ctx, cmds)
}
