package notifytest

import (
	"slices"
	"strconv"
	"strings"
)

// notify tells of one event, as notify-keyspace-events allows: the keyspace
// channel first, then the keyevent channel, as Redis does. It is also where a
// WATCHed key is known to have changed.
func (s *Server) notify(class byte, event string, k dbKey) {
	for _, c := range s.conns {
		if c.watched[k] {
			c.touched = true
		}
	}
	if !s.flags.has(class) {
		return
	}
	db := strconv.Itoa(k.db)
	if s.flags.has('K') {
		s.publish("__keyspace@"+db+"__:"+k.key, event)
	}
	if s.flags.has('E') {
		s.publish("__keyevent@"+db+"__:"+event, k.key)
	}
}

// publish queues a message for every subscriber and returns how often: once
// for the channel and once for each pattern that matches.
func (s *Server) publish(channel, message string) int {
	n := 0
	for _, c := range s.conns {
		if slices.Contains(c.channels, channel) {
			c.push(frame(c, "message", channel, message))
			n++
		}
		for _, p := range c.patterns {
			if match(p, channel) {
				c.push(frame(c, "pmessage", p, channel, message))
				n++
			}
		}
	}
	return n
}

// flushed tells the tracking connections that everything is gone, and the
// watching ones.
func (s *Server) flushed() {
	for _, c := range s.conns {
		if c.tracking && c.x.peer.Resp3 {
			c.push([]byte(">2\r\n$10\r\ninvalidate\r\n_\r\n"))
		}
		c.touched = c.touched || len(c.watched) > 0
	}
}

// frame is a push of bulk strings to c.
func frame(c *conn, words ...string) []byte {
	b := pushHeader(c, len(words))
	for _, w := range words {
		b = append(b, bulk(w)...)
	}
	return b
}

func pushHeader(c *conn, n int) []byte {
	kind := "*"
	if c.x.peer.Resp3 {
		kind = ">"
	}
	return []byte(kind + strconv.Itoa(n) + "\r\n")
}

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// subscriberMay says what a RESP2 connection may do while it is subscribed.
func subscriberMay(name string) bool {
	switch name {
	case "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PING", "QUIT":
		return true
	}
	return false
}

func subscribe(s *Server, x *session, args []string) {
	if len(args) < 2 {
		wrongNumber(x, args[0])
		return
	}
	kind, c := strings.ToLower(args[0]), x.conn
	list := c.list(kind)
	for _, name := range args[1:] {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
		x.peer.WriteRaw(string(c.confirmation(kind, bulk(name))))
	}
}

func unsubscribe(s *Server, x *session, args []string) {
	kind, c := strings.ToLower(args[0]), x.conn
	list, names := c.list(kind), args[1:]
	if len(names) == 0 {
		names = slices.Clone(*list)
	}
	for _, name := range names {
		if i := slices.Index(*list, name); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
		x.peer.WriteRaw(string(c.confirmation(kind, bulk(name))))
	}
	if len(names) == 0 {
		null := "$-1\r\n"
		if x.peer.Resp3 {
			null = "_\r\n"
		}
		x.peer.WriteRaw(string(c.confirmation(kind, null)))
	}
}

func (c *conn) list(kind string) *[]string {
	if kind[0] == 'p' {
		return &c.patterns
	}
	return &c.channels
}

func (c *conn) confirmation(kind, name string) []byte {
	b := append(pushHeader(c, 3), bulk(kind)+name...)
	return append(b, ":"+strconv.Itoa(len(c.channels)+len(c.patterns))+"\r\n"...)
}

func publish(s *Server, x *session, args []string) {
	if len(args) != 3 {
		wrongNumber(x, args[0])
		return
	}
	x.peer.WriteInt(s.publish(args[1], args[2]))
}

func pubsub(s *Server, x *session, args []string) {
	if len(args) < 2 {
		wrongNumber(x, args[0])
		return
	}
	switch sub := upper(args[1]); {
	case sub == "CHANNELS" && len(args) <= 3:
		var found []string
		for _, c := range s.conns {
			for _, name := range c.channels {
				if (len(args) == 2 || match(args[2], name)) && !slices.Contains(found, name) {
					found = append(found, name)
				}
			}
		}
		slices.Sort(found)
		x.peer.WriteStrings(found)
	case sub == "NUMSUB":
		x.peer.WriteLen(2 * len(args[2:]))
		for _, name := range args[2:] {
			n := 0
			for _, c := range s.conns {
				if slices.Contains(c.channels, name) {
					n++
				}
			}
			x.peer.WriteBulk(name)
			x.peer.WriteInt(n)
		}
	case sub == "NUMPAT" && len(args) == 2:
		distinct := make(map[string]bool)
		for _, c := range s.conns {
			for _, p := range c.patterns {
				distinct[p] = true
			}
		}
		x.peer.WriteInt(len(distinct))
	default:
		unknownSubcommand(x, "PUBSUB", args[1])
	}
}

// ping answers a RESP2 subscriber in the form of a message. It needs no word
// about order: whatever ran before has queued its events before this reply.
func ping(s *Server, x *session, args []string) {
	if len(args) > 2 {
		wrongNumber(x, args[0])
		return
	}
	switch {
	case !x.peer.Resp3 && len(x.conn.channels)+len(x.conn.patterns) > 0:
		x.peer.WriteStrings([]string{"pong", strings.Join(args[1:], "")})
	case len(args) == 1:
		x.peer.WriteInline("PONG")
	default:
		x.peer.WriteBulk(args[1])
	}
}
