package notifytest

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// version is the Redis whose events are emulated.
const version = "7.0.15"

func ownedCommands() map[string]handler {
	return map[string]handler{
		"SUBSCRIBE": subscribe, "PSUBSCRIBE": subscribe,
		"UNSUBSCRIBE": unsubscribe, "PUNSUBSCRIBE": unsubscribe,
		"PUBLISH": publish, "PUBSUB": pubsub, "PING": ping,
		"FLUSHALL": flush, "FLUSHDB": flush,
		"TTL": ttl, "PTTL": ttl, "EXPIRETIME": ttl, "PEXPIRETIME": ttl,
		"HTTL": fieldTTL, "HPTTL": fieldTTL,
		"HELLO": hello, "CLIENT": client, "CONFIG": config, "INFO": info, "ROLE": role, "QUIT": quit,
	}
}

func wrongNumber(x *session, command string) {
	x.peer.WriteError("ERR wrong number of arguments for '" + strings.ToLower(command) + "' command")
}

func unknownSubcommand(x *session, command, sub string) {
	x.peer.WriteError("ERR unknown subcommand '" + sub + "'. Try " + command + " HELP.")
}

func quit(s *Server, x *session, args []string) {
	x.peer.WriteOK()
	x.conn.leaving = true
}

// flush takes SYNC, which miniredis does not know.
func flush(s *Server, x *session, args []string) {
	if len(args) > 2 || len(args) == 2 && upper(args[1]) != "SYNC" && upper(args[1]) != "ASYNC" {
		x.peer.WriteError("ERR syntax error")
		return
	}
	x.pass(args[:1])
	all := upper(args[0]) == "FLUSHALL"
	s.keepTTLs(func(db int) (int, bool) { return db, !all && db != x.db })
	s.flushed()
}

func role(s *Server, x *session, args []string) {
	x.peer.WriteLen(3)
	x.peer.WriteBulk("master")
	x.peer.WriteInt(0)
	x.peer.WriteLen(0)
}

// hello leaves protocol and password to miniredis and answers as Redis.
func hello(s *Server, x *session, args []string) {
	if len(args) > 1 {
		x.pass(args)
		if answer := x.take(); answer[0] == '-' {
			x.peer.WriteRaw(string(answer))
			return
		}
		for i := 2; i+1 < len(args); i++ {
			if upper(args[i]) == "SETNAME" {
				x.conn.name = args[i+1]
			}
		}
	}
	proto := 2
	if x.peer.Resp3 {
		proto = 3
	}
	x.peer.WriteMapLen(7)
	for _, field := range [][2]string{{"server", "redis"}, {"version", version}, {"mode", "standalone"}, {"role", "master"}} {
		x.peer.WriteBulk(field[0])
		x.peer.WriteBulk(field[1])
	}
	x.peer.WriteBulk("proto")
	x.peer.WriteInt(proto)
	x.peer.WriteBulk("id")
	x.peer.WriteInt(int(x.conn.id))
	x.peer.WriteBulk("modules")
	x.peer.WriteLen(0)
}

// config knows one parameter; a GET of any other finds nothing.
func config(s *Server, x *session, args []string) {
	const name = "notify-keyspace-events"
	if len(args) < 3 {
		wrongNumber(x, "config")
		return
	}
	switch upper(args[1]) {
	case "GET":
		if !slices.ContainsFunc(args[2:], func(p string) bool { return match(strings.ToLower(p), name) }) {
			x.peer.WriteMapLen(0)
			return
		}
		x.peer.WriteMapLen(1)
		x.peer.WriteBulk(name)
		x.peer.WriteBulk(s.flags.String())
	case "SET":
		if len(args) != 4 {
			wrongNumber(x, "config|set")
			return
		}
		if strings.ToLower(args[2]) != name {
			x.peer.WriteError("ERR Unknown option or number of arguments for CONFIG SET - '" + args[2] + "'")
			return
		}
		f, ok := parseFlags(args[3])
		if !ok {
			x.peer.WriteError("ERR CONFIG SET failed (possibly related to argument '" + args[2] +
				"') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
			return
		}
		s.flags = f
		x.peer.WriteOK()
	default:
		unknownSubcommand(x, "CONFIG", args[1])
	}
}

func info(s *Server, x *session, args []string) {
	_, port, _ := net.SplitHostPort(s.Addr)
	uptime := int(time.Since(s.started).Seconds())
	sections := []struct{ name, body string }{
		{"Server", fmt.Sprintf("redis_version:%s\r\nredis_mode:standalone\r\nrun_id:%s\r\ntcp_port:%s\r\nuptime_in_seconds:%d\r\n",
			version, s.runID, port, uptime)},
		{"Clients", fmt.Sprintf("connected_clients:%d\r\n", len(s.conns))},
		{"Persistence", "loading:0\r\n"},
		{"Replication", "role:master\r\nconnected_slaves:0\r\n"},
	}
	wanted := args[1:]
	all := len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		return slices.Contains([]string{"all", "default", "everything"}, strings.ToLower(w))
	})
	var found []string
	for _, section := range sections {
		if all || slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, section.name) }) {
			found = append(found, "# "+section.name+"\r\n"+section.body)
		}
	}
	x.peer.WriteBulk(strings.Join(found, "\r\n"))
}

func client(s *Server, x *session, args []string) {
	if len(args) < 2 {
		wrongNumber(x, "client")
		return
	}
	c, rest := x.conn, args[2:]
	switch sub := upper(args[1]); {
	case sub == "ID" && len(rest) == 0:
		x.peer.WriteInt(int(c.id))
	case sub == "GETNAME" && len(rest) == 0:
		if c.name == "" {
			x.peer.WriteNull()
			return
		}
		x.peer.WriteBulk(c.name)
	case sub == "SETNAME" && len(rest) == 1:
		if strings.ContainsAny(rest[0], " \r\n") {
			x.peer.WriteError("ERR Client names cannot contain spaces, newlines or special characters.")
			return
		}
		c.name = rest[0]
		x.peer.WriteOK()
	case sub == "SETINFO" && len(rest) == 2:
		i := slices.Index([]string{"LIB-NAME", "LIB-VER"}, upper(rest[0]))
		if i < 0 {
			x.peer.WriteError("ERR Unrecognized option '" + rest[0] + "'")
			return
		}
		c.lib[i] = rest[1]
		x.peer.WriteOK()
	case sub == "INFO" && len(rest) == 0:
		x.peer.WriteBulk(c.String())
	case sub == "LIST":
		var b strings.Builder
		for _, c := range s.clients() {
			if len(rest) != 2 || upper(rest[0]) != "TYPE" || c.is(rest[1]) {
				b.WriteString(c.String())
			}
		}
		x.peer.WriteBulk(b.String())
	case sub == "KILL" && len(rest) > 0:
		clientKill(s, x, rest)
	case sub == "TRACKING" && len(rest) > 0:
		clientTracking(x, rest)
	case (sub == "NO-EVICT" || sub == "NO-TOUCH") && len(rest) == 1:
		x.peer.WriteOK() // nothing is ever evicted
	default:
		unknownSubcommand(x, "CLIENT", args[1])
	}
}

// clientTracking takes broadcasting mode alone: what it is emulated for is the
// null invalidation of a flush. Invalidations of keys are not sent, so a mode
// whose only use they are is refused.
func clientTracking(x *session, args []string) {
	on := upper(args[0]) == "ON"
	if !on && upper(args[0]) != "OFF" {
		x.peer.WriteError("ERR syntax error")
		return
	}
	if on && !slices.ContainsFunc(args, func(a string) bool { return upper(a) == "BCAST" }) {
		x.peer.WriteError("ERR notifytest: CLIENT TRACKING without BCAST is not emulated; use a real redis-server")
		return
	}
	x.conn.tracking = on
	x.peer.WriteOK()
}

func clientKill(s *Server, x *session, args []string) {
	var victims []*conn
	for _, c := range s.clients() {
		hit := len(args) == 1 && c.nc.RemoteAddr().String() == args[0]
		for i := 0; i+1 < len(args); i += 2 {
			switch upper(args[i]) {
			case "ID":
				hit = strconv.FormatInt(c.id, 10) == args[i+1]
			case "TYPE":
				hit = c.is(args[i+1])
			case "ADDR":
				hit = c.nc.RemoteAddr().String() == args[i+1]
			case "SKIPME":
				continue
			default:
				x.peer.WriteError("ERR syntax error")
				return
			}
			if !hit {
				break
			}
		}
		self := c == x.conn && len(args) > 1 // spared, unless it named itself by the old form
		if hit && !self {
			victims = append(victims, c)
		}
	}
	for _, c := range victims {
		if c == x.conn {
			c.hangUp()
		} else {
			c.kill()
			delete(s.conns, c.id) // it is gone for the next command, however long its goroutines take
		}
	}
	switch {
	case len(args) > 1:
		x.peer.WriteInt(len(victims))
	case len(victims) == 0:
		x.peer.WriteError("ERR No such client")
	default:
		x.peer.WriteOK()
	}
}

// clients are all connections, oldest first.
func (s *Server) clients() []*conn {
	return slices.SortedFunc(maps.Values(s.conns), func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
}

func (c *conn) is(kind string) bool {
	subscriber := len(c.channels)+len(c.patterns) > 0
	switch strings.ToLower(kind) {
	case "pubsub":
		return subscriber
	case "normal":
		return !subscriber
	}
	return false
}

// String is c's line in CLIENT LIST.
func (c *conn) String() string {
	mode := "N"
	if c.is("pubsub") {
		mode = "P"
	}
	proto := 2
	if c.x.peer.Resp3 {
		proto = 3
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=0 name=%s age=%d idle=0 flags=%s db=%d sub=%d psub=%d multi=%d cmd=%s user=default lib-name=%s lib-ver=%s resp=%d\n",
		c.id, c.nc.RemoteAddr(), c.nc.LocalAddr(), c.name, int(time.Since(c.since).Seconds()), mode, c.x.db,
		len(c.channels), len(c.patterns), c.inMulti(), strings.ToLower(c.last), c.lib[0], c.lib[1], proto)
}

func (c *conn) inMulti() int {
	if c.multi {
		return len(c.queued)
	}
	return -1
}
