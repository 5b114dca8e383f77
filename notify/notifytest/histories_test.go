package notifytest_test

// blockingInScripts is refused by Redis 7.0 and by the embedded server. Newer ones run it and do not wait.
const blockingInScripts = "blocking in scripts"

// inThePast ends the names of what Valkey does in its own way: a key whose time has passed is not written there, and expires
// where Redis deletes it.
const inThePast = "in the past"

// histories are lines run one after the other in an emptied database. After each
// line the events of both servers must be the same, and whether it failed.
var histories = []struct {
	name, lines string
	whole       bool // compare the sum: when a key expires is not the line's doing
}{
	{"set", `
SET k v
SET k v
SET k v EX 100
SET k v PX 100000
SET k v KEEPTTL
SET k v NX
SET k v XX
SET z v XX
SET n v NX
SET k v GET
SET n2 v NX GET
SET k v NX GET
SET z v XX GET
SET k v XX GET
SET k v EXAT 99999999999
SET k v PXAT 99999999999999
SET k v BAD
SET k
SET`, false},
	{"set " + inThePast, `
SET k v PXAT 1
GET k
SET k v
SET k v EXAT 1
EXISTS k
SET k2 v
TTL k2`, true},
	{"string writes", `
GETSET k v
GETSET k w
SETNX k v
SETNX n v
SETEX k 100 v
PSETEX k 100000 v
SETEX k 0 v
APPEND k x
APPEND a x
SETRANGE k 1 zz
SETRANGE e 0 ""
SETRANGE k 0 ""
SETRANGE f 2 x`, false},
	{"counters", `
INCR i
DECR i
INCRBY i 5
DECRBY i 3
INCRBYFLOAT i 0.5
INCR i
SET s x
INCR s
INCRBYFLOAT s 1`, false},
	{"mset", `
MSET a 1 b 2 a 3
MSETNX a 1 c 2
MSETNX c 1 d 2
MSET a`, false},
	{"getdel and getex", `
GETDEL k
SET k v
GETDEL k
GETEX k EX 10
SET k v
GETEX k
GETEX k EX 100
GETEX k PX 100000
GETEX k PERSIST
GETEX k PERSIST`, false},
	{"bits", `
SETBIT b 3 1
SETBIT b 3 1
SETBIT b 3 0
SETBIT b 100 1
SET x abc
SET y abd
BITOP AND d x y
BITOP XOR d x y
BITOP AND d none none2
BITOP AND d none none2
BITOP NOT d x`, false},
	{"hyperloglog", `
PFADD h a b
PFADD h a
PFADD g c
PFMERGE m h g
PFMERGE m h g
SET s x
PFADD s a`, false},
	{"del", `
DEL k
SET k v
DEL k
SET a 1
SET b 1
DEL a none b a
SET a 1
UNLINK a none
LPUSH l x
DEL l
DEL`, false},
	{"expire", `
EXPIRE k 10
SET k v
EXPIRE k 100
PEXPIRE k 100000
EXPIREAT k 99999999999
PEXPIREAT k 99999999999999
PERSIST k
PERSIST k
PERSIST none
EXPIRE k 100 XX
EXPIRE k 100 NX
EXPIRE k 200 GT
EXPIRE k 100 GT
EXPIRE k 300 LT
EXPIRE k 50 LT
EXPIRE k x`, false},
	{"expire " + inThePast, `
SET k v
EXPIRE k 0
EXPIRE k 0
SET k v
EXPIRE k -1
SET k v
PEXPIREAT k 1
SET k v
EXPIREAT k 1
SET k v
GETEX k PXAT 1
GET k
SET k v
GETEX k EXAT 1
GETEX k EXAT 99999999999`, false},
	{"rename", `
SET a 1
RENAME a b
RENAME none b
RENAME b b
SET c 1
RENAME b c
SET d 1
RENAMENX c d
RENAMENX c e
RENAMENX e e
SET t 1 EX 100
RENAME t u
TTL u
SET t 1
RENAME t u
TTL u`, false},
	{"copy and move", `
SET a 1 EX 100
COPY a b
TTL b
COPY a b
COPY a b REPLACE
COPY none b
COPY a b DB 1
COPY a b DB 1
COPY a b DB 1 REPLACE
MOVE a 1
MOVE a 1
MOVE none 1
MOVE b 1
SELECT 1
TTL a
DEL a
DEL b
SELECT 0`, false},
	{"other database", `
SELECT 3
SET k v
EXPIRE k 100
DEL k
LPUSH l x
LPOP l
SELECT 0
SET k v`, false},
	{"hashes", `
HSET h a 1
HSET h a 1
HSET h a 2 b 3
HMSET h c 4
HSETNX h a 1
HSETNX h d 1
HINCRBY h n 1
HINCRBYFLOAT h n 0.5
HDEL h none
HDEL none a
HDEL h a
HDEL h b c d n
HSET h a 1
HINCRBY h a x
SET s 1
HSET s a 1
HDEL s a
HSET h x`, false},
	{"list pushes", `
LPUSH l a
RPUSH l b c
LPUSHX l z
RPUSHX l z
LPUSHX n z
RPUSHX n z
LINSERT l BEFORE a x
LINSERT l BEFORE none x
LSET l 0 q
LSET l 100 q
LREM l 0 none
LREM l 0 z
LTRIM l 0 1
LTRIM l 0 100
LTRIM none 0 1
LTRIM l 1 0
RPUSH l a
LREM l 0 a
SET s 1
LPUSH s a`, false},
	{"list pops", `
LPOP l
RPUSH l a b c d
LPOP l
RPOP l
LPOP l 0
LPOP l 1
RPOP l 5
RPUSH l a b
BLPOP none l 1
BRPOP l none 1
BLPOP l none 0.01
RPUSH l a b c
LMPOP 2 none l LEFT
LMPOP 1 l RIGHT COUNT 5
LMPOP 1 l LEFT`, false},
	{"list moves", `
RPUSH a 1 2 3 4
RPOPLPUSH a b
RPOPLPUSH none b
LMOVE a b LEFT RIGHT
LMOVE a b RIGHT LEFT
BLMOVE a b LEFT LEFT 1
BRPOPLPUSH b b 1
RPOPLPUSH b b
BRPOPLPUSH none b 0.01
RPUSH s x
RPOPLPUSH s s
LMOVE s s LEFT RIGHT`, false},
	{"sets", `
SADD s a
SADD s a
SADD s a b
SREM s none
SREM none a
SREM s a
SREM s b
SADD s a b c
SPOP s
SPOP s 0
SPOP s 10
SPOP s
SPOP s 5
SADD a 1 2
SADD b 2
SMOVE a b 1
SMOVE a b 9
SMOVE a b 2
SMOVE b b 1
SET x 1
SADD x a`, false},
	{"set stores", `
SADD a 1 2
SADD b 2 3
SINTERSTORE d a b
SUNIONSTORE d a b
SDIFFSTORE d a b
SINTERSTORE d a none
SINTERSTORE d a none
SET d x
SINTERSTORE d a none
SET d x EX 100
SUNIONSTORE d a b
TTL d
SDIFFSTORE a a a`, false},
	{"sorted sets", `
ZADD z 1 a
ZADD z 1 a
ZADD z 2 a
ZADD z 1 a 1 b
ZADD z NX 5 a
ZADD z XX 5 none
ZADD z GT 1 a
ZADD z LT 1 a
ZADD z CH 3 a
ZADD z INCR 1 a
ZADD z NX INCR 1 a
ZINCRBY z 1 a
ZINCRBY z 0 a
ZINCRBY z 0 new
ZINCRBY z2 1 a
ZREM z none
ZREM z a
ZREM z b new
ZREM z b
SET s 1
ZADD s 1 a
ZADD z x a
ZADD z XX 1 a`, false},
	{"sorted set removals", `
ZADD z 1 a 2 b 3 c 4 d 5 e
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYRANK z 10 20
ZREMRANGEBYSCORE z 2 2
ZREMRANGEBYSCORE z 100 200
ZREMRANGEBYLEX z [c [c
ZPOPMIN z
ZPOPMAX z
ZPOPMIN z
ZADD z 1 a 2 b 3 c
ZPOPMAX z 2
ZPOPMIN z 5
ZADD z 1 a 2 b
BZPOPMIN none z 1
BZPOPMAX z none 1
BZPOPMIN z 0.01
ZADD z 1 a 2 b 3 c
ZMPOP 2 none z MIN
BZMPOP 1 1 z MAX COUNT 5
ZMPOP 1 z MIN
ZADD z 1 a
ZREMRANGEBYSCORE z -inf +inf
ZADD z 1 a
ZREMRANGEBYLEX z - +`, false},
	{"sorted set stores", `
ZADD a 1 x 2 y
ZADD b 3 y
ZUNIONSTORE d 2 a b
ZINTERSTORE d 2 a b
ZINTERSTORE d 2 a none
ZINTERSTORE d 2 a none
ZUNIONSTORE d 1 a`, false},
	{"geo", `
GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOADD g 13.361389 38.115556 Palermo
GEORADIUS g 15 37 200 km STORE d
GEORADIUS g 15 37 200 km
GEORADIUSBYMEMBER g Palermo 200 km STOREDIST d
GEORADIUS g 0 0 1 km STORE d
GEORADIUS g 0 0 1 km STORE d`, false},
	{"streams", `
XADD s 1-1 a 1
XADD s 0-1 a 1
XADD s NOMKSTREAM 2-1 a 1
XADD none NOMKSTREAM 2-1 a 1
XADD s MAXLEN 1 3-1 a 1
XADD s MAXLEN 10 4-1 a 1
XDEL s 9-9
XDEL s 4-1
XTRIM s MAXLEN 10
XTRIM s MAXLEN 0
XADD s MINID 6 5-1 a 1`, false},
	{"stream groups", `
XGROUP CREATE s g $
XGROUP CREATE s g $ MKSTREAM
XGROUP CREATE s g $
XADD s 1-1 a 1
XREADGROUP GROUP g c STREAMS s >
XREADGROUP GROUP g c STREAMS s >
XACK s g 1-1
XADD s 2-1 a 1
XREADGROUP GROUP g c COUNT 1 STREAMS s >
XCLAIM s g c2 0 2-1
XAUTOCLAIM s g c3 0 0
XGROUP CREATECONSUMER s g c4
XGROUP CREATECONSUMER s g c4
XGROUP DELCONSUMER s g c4
XGROUP DELCONSUMER s g c4
XGROUP DESTROY s g
XGROUP DESTROY s g
XREADGROUP GROUP g c STREAMS s >`, false},
	{"multi", `
MULTI
SET a 1
SET b 1 EX 100
DEL a
LPUSH l x
LPOP l
EXEC
MULTI
SET a 1
DISCARD
MULTI
SET a 1
NOSUCH x
EXEC
MULTI
SET a
SET a 1
EXEC
MULTI
SELECT 2
SET k v
SELECT 0
SET k v
EXEC
MULTI
INCR l
EXEC
MULTI
BLPOP none 0
EXEC
EXEC
DISCARD`, false},
	{"multi refused", `
WATCH a
SET a 1
MULTI
SET b 1
EXEC
WATCH a
MULTI
SET b 1
EXEC
WATCH a
SET a 2
UNWATCH
MULTI
SET b 1
EXEC
WATCH a
FLUSHDB
MULTI
SET b 1
EXEC`, false},
	{"scripts", `
EVAL return(redis.call('SET',KEYS[1],ARGV[1])) 1 k v
EVAL redis.call('set','a','1');redis.call('del','a','b');redis.call('rpush','l','x');redis.call('lpop','l') 0
EVAL redis.call('SELECT','5');redis.call('SET','k','v') 0
SET z 1
EVAL redis.pcall('INCR','none');redis.pcall('LPUSH','none','x');redis.pcall('EXPIRE','none','100') 0
EVAL redis.call('SET','k','v');error('x') 0
MULTI
EVAL redis.call('SET','k','v') 0
SET k2 v
EXEC
EVAL redis.call('PUBLISH','__keyspace@0__:touched','touch') 0`, false},
	{blockingInScripts, `
EVAL return(redis.call("BLPOP","absent","0")) 0
EVAL return(redis.call("BLMOVE","absent","b","LEFT","LEFT","0")) 0
EVAL return(redis.call("XREAD","BLOCK","0","STREAMS","absent","$")) 0`, false},
	{"restore", `
SET k v
DUMP k
DEL k`, false},
	{"publish", `
PUBLISH __keyspace@0__:x touch
PUBLISH __keyevent@0__:touch x
PUBLISH other x`, false},
	{"flush", `
SET a 1 EX 100
FLUSHALL
SET a 1
TTL a
FLUSHDB
SET a 1
FLUSHALL ASYNC
SET a 1
FLUSHDB SYNC`, false},
	{"swapdb", `
SET a 1 EX 100
SWAPDB 0 1
TTL a
SET a 1
SELECT 1
TTL a
SELECT 0
SWAPDB 0 1
TTL a`, false},
	{"binary keys", `
SET "\xff\xfe\x00" v
SET "a:*?[b]\\" v
DEL "\xff\xfe\x00"
SET "" v
SET __:x v`, false},
}
