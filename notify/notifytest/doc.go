// Package notifytest is an embedded Redis that really sends keyspace
// notifications, so that code built on Freshet can be tested, and tried out,
// with nothing installed.
//
// What happens to one request: a connection's bytes are read and parsed here;
// one lock, held for one command at a time, stands for Redis's single thread.
// Under it, keys whose time has come are removed and announced, then the
// command is either one that this package keeps itself (publish and subscribe,
// MULTI, WATCH, CONFIG, CLIENT, INFO, HELLO, the TTL readers) or is handed to
// an in-process miniredis, which keeps the data. What a write did is told from
// its reply, and from a look at its keys before and after where the reply does
// not say; the events go into the output queue of every subscriber before the
// writer's reply goes into the writer's. Inside EVAL the same happens at each
// redis.call, inside EXEC at each queued command.
//
// So the rules that Freshet relies on hold as on a server: events come in the
// order in which commands ran; a PING on a subscribed connection is answered
// after every event of every command executed before it; a flush reaches
// connections with CLIENT TRACKING in RESP3 as a null invalidation, in order
// among the events; keys expire by wall time, within some milliseconds.
//
// What it is not: the commands are those of miniredis (no SORT, FUNCTION,
// MIGRATE, cluster, ACL rules, replicas); the events are those of Redis 7.0,
// which tests compare with a real server, and for the TTLs of hash fields those
// of Redis 7.4 (COPY of a hash loses them); CLIENT TRACKING tells of flushes
// alone, never of keys; clients blocked on one key are not served in turn;
// nothing is evicted, and the event class m (keymiss) is accepted and not sent.
// A test of what happens on a bad day (ordering under load, kill -9, failover,
// output buffers, SWAPDB races) proves nothing here: use a real redis-server.
package notifytest
