package notifytest

import (
	"slices"
	"strings"
	"time"
)

// writeCommands are the commands of miniredis that change something, with the
// events that Redis 7.0 sends for them. The test compares with a real server.
func writeCommands() map[string]command {
	t := make(map[string]command)
	for _, group := range []map[string]command{
		genericCommands(), stringCommands(), hashCommands(), listCommands(), setCommands(), zsetCommands(), streamCommands(),
	} {
		for name, w := range group {
			t[name] = w
		}
	}
	return t
}

// sends is the plain case: one event for the first argument whenever the command did not fail.
func sends(class byte, event string) command {
	return command{events: func(c *call) { c.send(class, event, c.key()) }}
}

// adds sends the event if the reply counts something.
func adds(class byte, event string) command {
	return command{events: func(c *call) {
		if c.reply.some() {
			c.send(class, event, c.key())
		}
	}}
}

// removes is adds for what takes something out.
func removes(class byte, event string) command {
	return command{events: func(c *call) {
		if c.reply.some() {
			c.removed(class, event, c.key())
		}
	}}
}

// stores is for results stored at keys(args)[0]: an empty one deletes what was there.
func stores(class byte, event string, keys func([]string) []string) command {
	return command{keys: keys, events: func(c *call) {
		if len(c.keys) == 0 {
			return // GEORADIUS that stores nothing
		}
		key := c.keys[0]
		if c.reply.some() {
			c.send(class, event, key)
			return
		}
		c.ask("DEL", key) // miniredis may store what is empty
		if c.existed[key] {
			c.del(key)
		}
	}}
}

func genericCommands() map[string]command {
	del := command{keys: rest, events: func(c *call) {
		for _, key := range unique(c.keys) {
			if c.existed[key] && !c.exists(key) {
				c.del(key)
			}
		}
	}}
	expire := command{
		look: func(c *call) any { c.refresh(c.key()); return nil },
		events: func(c *call) {
			switch {
			case !c.reply.some():
			case c.exists(c.key()):
				c.expires(c.key())
			default:
				c.del(c.key())
			}
		},
	}
	rename := command{keys: firstTwo, events: func(c *call) {
		from, to := c.args[1], c.args[2]
		if from == to || c.reply.kind == ':' && c.reply.n == 0 {
			return
		}
		c.created(dbKey{c.db, from}, dbKey{c.db, to}, false)
		c.send('g', "rename_from", from)
		c.send('g', "rename_to", to)
	}}
	return map[string]command{
		"DEL": del, "UNLINK": del, "DELEX": del,
		"EXPIRE": expire, "PEXPIRE": expire, "EXPIREAT": expire, "PEXPIREAT": expire,
		"PERSIST": adds('g', "persist"),
		"RENAME":  rename, "RENAMENX": rename,
		"COPY": {keys: none, events: func(c *call) {
			if !c.reply.some() {
				return
			}
			to := dbKey{c.db, c.args[2]}
			if i := c.optionAt(3, "DB"); i > 0 {
				to.db = atoi(c.args[i+1])
			}
			c.created(dbKey{c.db, c.key()}, to, true)
			c.s.notify('g', "copy_to", to)
		}},
		"MOVE": {events: func(c *call) {
			if !c.reply.some() {
				return
			}
			to := dbKey{atoi(c.args[2]), c.key()}
			c.created(dbKey{c.db, c.key()}, to, false)
			c.send('g', "move_from", c.key())
			c.s.notify('g', "move_to", to)
		}},
		"RESTORE": {events: func(c *call) {
			at := atoi(c.args[2])
			if at > 0 && c.option(4, "ABSTTL") && int64(at) <= time.Now().UnixMilli() {
				c.ask("DEL", c.key())
				if c.existed[c.key()] {
					c.del(c.key())
				}
				return
			}
			c.renewed[c.key()] = true
			c.send('g', "restore", c.key())
		}},
		"SELECT": {keys: none, events: func(c *call) { c.db = atoi(c.args[1]) }},
		"SWAPDB": {keys: none, events: func(c *call) {
			a, b := atoi(c.args[1]), atoi(c.args[2])
			c.s.keepTTLs(func(db int) (int, bool) {
				switch db {
				case a:
					return b, true
				case b:
					return a, true
				}
				return db, true
			})
		}},
	}
}

func stringCommands() map[string]command {
	incr := sends('$', "incrby")
	setex := command{events: func(c *call) {
		c.send('$', "set", c.key())
		c.expires(c.key())
	}}
	return map[string]command{
		"APPEND": sends('$', "append"), "GETSET": sends('$', "set"), "SETNX": adds('$', "set"),
		"INCR": incr, "INCRBY": incr, "DECR": incr, "DECRBY": incr, "INCRBYFLOAT": sends('$', "incrbyfloat"),
		"SETEX": setex, "PSETEX": setex,
		"SET":    {look: lookSet, events: set},
		"GETDEL": removesString(), "GETEX": {look: lookGetEx, events: getEx},
		"MSET": {keys: everyOther, events: mset},
		"MSETNX": {keys: everyOther, events: func(c *call) {
			if c.reply.some() {
				mset(c)
			}
		}},
		"SETBIT": {look: value, events: func(c *call) {
			if c.seen != value(c) {
				c.send('$', "setbit", c.key())
			}
		}},
		"SETRANGE": {events: func(c *call) {
			if c.args[3] != "" {
				c.send('$', "setrange", c.key())
			}
		}},
		"BITOP": stores('$', "set", second),
		"PFADD": adds('$', "pfadd"), "PFMERGE": sends('$', "pfadd"),
	}
}

func removesString() command {
	return command{events: func(c *call) {
		if c.reply.some() {
			c.del(c.key())
		}
	}}
}

func value(c *call) any { return c.ask("GET", c.key()).text }

func mset(c *call) {
	for _, key := range c.keys {
		c.send('$', "set", key)
	}
}

// lookSet puts off a time that has passed: miniredis would not set the key,
// and keep the TTL for the next one of that name.
func lookSet(c *call) any {
	i, past := c.ttlOption(3)
	if c.past = past; past {
		c.args = slices.Clone(c.args)
		c.args[i], c.args[i+1] = "PX", "1"
	}
	return nil
}

func set(c *call) {
	switch key := c.key(); {
	case c.option(3, "NX") && c.existed[key], c.option(3, "XX") && !c.existed[key]:
		return
	}
	c.send('$', "set", c.key())
	if i, _ := c.ttlOption(3); i > 0 {
		c.expires(c.key())
	}
}

// lookGetEx finds whether there is a TTL to take away.
func lookGetEx(c *call) any { return c.ask("PTTL", c.key()).n >= 0 }

func getEx(c *call) {
	at, past := c.ttlOption(2)
	switch {
	case !c.existed[c.key()]:
	case past:
		c.ask("DEL", c.key())
		c.del(c.key())
	case at > 0:
		c.expires(c.key())
	case c.option(2, "PERSIST") && c.seen == true:
		c.send('g', "persist", c.key())
	}
}

func hashCommands() map[string]command {
	return map[string]command{
		"HSET": {events: hset}, "HMSET": {events: hset}, "HSETNX": adds('h', "hset"),
		"HINCRBY": sends('h', "hincrby"), "HINCRBYFLOAT": sends('h', "hincrbyfloat"),
		"HDEL": {
			look:   func(c *call) any { c.persistFields(c.args[2:]); return nil },
			events: removes('h', "hdel").events,
		},
		"HEXPIRE": {events: hexpire}, "HPERSIST": {events: hpersist}, "HSETEX": {events: hsetex},
	}
}

func listCommands() map[string]command {
	moves := func(from, to func(c *call) string) command {
		return command{keys: firstTwo, events: func(c *call) {
			if c.reply.some() {
				c.send('l', to(c)+"push", c.args[2])
				c.removed('l', from(c)+"pop", c.args[1])
			}
		}}
	}
	left, right := side("l"), side("r")
	where := func(i int) func(c *call) string {
		return func(c *call) string { return strings.ToLower(c.args[i][:1]) }
	}
	return map[string]command{
		"LPUSH": adds('l', "lpush"), "RPUSH": adds('l', "rpush"), "LPUSHX": adds('l', "lpush"), "RPUSHX": adds('l', "rpush"),
		"LINSERT": adds('l', "linsert"), "LSET": sends('l', "lset"), "LREM": removes('l', "lrem"),
		"LTRIM": {events: func(c *call) {
			if c.existed[c.key()] {
				c.removed('l', "ltrim", c.key())
			}
		}},
		"LPOP": removes('l', "lpop"), "RPOP": removes('l', "rpop"),
		"BLPOP": pops('l', butLast, left, "pop"), "BRPOP": pops('l', butLast, right, "pop"),
		"LMPOP": pops('l', counted(1), func(c *call) string {
			return where(2 + len(c.keys))(c)
		}, "pop"),
		"RPOPLPUSH": moves(right, left), "BRPOPLPUSH": moves(right, left),
		"LMOVE": moves(where(3), where(4)), "BLMOVE": moves(where(3), where(4)),
	}
}

func side(s string) func(*call) string { return func(*call) string { return s } }

// butLast are the keys of a command whose last argument is a timeout.
func butLast(args []string) []string { return span(args, 1, max(1, len(args)-1)) }

// pops is for commands that name in their reply which of many keys they took from.
func pops(class byte, keys func([]string) []string, prefix func(*call) string, suffix string) command {
	return command{keys: keys, events: func(c *call) {
		if c.reply.some() {
			c.removed(class, prefix(c)+suffix, c.reply.elems[0].text)
		}
	}}
}

func setCommands() map[string]command {
	return map[string]command{
		"SADD": adds('s', "sadd"), "SREM": removes('s', "srem"), "SPOP": removes('s', "spop"),
		"SINTERSTORE": stores('s', "sinterstore", nil), "SUNIONSTORE": stores('s', "sunionstore", nil),
		"SDIFFSTORE": stores('s', "sdiffstore", nil),
		"SMOVE": {
			keys: firstTwo,
			look: func(c *call) any { return len(c.args) == 4 && c.ask("SISMEMBER", c.args[2], c.args[3]).n == 1 },
			events: func(c *call) {
				if !c.reply.some() || c.args[1] == c.args[2] {
					return
				}
				c.removed('s', "srem", c.args[1])
				if c.seen == false {
					c.send('s', "sadd", c.args[2])
				}
			},
		},
	}
}

func zsetCommands() map[string]command {
	zpop := func(end string) command { return removes('z', "zpop"+end) }
	bzpop := func(end string) command { return pops('z', butLast, side("zpop"), end) }
	zmpop := func(at int) command {
		return pops('z', counted(at), func(c *call) string {
			return "zpop" + strings.ToLower(c.args[at+1+len(c.keys)])
		}, "")
	}
	rescores := func(event func(c *call) string, members func(args []string) []string) command {
		scores := func(c *call) any {
			var b strings.Builder
			for _, m := range members(c.args) {
				b.WriteString(c.ask("ZSCORE", c.key(), m).text + " ")
			}
			return b.String()
		}
		return command{look: scores, events: func(c *call) {
			if c.seen != scores(c) {
				c.send('z', event(c), c.key())
			}
		}}
	}
	zadd := func(c *call) string {
		if c.name == "ZADD" && c.option(2, "INCR") {
			return "zincr"
		}
		return "zadd"
	}
	return map[string]command{
		"ZADD":    rescores(zadd, zaddMembers),
		"GEOADD":  rescores(zadd, geoaddMembers),
		"ZINCRBY": rescores(side("zincr"), func(args []string) []string { return span(args, 3, 4) }),
		"ZREM":    removes('z', "zrem"), "ZREMRANGEBYRANK": removes('z', "zremrangebyrank"),
		"ZREMRANGEBYSCORE": removes('z', "zremrangebyscore"), "ZREMRANGEBYLEX": removes('z', "zremrangebylex"),
		"ZPOPMIN": zpop("min"), "ZPOPMAX": zpop("max"), "BZPOPMIN": bzpop("min"), "BZPOPMAX": bzpop("max"),
		"ZMPOP": zmpop(1), "BZMPOP": zmpop(2),
		"ZUNIONSTORE": stores('z', "zunionstore", nil), "ZINTERSTORE": stores('z', "zinterstore", nil),
		"GEORADIUS": stores('z', "georadiusstore", geoStore), "GEORADIUSBYMEMBER": stores('z', "georadiusstore", geoStore),
	}
}

func zaddMembers(args []string) []string {
	i := 2
	for i < len(args) && slices.Contains([]string{"NX", "XX", "GT", "LT", "CH", "INCR"}, upper(args[i])) {
		i++
	}
	var members []string
	for i++; i < len(args); i += 2 {
		members = append(members, args[i])
	}
	return members
}

func geoaddMembers(args []string) []string {
	var members []string
	for i := 4; i < len(args); i += 3 {
		members = append(members, args[i])
	}
	return members
}

func geoStore(args []string) []string {
	for i := range args {
		if name := upper(args[i]); name == "STORE" || name == "STOREDIST" {
			return span(args, i+1, i+2)
		}
	}
	return nil
}

func streamCommands() map[string]command {
	length := func(c *call) any { return c.ask("XLEN", c.key()).n }
	return map[string]command{
		"XADD": {look: length, events: func(c *call) {
			if !c.reply.some() {
				return
			}
			c.send('t', "xadd", c.key())
			if length(c).(int) <= c.seen.(int) {
				c.send('t', "xtrim", c.key())
			}
		}},
		"XDEL": adds('t', "xdel"), "XTRIM": adds('t', "xtrim"),
		"XGROUP": {keys: second, look: lookConsumers(2, 3), events: xgroup},
		"XREADGROUP": {keys: streamsRead, look: func(c *call) any {
			var found []string
			for _, key := range c.keys {
				found = append(found, consumers(c, key, c.args[2]))
			}
			return found
		}, events: func(c *call) {
			for i, key := range c.keys {
				if consumers(c, key, c.args[2]) != c.seen.([]string)[i] {
					c.send('t', "xgroup-createconsumer", key)
				}
			}
		}},
		"XCLAIM":     {look: lookConsumers(1, 2), events: consumerCreated},
		"XAUTOCLAIM": {look: lookConsumers(1, 2), events: consumerCreated},
	}
}

// consumers are the names of a group's consumers: a claim or a read makes one
// that is not there.
func consumers(c *call, key, group string) string {
	var names []string
	for _, consumer := range c.ask("XINFO", "CONSUMERS", key, group).elems {
		if len(consumer.elems) > 1 {
			names = append(names, consumer.elems[1].text)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func lookConsumers(key, group int) func(c *call) any {
	return func(c *call) any {
		if len(c.args) <= group {
			return ""
		}
		return consumers(c, c.args[key], c.args[group])
	}
}

func consumerCreated(c *call) {
	if c.seen != lookConsumers(1, 2)(c) {
		c.send('t', "xgroup-createconsumer", c.key())
	}
}

func xgroup(c *call) {
	sub, key := strings.ToLower(c.args[1]), c.args[2]
	switch sub {
	case "create", "setid":
	case "destroy", "createconsumer":
		if !c.reply.some() {
			return
		}
	case "delconsumer":
		if c.seen == lookConsumers(2, 3)(c) {
			return
		}
	default:
		return
	}
	c.send('t', "xgroup-"+sub, key)
}

func streamsRead(args []string) []string {
	i := slices.IndexFunc(args, func(a string) bool { return upper(a) == "STREAMS" })
	if i < 0 || len(args) < 4 {
		return nil
	}
	return span(args, i+1, i+1+(len(args)-i-1)/2)
}
