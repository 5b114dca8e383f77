package rediscache

import (
	"encoding"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"reflect"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// readable is a command that is answered from memory: its reply depends on its arguments and on the keys it names, all of
// which the events speak of.
type readable struct {
	name  string // in lower case
	many  bool   // every argument is a key
	every bool   // answers for keys of every type
	lives lives  // what of the key may end before it
}

type lives uint8

const (
	byKey   lives = iota // nothing
	byField              // the fields that the arguments name
	byHash               // any field
)

// readables is the whole whitelist. Not here, on purpose: what carries a moment (TTL, OBJECT), is drawn by lot or by
// cursor, blocks, keeps the books of a stream, reads keys that it does not name (SORT_RO BY) or that lie apart (SINTER,
// LCS), and PFCOUNT, which writes.
var readables = [...]readable{
	mget: {name: "mget", many: true}, exists: {name: "exists", many: true, every: true}, {name: "type", every: true},
	{name: "get"}, {name: "strlen"}, {name: "getrange"}, {name: "substr"},
	{name: "getbit"}, {name: "bitcount"}, {name: "bitpos"}, {name: "bitfield_ro"},
	{name: "hget", lives: byField}, {name: "hmget", lives: byField},
	{name: "hexists", lives: byField}, {name: "hstrlen", lives: byField},
	{name: "hgetall", lives: byHash}, {name: "hkeys", lives: byHash},
	{name: "hvals", lives: byHash}, {name: "hlen", lives: byHash},
	{name: "lrange"}, {name: "lindex"}, {name: "llen"}, {name: "lpos"},
	{name: "smembers"}, {name: "scard"}, {name: "sismember"}, {name: "smismember"},
	{name: "zrange"}, {name: "zrevrange"}, {name: "zrangebyscore"}, {name: "zrevrangebyscore"},
	{name: "zrangebylex"}, {name: "zrevrangebylex"}, {name: "zcard"}, {name: "zcount"}, {name: "zlexcount"},
	{name: "zscore"}, {name: "zmscore"}, {name: "zrank"}, {name: "zrevrank"},
	{name: "geopos"}, {name: "geodist"}, {name: "geohash"}, {name: "geosearch"},
}

// command is an index of readables.
type command uint8

const (
	mget command = iota
	exists
)

// whitelist finds a readable by its name, one place after the other from where its letters point; what it holds is one more
// than the command. A map takes several times as long, and every hit asks.
var whitelist = func() (table [256]command) {
	for i, r := range readables {
		at := place(r.name)
		for table[at] != 0 {
			at++
		}
		table[at] = command(i + 1)
	}
	return table
}()

func place(name string) uint8 {
	n := len(name)
	return uint8(n) + 8*name[0] + 29*name[n/2] + 113*name[n-1]
}

// readableBy is the command of that name, in lower case, if it is in the whitelist.
func readableBy(name string) (c command, ok bool) {
	if name == "" {
		return 0, false
	}
	for at := place(name); whitelist[at] != 0; at++ {
		if c = whitelist[at] - 1; readables[c].name == name {
			return c, true
		}
	}
	return 0, false
}

// question is a command and all its arguments: what memory is asked for. Commands that differ in nothing but the type
// that go-redis reads the reply into are different questions. Equal questions are equal on the wire.
type question struct {
	command command
	shape   shape
	n       uint32 // how many arguments follow the key
	key     string
	rest    string // those arguments: one as it is, several each behind its length
}

// hash is [cache.Options].Hash.
func hash(seed maphash.Seed, q question) uint64 {
	h := maphash.String(seed, q.key) + uint64(q.command)<<8 + uint64(q.shape)
	if q.n > 0 {
		// Rotated, so that a key and an argument that change places are two questions.
		h = bits.RotateLeft64(h, 32) ^ (maphash.String(seed, q.rest) + uint64(q.n))
	}
	return h
}

// many reports whether q stands for a question about each key of its command.
func (q *question) many() bool { return readables[q.command].many }

// ask fills in the question that cmd puts; false when it is not to be answered from memory.
func (h *Hook) ask(cmd redis.Cmder, q *question) (ok bool) {
	args := cmd.Args()
	if len(args) < 2 {
		return false
	}
	name, plain := args[0].(string)
	if plain {
		q.command, ok = readableBy(name)
	}
	if !ok {
		if q.command, ok = readableBy(cmd.Name()); !ok {
			return false
		}
	}
	if q.key, ok = h.ours(args[1]); !ok {
		return false
	}
	if q.shape = shapeOf(cmd); q.shape == none {
		return false
	}
	if !q.many() {
		return q.setRest(args[2:])
	}
	for _, arg := range args[2:] {
		if _, ok := h.ours(arg); !ok {
			return false
		}
	}
	// What is put together key by key has one of these shapes, or go-redis refuses it.
	return q.shape == generic || q.command == mget && q.shape == list || q.command == exists && q.shape == integer
}

// ours is arg as a key that is served from memory.
func (h *Hook) ours(arg any) (key string, ok bool) {
	key, ok = text(arg)
	return key, ok && key != "" && h.covers(key)
}

// each appends to dst the question q about each key of cmd.
func (q *question) each(dst []question, cmd redis.Cmder) []question {
	for _, arg := range cmd.Args()[1:] {
		dst = append(dst, *q)
		dst[len(dst)-1].key, _ = text(arg)
	}
	return dst
}

func (q *question) setRest(args []any) bool {
	switch q.n = uint32(len(args)); q.n {
	case 0:
		return true
	case 1:
		var ok bool
		q.rest, ok = text(args[0])
		return ok
	}
	var room [128]byte
	buf := room[:0]
	for _, arg := range args {
		if n, ok := arg.(int64); ok {
			var digits [20]byte
			buf = appendLength(buf, strconv.AppendInt(digits[:0], n, 10))
			continue
		}
		s, ok := text(arg)
		if !ok {
			return false
		}
		buf = appendLength(buf, s)
	}
	q.rest = string(buf)
	return true
}

func appendLength[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// arguments after the key.
func (q *question) arguments() []any {
	if q.n == 1 {
		return []any{q.rest}
	}
	args := make([]any, 0, q.n)
	for rest := q.rest; uint32(len(args)) < q.n; {
		n, used := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
		args = append(args, rest[used:used+int(n)])
		rest = rest[used+int(n):]
	}
	return args
}

// text is an argument as go-redis sends it; ok is false for what it would not send.
func text(arg any) (s string, ok bool) {
	switch v := arg.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case nil:
		return "", true
	case time.Time:
		return v.Format(time.RFC3339Nano), true
	case *time.Time:
		if v == nil {
			v = new(time.Time)
		}
		return v.Format(time.RFC3339Nano), true
	case encoding.BinaryMarshaler:
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.IsNil() {
			return "", false
		}
		b, err := v.MarshalBinary()
		return string(b), err == nil
	}
	v := reflect.ValueOf(arg)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool:
		if v.Bool() {
			return "1", true
		}
		return "0", true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), true
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 { // net.IP
			return string(v.Bytes()), true
		}
	}
	return "", false
}
