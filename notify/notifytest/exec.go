package notifytest

import (
	"bufio"
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

func upper(s string) string { return strings.ToUpper(s) }

// handler executes a command that this package keeps itself; it writes one reply to x.peer.
type handler func(s *Server, x *session, args []string)

// session is where commands run: a connection, or a script of one.
type session struct {
	s    *Server
	conn *conn // whose connection, or whose script
	db   int
	peer *server.Peer // miniredis's side of it; writes to out
	out  bytes.Buffer
	// probe is peer with an output of its own, always RESP2.
	probe    *server.Peer
	probeOut bytes.Buffer
}

func newSession(s *Server, c *conn) *session {
	x := &session{s: s, conn: c}
	x.peer = server.NewPeer(bufio.NewWriter(&x.out))
	x.probe = server.NewPeer(bufio.NewWriter(&x.probeOut))
	return x
}

// pass hands a command to miniredis as it is.
func (x *session) pass(args []string) {
	x.s.ours = true
	x.s.srv.Dispatch(x.peer, args)
}

// passNow is pass for a command that miniredis might wait in, with the lock
// held: within a transaction it answers at once.
func (x *session) passNow(args []string) {
	x.pass([]string{"MULTI"})
	x.take()
	x.pass(args)
	answer := x.take()
	if answer[0] == '-' {
		x.pass([]string{"DISCARD"})
		x.take()
	} else {
		x.pass([]string{"EXEC"})
		answer = bytes.TrimPrefix(x.take(), []byte("*1\r\n"))
	}
	x.peer.WriteRaw(string(answer))
}

// take returns what has been written to peer since the last take.
func (x *session) take() []byte {
	x.peer.Flush()
	b := bytes.Clone(x.out.Bytes())
	x.out.Reset()
	return b
}

// ask reads in the session's database, past the session's reply.
func (x *session) ask(args ...string) reply {
	x.probe.Ctx = x.peer.Ctx
	x.s.ours = true
	x.s.srv.Dispatch(x.probe, args)
	x.probe.Flush()
	r := parseReply(x.probeOut.Bytes())
	x.probeOut.Reset()
	return r
}

// run serves one request of a client, from taking the lock to queueing the
// reply under it: whatever the command published is queued before. A client
// that blocks tries again after each change; at XREAD's first try miniredis
// has put the last ID in the place of $, in these very args.
func (s *Server) run(c *conn, args []string) {
	args, wait, blocks := unblocked(args)
	var timeout <-chan time.Time
	if wait > 0 {
		timeout = time.After(wait)
	}
	for last := false; ; {
		s.mu.Lock()
		if s.ending {
			s.mu.Unlock()
			return
		}
		s.reap()
		c.executing, c.last = true, args[0]
		reply := s.execute(c, args)
		c.executing = false
		if !blocks || last || parseReply(reply).kind != '_' {
			c.queue(append(reply, c.deferred...))
			c.deferred = nil
			if c.leaving {
				c.hangUp()
			}
			s.mu.Unlock()
			return
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			last = true
		case <-c.gone:
			return
		}
	}
}

// execute is run under the lock: what depends on the connection's state, then
// exec. It returns the whole reply.
func (s *Server) execute(c *conn, args []string) []byte {
	x := c.x
	if x.peer.Ctx == nil {
		x.ask("PING") // miniredis makes its context at the first command; both peers share it
		x.peer.Ctx = x.probe.Ctx
	}
	name := upper(args[0])
	if s.owned[name] != nil || name == "WATCH" {
		if r := x.ask("ECHO", ""); strings.HasPrefix(r.text, "NOAUTH") && name != "HELLO" && name != "QUIT" {
			return []byte("-" + r.text + "\r\n")
		}
	}
	if len(c.channels)+len(c.patterns) > 0 && !x.peer.Resp3 && !subscriberMay(name) {
		x.peer.WriteError("ERR Can't execute '" + strings.ToLower(args[0]) +
			"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
		return x.take()
	}
	switch name {
	case "MULTI":
		c.multi = true // again: miniredis says that it cannot be nested
	case "EXEC", "DISCARD":
		if c.multi {
			return s.endMulti(c, name == "EXEC")
		}
	case "WATCH":
		if !c.multi && len(args) > 1 {
			if c.watched == nil {
				c.watched = make(map[dbKey]bool)
			}
			for _, key := range args[1:] {
				c.watched[dbKey{x.db, key}] = true
			}
		}
	case "UNWATCH":
		c.watched, c.touched = nil, false
	default:
		if c.multi {
			return s.enqueue(c, name, args)
		}
		return s.exec(x, args)
	}
	x.pass(args)
	return x.take()
}

// enqueue lets miniredis, which is in a MULTI as well, check the arguments.
func (s *Server) enqueue(c *conn, name string, args []string) []byte {
	if s.owned[name] == nil {
		c.x.pass(args)
		if answer := c.x.take(); answer[0] == '-' {
			c.aborted = true
			return answer
		}
	}
	c.queued = append(c.queued, args)
	return []byte("+QUEUED\r\n")
}

func (s *Server) endMulti(c *conn, exec bool) []byte {
	queued, aborted, touched := c.queued, c.aborted, c.touched
	c.multi, c.queued, c.aborted, c.watched, c.touched = false, nil, false, nil, false
	c.x.pass([]string{"DISCARD"}) // what miniredis queued was for checking alone
	discarded := c.x.take()
	switch {
	case !exec:
		return discarded
	case aborted:
		return []byte("-EXECABORT Transaction discarded because of previous errors.\r\n")
	case touched && c.x.peer.Resp3:
		return []byte("_\r\n")
	case touched:
		return []byte("*-1\r\n")
	}
	all := []byte("*" + strconv.Itoa(len(queued)) + "\r\n")
	for _, args := range queued {
		args, _, _ = unblocked(args)
		all = append(all, s.exec(c.x, args)...)
	}
	return all
}

// exec runs one command, of a client, an EXEC or a script, and sends its events.
func (s *Server) exec(x *session, args []string) []byte {
	name := upper(args[0])
	if h := s.owned[name]; h != nil {
		h(s, x, args)
		return x.take()
	}
	if strings.HasPrefix(name, "EVAL") {
		s.caller = x.conn
		defer clear(s.scripts)
	}
	w, ok := s.writes[name]
	if !ok {
		x.pass(args)
		return x.take()
	}
	c := &call{session: x, name: name, args: args}
	c.before(w)
	if blocking(name) {
		x.passNow(c.args)
	} else {
		x.pass(c.args)
	}
	answer := x.take()
	c.reply = parseReply(answer)
	if c.reply.kind != '-' {
		c.after(w)
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return answer
}

// fromScript is miniredis's hook. It takes over the commands of scripts: they
// come on the goroutine that runs the script, so the lock is held.
func (s *Server) fromScript(p *server.Peer, name string, args ...string) bool {
	if s.ours {
		s.ours = false
		return false
	}
	words := append([]string{name}, args...)
	if _, _, blocks := unblocked(words); blocks || notFromScripts(name) {
		p.WriteError("ERR This Redis command is not allowed from script")
		return true
	}
	x := s.scripts[p.Ctx]
	if x == nil {
		x = newSession(s, s.caller)
		x.db, x.peer.Ctx = s.caller.x.db, p.Ctx
		s.scripts[p.Ctx] = x
	}
	p.WriteRaw(string(s.exec(x, words)))
	return true
}

// blocking says whether miniredis may wait in the command.
func blocking(name string) bool {
	switch name {
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX", "BZMPOP":
		return true
	}
	return false
}

func notFromScripts(name string) bool {
	switch name {
	case "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "CLIENT", "HELLO", "QUIT", "CONFIG":
		return true
	}
	return blocking(name)
}

// unblocked says how long a client wants to wait in a command (0: for ever),
// and takes XREAD's BLOCK away, without which it does not wait.
func unblocked(args []string) (words []string, wait time.Duration, blocks bool) {
	at, unit := -1, time.Second
	switch name := upper(args[0]); name {
	case "BZMPOP":
		at = 1
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX":
		at = len(args) - 1
	case "XREAD", "XREADGROUP":
		for i, a := range args {
			if upper(a) == "STREAMS" {
				break
			}
			if upper(a) == "BLOCK" {
				at, unit = i+1, time.Millisecond
			}
		}
	}
	if at < 1 || at >= len(args) {
		return args, 0, false
	}
	n, err := strconv.ParseFloat(args[at], 64)
	if err != nil || n < 0 || n*float64(unit) > math.MaxInt64 {
		return args, 0, false // miniredis says what is wrong
	}
	if unit == time.Millisecond {
		args = slices.Delete(slices.Clone(args), at-1, at+1)
	}
	return args, time.Duration(n * float64(unit)), true
}
