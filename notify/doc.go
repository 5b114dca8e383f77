// Package notify turns the keyspace notifications of a Redis server, of a Sentinel group or of a whole Cluster into one
// ordered stream that admits its gaps.
//
// # What happens to one event
//
// A client runs SET product:42. While the command runs, Redis publishes "set" on __keyspace@0__:product:42 and puts the
// message into the output buffer of every connection whose pattern matches; the writer may have its OK before the message is
// on the wire. The [Listener]'s session, one connection that does nothing else, is always reading. The receive loop parses the
// channel, leaves out what nobody asked for (and keymiss, which is a read), hands the [Event] to Hooks.Event and then puts a
// copy into the bounded queue of every [Reader] that wants it. [Listener.Handle], [Listener.Events] and [Stream.Next] take from
// there, each at its own pace: nothing a consumer does, panics included, delays the loop. A queue that is full gives up its
// oldest events, and says so with a Gap in their place.
//
// Pings go out on the same connection, every Heartbeat and whenever somebody calls [Listener.Fence]. Redis answers a ping after
// the events of every command it executed before it, so the PONG proves the stream up to the moment before the PING was
// written. Hooks.Pong tells that moment.
//
// Whatever casts doubt on the stream ends the session: an error, an answer to no question, silence while an answer is due,
// and what the audit finds. The loss is told at once as a Gap. Another session is built, with a pause that grows; when every
// pattern is confirmed and the source is proven, Synced is told, and what follows is complete again.
//
// # Guarantees
//
// Hooks are called one at a time. Let the stream be the sequence of events given to Hooks.Event.
//
//   - Between a Synced and the next Gap the stream holds every event that Redis published for what is subscribed, once, in the order
//     in which Redis executed the commands; flushes have their place in it where RESP3 is to be had.
//   - Between a Gap and the next Synced it holds nothing, and before the first Synced neither.
//   - Pong(sent, received) follows every event of every command executed before sent.
//   - Fence returns nil only after every event of every command executed before it was called has been given to Hooks.Event; or after a
//     Gap and a Synced, both given, took their place.
//   - A prefix that [Listener.Subscribe] added is covered by all this from Subscribe's return on.
//   - A reader gets the part of the stream it asked for, in order, from the call that opened it, and a Gap with reason overflow in the
//     place of what its queue could not hold. All of Gap, Flush and Synced are for every reader.
//
// Less formally: no news is good news only between Synced and Gap; at a Gap throw away what you know, at Synced begin to learn
// anew; and if you must know that you have heard it all, fence.
//
// # The source
//
// That a ping is answered does not prove that notifications are still on, nor that the data is still the same. So every
// AuditEvery one pipeline on a connection of its own asks the server who it is and whether it is a primary, which notifications
// are on, and reads a marker key in every database listened to, which goes away with its data when nothing is sent: at
// SWAPDB, and at a flush that RESP2 does not tell of. What is wrong ends the session; so does an audit that cannot be made within
// AuditEvery + PongTimeout, which is thus the longest that such a change goes unnoticed. Where CONFIG is refused, a canary takes
// its place: keys of the listener's own, written so that their events must come back. The first is in every class of event, later
// ones take turns, so one class switched off alone is found within six audits.
//
// # Several servers
//
// Of a Cluster every primary has a session, and the stream is theirs together: events of one key are in order, those of
// keys on different primaries are not; Synced is told when all are confirmed, Gap when one is lost; the watermark is the
// oldest of theirs, and a fence asks all. Of a Sentinel group the primary has one.
//
// Neither answers the question who the primaries are: one that was deposed behind a partition goes on answering pings. A
// promotion needs the votes of a majority, of the Sentinels or of the primaries with slots, in a term (Redis calls it an epoch)
// that none of them has voted in before. So each is asked, every Heartbeat, for the last term it has heard of. Any two
// majorities share a voter: if a majority has heard of none later than that of the view of who is who, nobody had been
// promoted when the first of them was asked, and the watermark goes no further than that. A later term, or a view that says otherwise,
// taken every AuditEvery, is a Gap with reason topology; sessions with the primaries of the next view follow. A term in
// which somebody may yet be promoted (a vote that has come to nothing so far) proves nothing until its election must be over and
// its outcome known: three times the Cluster's node timeout, or once the Sentinels' failover timeout, once more or
// ten seconds of it, and a second.
//
// Where Redis lets somebody promote without votes (CLUSTER FAILOVER TAKEOVER, SENTINEL FAILOVER) there is no majority to
// ask; all that answer are asked, and the first that has heard of it ends the stream. What is published on a channel of a Cluster
// comes once from every primary. There are no markers in a Cluster: no databases are swapped there, and a flush without RESP3 is not found.
//
// # What is not promised
//
//   - Notifications switched off and on again between two audits by somebody who is no listener, or databases swapped and swapped
//     back, are not noticed. A listener that switches them on says so, and every other declares a gap there and then.
//   - A SWAPDB in the round trip between a flush heard and the marker written anew looks like that flush. Hooks.Event is told of a
//     second flush for its sake; readers are not.
//   - Of a Cluster, who joins or comes back without an election, and a promotion by force that raises no term, are found by the next view
//     only, within AuditEvery. Until then what a redirected client writes there is not heard, and a primary that has become a replica may be
//     heard beside its successor: its events come twice.
//   - A slot that Valkey 9 or Redis 8.4 moves with its keys at once is answered for by its former owner until that has heard of it, a
//     moment later. The next view finds the move, which is a gap, so that what was read in between falls within AuditEvery, which a
//     fence does not wait for. On servers from version 8 on every moved slot is a gap, one for all that moved between two views.
//   - Redis 8.6 subscribes nobody while it is at maxmemory and has nothing to evict. A session that is to begin then waits for
//     memory; those that are up go on.
//   - Redis sends expired when it deletes the key, which may be long after its time has passed. It is no clock.
//   - A Cluster with cluster-preferred-endpoint-type unknown-endpoint is refused: go-redis cannot read its CLUSTER SLOTS. Names
//     that a Cluster or Sentinels tell are dialled as they are, so certificates may be for names alone.
//   - Without RESP3 (a proxy, an ACL that forbids CLIENT TRACKING) a flush is found by the audit alone.
//   - What a user may not do is not proven; [Status].Reasons lists it in words.
//   - A PUBLISH by anybody on a keyspace channel is told as an event: channels have no owner. This is used to announce changes of what is
//     no key.
//   - A server that states absurd lengths makes go-redis allocate them.
//
// # What it costs
//
// Measured on Redis 7.0.15 with BenchmarkServer, as CPU time of the server, on a busy two-core machine.
//
//	SET, pipelines of 16, notifications off           2.4 µs
//	  one kind on (K or E), nobody subscribed          2.5 to 3.3
//	  both kinds on                                    3.2
//	  one listener, keyspace pattern                   4.0
//	  one listener, keyevent pattern                   4.7
//	  twenty listeners, keyspace patterns             23.8
//	  twenty listeners, keyevent patterns             25.7
//	  one listener, another prefix                     3.2
//	  one listener, ten other prefixes                 4.7
//	a ping that nothing shares                        27 to 35
//	an audit                                          42
//	an audit of sixteen databases                     60
//	an audit by canary, one turn                     160
//
// Both kinds of channel cost the same: what is paid is one delivery, about 1 µs for every listener and event that matches, and
// about 0.15 µs for every pattern that does not. So the choice between them falls elsewhere. Keyspace channels carry the key in their
// name, so prefixes are matched by Redis and what is not wanted is never sent; they are the default, with prefixes and without.
// Keyevent channels must send everything and have prefixes matched here; they are for a server where only E may be on.
//
// To know that the primaries are the primaries costs a question a Heartbeat to each voter, 41 µs of a Sentinel's CPU time and
// some 30 of a Cluster's primary; and a fence of three of either takes 0.35 to 0.45 ms where one of a server takes 0.1
// (BenchmarkTopology, through a proxy before each server).
//
// Fan-out is writes × listeners: a thousand listeners of every key saturate one Redis near a thousand writes a second. Prefixes are
// the first remedy. Two hundred idle listeners with the default cadences (four pings and an audit a second) took 3.3 % of one core,
// hence a thousand 16 %; Heartbeat: time.Second makes that 7 %. Canaries are seen by everybody who listens to every key, so where
// CONFIG is refused to many, use prefixes.
//
// A listener applies about 400,000 events a second from a loopback socket (BenchmarkEvents), nearly all of it go-redis's reading. A fence
// takes a round trip.
package notify
