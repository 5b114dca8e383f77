package trace

import (
	"bytes"
	"strconv"
	"strings"
)

// monitor appends the accesses of one line of MONITOR, or says what is wrong.
func (d *decoder) monitor(line []byte) (why string) {
	if string(line) == "OK" {
		return ""
	}
	_, args, ok := ParseMonitor(string(line))
	if !ok {
		return "not a line of MONITOR"
	}
	write, keys := Accesses(args)
	for _, k := range keys {
		d.text([]byte(k), write)
	}
	return ""
}

// ParseMonitor gives the database and the command that a line of MONITOR shows, as
//
//	1339518083.107412 [0 127.0.0.1:60866] "get" "user:1"
func ParseMonitor(line string) (db string, args []string, ok bool) {
	stamp, rest, ok := strings.Cut(line, " ")
	if _, err := strconv.ParseFloat(stamp, 64); !ok || err != nil || !strings.HasPrefix(rest, "[") {
		return "", nil, false
	}
	where := rest[1:]
	at := strings.Index(rest, `] "`)
	if at < 0 {
		return "", nil, false
	}
	for rest = rest[at+2:]; rest != ""; rest = strings.TrimPrefix(rest, " ") {
		var arg string
		if arg, rest, ok = unquote(rest); !ok {
			return "", nil, false
		}
		args = append(args, arg)
	}
	db, _, _ = strings.Cut(where, " ")
	return db, args, true
}

// unquote reads one argument as Redis quotes it, and gives what follows.
func unquote(s string) (arg, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	var b bytes.Buffer
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", s, false
			}
			if s[i] == 'x' && i+2 < len(s) {
				n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
				if err != nil {
					return "", s, false
				}
				b.WriteByte(byte(n))
				i += 2
				continue
			}
			if at := strings.IndexByte("nrtab", s[i]); at >= 0 {
				b.WriteByte("\n\r\t\a\b"[at])
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// first and every say which of a command's arguments are keys.
var (
	readsFirst = words(`get getrange substr strlen getbit bitcount bitpos bitfield_ro exists ttl pttl expiretime
		pexpiretime type dump hget hmget hgetall hlen hkeys hvals hexists hstrlen hscan hrandfield httl hpttl lindex
		llen lrange lpos scard sismember smismember smembers srandmember sscan zcard zcount zrange zrangebyscore
		zrangebylex zrevrange zrevrangebyscore zrevrangebylex zrank zrevrank zscore zmscore zscan zlexcount zrandmember
		geopos geodist geohash geosearch xlen xrange xrevrange pfcount sort_ro json.get json.type`)
	readsEvery  = words(`mget sinter sunion sdiff touch`)
	writesFirst = words(`set setex psetex setnx getset getdel getex append incr decr incrby decrby incrbyfloat setrange
		setbit bitfield expire pexpire expireat pexpireat persist hset hmset hsetnx hdel hincrby hincrbyfloat hexpire
		hpexpire hpersist lpush rpush lpushx rpushx lpop rpop lset lrem ltrim linsert sadd srem spop zadd zrem zincrby
		zpopmin zpopmax zremrangebyscore zremrangebyrank zremrangebylex geoadd xadd xdel xtrim pfadd restore sinterstore
		sunionstore sdiffstore zunionstore zinterstore zrangestore json.set json.del`)
	writesEvery  = words(`del unlink`)
	writesSecond = words(`rename renamenx copy`) // and the first
)

func words(list string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(list) {
		set[w] = true
	}
	return set
}

// Accesses gives the keys that a command reads or writes. Commands it does not
// know, scripts among them, have none: what scripts do is shown on lines of its
// own by MONITOR.
func Accesses(args []string) (write bool, keys []string) {
	if len(args) < 2 {
		return false, nil
	}
	name := strings.ToLower(args[0])
	switch {
	case readsFirst[name]:
		return false, args[1:2]
	case readsEvery[name]:
		return false, args[1:]
	case writesFirst[name]:
		return true, args[1:2]
	case writesEvery[name]:
		return true, args[1:]
	case writesSecond[name]:
		return true, args[1:min(3, len(args))]
	case name == "mset" || name == "msetnx":
		for i := 1; i < len(args); i += 2 {
			keys = append(keys, args[i])
		}
		return true, keys
	}
	return false, nil
}
