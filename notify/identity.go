package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// identity is what a server says it is. What it refuses to say is "".
type identity struct {
	version string
	role    string // "master", or what else HELLO or ROLE call it
	runID   string // of the process; "" where INFO is refused
	primary string // of a replica, host:port
	proto   int    // 2 or 3
	mode    string // "standalone", "sentinel" or "cluster"; "" when it does not tell
}

// question is an identity that has been asked for in a pipeline.
type question struct{ hello, info *redis.Cmd }

// askIdentity puts the questions into p. HELLO tells role and version and is refused to nobody; INFO, which alone tells
// the run id, is left out where it is known to be refused, since each refusal goes into the server's ACL log.
func askIdentity(ctx context.Context, p redis.Pipeliner, info bool) (q question) {
	q.hello = p.Do(ctx, "HELLO", "3")
	if info {
		q.info = p.Do(ctx, "INFO", "server")
	}
	return q
}

func (q question) answer() (id identity) {
	hello := fields(q.hello.Val())
	id.version, id.role = hello["version"], hello["role"]
	id.proto, _ = strconv.Atoi(hello["proto"])
	id.mode = hello["mode"]
	if q.info != nil {
		text, _ := q.info.Text()
		id.runID, id.version = infoField(text, "run_id"), cmp.Or(id.version, infoField(text, "redis_version"))
	}
	return id
}

// infoField is a field of a reply to INFO; "" if it is not there.
func infoField(text, field string) string {
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); name == field {
			return value
		}
	}
	return ""
}

// identify asks on a connection that is being made.
func identify(ctx context.Context, conn *redis.Conn) (identity, error) {
	var q question
	cmds, _ := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		q = askIdentity(ctx, p, true)
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && (!refused(err) || redis.HasErrorPrefix(err, "NOAUTH")) {
			return identity{}, err
		}
	}
	id := q.answer()
	if id.role == "master" {
		return id, nil
	}
	// Not a primary, or one that does not speak HELLO: ROLE tells, and whose replica it is.
	reply, err := conn.Do(ctx, "ROLE").Result()
	if err != nil && !answered(err) {
		return identity{}, err
	}
	role, _ := reply.([]any)
	if len(role) > 0 {
		id.role, _ = role[0].(string)
	}
	if len(role) > 2 {
		host, _ := role[1].(string)
		port, _ := role[2].(int64)
		id.primary = net.JoinHostPort(host, strconv.FormatInt(port, 10))
	}
	return id, nil
}

// fault says why this server cannot be listened to, if so.
func (id identity) fault() error {
	major, _, _ := strings.Cut(id.version, ".")
	n, err := strconv.Atoi(major)
	switch {
	case id.version == "":
		return &SetupError{MissingVersion, "Redis 6.0 or newer, or Valkey",
			fmt.Errorf("%w: the server does not tell its version", ErrUnsupported)}
	case err != nil:
		return &SetupError{MissingVersion, "Redis 6.0 or newer, or Valkey",
			fmt.Errorf("%w: the server calls its version %q", ErrUnsupported, id.version)}
	case n < 6:
		return &SetupError{MissingVersion, "Redis 6.0 or newer, or Valkey",
			fmt.Errorf("%w: the server is version %s", ErrUnsupported, id.version)}
	case id.role == "master" || id.role == "":
		return nil
	case id.role == "sentinel":
		return &SetupError{MissingRole, "redis.Options{Addr: <the primary's address>}", errors.New("the server is a Sentinel")}
	}
	addr := "<the primary's address>"
	if id.primary != "" {
		addr = strconv.Quote(id.primary)
	}
	return &SetupError{MissingRole, "redis.Options{Addr: " + addr + "}",
		fmt.Errorf("the server is a replica (%s): loads must read the primary that sends the events", id.role)}
}

// fields reads a reply of names and values: a map, or RESP2's flat array.
func fields(reply any) map[string]string {
	out := make(map[string]string)
	set := func(k, v any) {
		name, ok := k.(string)
		if !ok {
			return
		}
		switch v := v.(type) {
		case string:
			out[name] = v
		case int64:
			out[name] = strconv.FormatInt(v, 10)
		}
	}
	switch reply := reply.(type) {
	case map[any]any:
		for k, v := range reply {
			set(k, v)
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			set(reply[i], reply[i+1])
		}
	}
	return out
}
