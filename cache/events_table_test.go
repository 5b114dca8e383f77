package cache

// change is one command and the keys whose entries it must evict. In commands, @x is the key x of this run alone, and
// $x is DUMP of that key. Keys that are named and not in falls must stay hits.
type change struct {
	setup string // commands, separated by ";"
	do    string
	falls string
	needs string // the command to ask COMMAND INFO for; "": every server has it
}

// changes are all of Redis's event table, class by class. The comments name what is peculiar.
var changes = []change{
	// Strings.
	{"", "SET @a 1", "@a", ""},
	{"SET @a 1", "SET @a 1", "@a", ""}, // the same value is an event all the same
	{"SET @a 1", "GETSET @a 2", "@a", ""},
	{"SET @a 1", "SET @a 2 GET", "@a", ""},
	{"", "SETNX @a 1", "@a", ""},
	{"SET @b 1", "MSET @a 1 @b 2", "@a @b", ""},
	{"", "MSETNX @a 1 @b 2", "@a @b", ""},
	{"", "SET @a 1 EX 100", "@a", ""},
	{"", "SET @a 1 PX 100000 NX", "@a", ""},
	{"", "SETEX @a 100 1", "@a", ""},
	{"", "PSETEX @a 100000 1", "@a", ""},
	{"SET @a 1 EX 100", "SET @a 2 KEEPTTL", "@a", ""},
	{"SET @a 1", "SET @a 2 PXAT 1000", "@a", ""}, // in the past
	{"SET @a 1", "APPEND @a x", "@a", ""},
	{"SET @a 1", "INCR @a", "@a", ""},
	{"SET @a 1", "DECRBY @a 3", "@a", ""},
	{"SET @a 1", "INCRBYFLOAT @a 0.5", "@a", ""},
	{"SET @a abc", "SETRANGE @a 1 x", "@a", ""},
	{"SET @a 1", "GETDEL @a", "@a", ""},
	{"SET @a 1", "GETEX @a EX 100", "@a", ""},
	{"SET @a 1 EX 100", "GETEX @a PERSIST", "@a", ""},
	{"SET @a 1", "GETEX @a PXAT 1000", "@a", ""},
	{"SET @a 1", "DELEX @a IFEQ 1", "@a", "DELEX"},
	{"SET @a 1", "SET @a 2 IFEQ 1", "@a", "DELEX"},
	{"SET @a 1 EX 100", "SET @a 2 KEEPTTL IFNE 3 GET", "@a", "DELEX"},
	{"SET @b 1", "MSETEX 2 @a 1 @b 2 EX 100", "@a @b", "MSETEX"},
	{"RPUSH @a 1", "MSETEX 2 @a 1 @b 2", "@a @b", "MSETEX"},
	// Any type.
	{"SET @a 1; SET @b 1; SET @c 1", "DEL @a @b", "@a @b", ""},
	{"SET @a 1", "UNLINK @a", "@a", ""},
	{"SET @a 1", "EXPIRE @a 100", "@a", ""},
	{"SET @a 1", "PEXPIREAT @a 99999999999999", "@a", ""},
	{"SET @a 1", "EXPIRE @a -1", "@a", ""},
	{"SET @a 1", "EXPIREAT @a 1", "@a", ""},
	{"SET @a 1 EX 100", "PERSIST @a", "@a", ""},
	{"SET @a 1; SET @b 2", "RENAME @a @b", "@a @b", ""}, // no del for the b that was
	{"SET @a 1", "RENAMENX @a @b", "@a @b", ""},
	{"SET @a 1; SET @b 2", "COPY @a @b REPLACE", "@b", ""},
	{"SET @a 1", "COPY @a @b", "@b", ""},
	{"SET @a 1", "MOVE @a 9", "@a", ""},
	{"SET @a 1; SET @b 2", "RESTORE @b 0 $a REPLACE", "@b", ""},
	{"SET @a 1", "RESTORE @b 0 $a", "@b", ""},
	{"RPUSH @a 3 1 2", "SORT @a STORE @b", "@b", ""},
	{"SET @b 1", "SORT @a STORE @b", "@b", ""}, // nothing to sort: b is deleted
	// Hashes.
	{"", "HSET @a f 1", "@a", ""},
	{"HSET @a f 1", "HSET @a f 1", "@a", ""},
	{"", "HMSET @a f 1 g 2", "@a", ""},
	{"", "HSETNX @a f 1", "@a", ""},
	{"", "HINCRBY @a f 1", "@a", ""},
	{"", "HINCRBYFLOAT @a f 1.5", "@a", ""},
	{"HSET @a f 1 g 2", "HDEL @a f", "@a", ""},
	{"HSET @a f 1", "HDEL @a f", "@a", ""}, // the last field
	{"HSET @a f 1", "HEXPIRE @a 100 FIELDS 1 f", "@a", "HEXPIRE"},
	{"HSET @a f 1; HEXPIRE @a 100 FIELDS 1 f", "HPERSIST @a FIELDS 1 f", "@a", "HPERSIST"},
	{"HSET @a f 1", "HPEXPIRE @a 0 FIELDS 1 f", "@a", "HPEXPIRE"},
	{"", "HSETEX @a EX 100 FIELDS 1 f 1", "@a", "HSETEX"},
	{"HSET @a f 1", "HGETDEL @a FIELDS 1 f", "@a", "HGETDEL"},
	{"HSET @a f 1", "HGETEX @a EX 100 FIELDS 1 f", "@a", "HGETEX"},
	// Lists.
	{"", "RPUSH @a 1", "@a", ""},
	{"RPUSH @a 1", "LPUSHX @a 2", "@a", ""},
	{"RPUSH @a 1 2", "LPOP @a", "@a", ""},
	{"RPUSH @a 1", "RPOP @a", "@a", ""},
	{"RPUSH @a 1 2", "LSET @a 0 x", "@a", ""},
	{"RPUSH @a 1 2", "LINSERT @a BEFORE 2 x", "@a", ""},
	{"RPUSH @a 1 2", "LREM @a 0 1", "@a", ""},
	{"RPUSH @a 1 2", "LTRIM @a 1 1", "@a", ""},
	{"RPUSH @a 1 2", "LTRIM @a 5 5", "@a", ""},
	{"RPUSH @a 1 2; RPUSH @b 1", "LMOVE @a @b LEFT RIGHT", "@a @b", ""},
	{"RPUSH @a 1", "RPOPLPUSH @a @b", "@a @b", ""},
	{"RPUSH @b 1 2", "LMPOP 2 @a @b LEFT", "@b", "LMPOP"},
	{"RPUSH @a 1 2", "BLPOP @a 0", "@a", ""},
	{"RPUSH @a 1 2", "BLMOVE @a @b LEFT LEFT 0", "@a @b", ""},
	// Sets.
	{"", "SADD @a 1", "@a", ""},
	{"SADD @a 1 2", "SREM @a 1", "@a", ""},
	{"SADD @a 1", "SREM @a 1", "@a", ""},
	{"SADD @a 1 2", "SPOP @a", "@a", ""},
	{"SADD @a 1; SADD @b 2", "SMOVE @a @b 1", "@a @b", ""},
	{"SADD @a 1 2; SADD @b 2", "SINTERSTORE @c @a @b", "@c", ""},
	{"SADD @a 1; SADD @c 2", "SINTERSTORE @c @a @b", "@c", ""}, // empty over an existing key
	{"SADD @a 1; SADD @b 2", "SUNIONSTORE @c @a @b", "@c", ""},
	{"SADD @a 1; SADD @c 2", "SDIFFSTORE @c @a @a", "@c", ""},
	// Sorted sets, geo.
	{"", "ZADD @a 1 m", "@a", ""},
	{"ZADD @a 1 m", "ZADD @a INCR 2 m", "@a", ""},
	{"ZADD @a 1 m", "ZINCRBY @a 2 m", "@a", ""},
	{"ZADD @a 1 m 2 n", "ZREM @a m", "@a", ""},
	{"ZADD @a 1 m", "ZREM @a m", "@a", ""},
	{"ZADD @a 1 m 2 n", "ZREMRANGEBYSCORE @a 2 3", "@a", ""},
	{"ZADD @a 1 m 2 n", "ZREMRANGEBYRANK @a 0 0", "@a", ""},
	{"ZADD @a 0 m 0 n", "ZREMRANGEBYLEX @a [m [m", "@a", ""},
	{"ZADD @a 1 m 2 n", "ZPOPMIN @a", "@a", ""},
	{"ZADD @a 1 m", "ZPOPMAX @a", "@a", ""},
	{"ZADD @b 1 m 2 n", "ZMPOP 2 @a @b MIN", "@b", "ZMPOP"},
	{"ZADD @a 1 m", "BZPOPMIN @a 0", "@a", ""},
	{"ZADD @a 1 m", "ZUNIONSTORE @c 2 @a @b", "@c", ""},
	{"ZADD @a 1 m; ZADD @c 1 m", "ZINTERSTORE @c 2 @a @b", "@c", ""},
	{"ZADD @a 1 m; ZADD @c 1 m", "ZDIFFSTORE @c 2 @a @a", "@c", ""},
	{"ZADD @a 1 m", "ZRANGESTORE @c @a 0 -1", "@c", ""},
	{"ZADD @a 1 m; ZADD @c 1 m", "ZRANGESTORE @c @a 5 6", "@c", ""},
	{"", "GEOADD @a 13.36 38.11 Palermo", "@a", ""},
	{"GEOADD @a 13.36 38.11 Palermo", "GEOSEARCHSTORE @c @a FROMLONLAT 13 38 BYRADIUS 99 km", "@c", ""},
	{"GEOADD @a 13.36 38.11 Palermo; ZADD @c 1 m", "GEOSEARCHSTORE @c @a FROMLONLAT 0 0 BYRADIUS 1 km", "@c", ""},
	// Streams.
	{"", "XADD @a * f 1", "@a", ""},
	{"XADD @a 1-1 f 1", "XDEL @a 1-1", "@a", ""},
	{"XADD @a * f 1", "XTRIM @a MAXLEN 0", "@a", ""},
	{"XADD @a 1-1 f 1", "XSETID @a 5-0", "@a", ""},
	{"", "XGROUP CREATE @a g $$ MKSTREAM", "@a", ""},
	{"XGROUP CREATE @a g $$ MKSTREAM", "XGROUP DESTROY @a g", "@a", ""},
	{"XADD @a 1-1 f 1", "XDELEX @a IDS 1 1-1", "@a", "XDELEX"},
	{"XADD @a 1-1 f 1; XGROUP CREATE @a g 0; XREADGROUP GROUP g c STREAMS @a >", "XACKDEL @a g IDS 1 1-1", "@a", "XACKDEL"},
	{"", "XADD @a IDMP p i * f 1", "@a", "XCFGSET"},
	// Bitmaps, HyperLogLogs.
	{"", "SETBIT @a 3 1", "@a", ""},
	{"", "BITFIELD @a SET u8 0 7", "@a", ""},
	{"SETBIT @a 3 1", "BITOP NOT @b @a", "@b", ""},
	{"SET @b 1", "BITOP AND @b @a", "@b", ""}, // of nothing: b is deleted
	{"SETBIT @a 3 1; SETBIT @b 4 1", "BITOP DIFF @c @a @b", "@c", "XDELEX"},
	{"", "PFADD @a 1", "@a", ""},
	{"PFADD @a 1; PFADD @b 2", "PFMERGE @b @a", "@b", ""},
	// Reads evict nothing, nor do writes that are refused.
	{"SET @a 1", "GET @a", "", ""},
	{"", "GET @a", "", ""},
	{"HSET @a f 1", "HGETALL @a", "", ""},
	{"SET @a 1; SET @b 2", "RENAMENX @a @b", "", ""},
	{"SET @a 1", "SET @a 2 NX", "", ""},
	{"SET @a 1", "SET @a 2 IFEQ 3", "", "DELEX"},
	{"SET @a 1", "DELEX @a IFEQ 3", "", "DELEX"},
	{"SET @b 1", "MSETEX 2 @a 1 @b 2 NX", "", "MSETEX"},
	{"SET @a 1", "DIGEST @a", "", "DIGEST"},
	{"SET @a 1; SET @b 1", "COPY @a @b", "", ""},
	{"", "UNLINK @a", "", ""},
}
