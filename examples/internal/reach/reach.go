// Package reach is what the example programs share: finding a Redis by what was typed, and saying in plain words why it
// cannot be used.
package reach

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// Options reads host:port, or a URL such as redis://user:password@host:port/db, rediss:// for TLS, unix:// for a socket.
// Nothing is tried twice: a person waits for the answer.
func Options(where string) (*redis.Options, error) {
	o, err := options(where)
	if err != nil {
		return nil, err
	}
	o.MaxRetries, o.DialerRetries = -1, 1
	return o, nil
}

func options(where string) (*redis.Options, error) {
	if strings.Contains(where, "://") {
		o, err := redis.ParseURL(where)
		if err != nil { // which may hold the password, so where is not repeated
			return nil, fmt.Errorf("-redis is no URL of a Redis: %w: give redis://user:password@host:port/db", err)
		}
		return o, nil
	}
	host, port, err := net.SplitHostPort(where)
	if err != nil || port == "" {
		return nil, fmt.Errorf("-redis is %q: give host:port, such as localhost:6379, or redis://user:password@host:port/db",
			where)
	}
	return &redis.Options{Addr: net.JoinHostPort(cmp.Or(host, "localhost"), port)}, nil
}

// Explain tells a person why the Redis at addr cannot be used and what mends it.
func Explain(addr string, err error) string {
	var fault *notify.SetupError
	if !errors.As(err, &fault) {
		if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
			return fmt.Sprintf("Redis cannot be reached at %s (%v).\n"+
				"Start one there, or name another with -redis host:port.", addr, dial.Err)
		}
		return err.Error()
	}
	fix := fault.Fix
	var say string
	switch fault.Missing {
	case notify.MissingFlags:
		say = "Keyspace notifications are off at %s, or not all are on, and this user may not switch them on.\n" +
			"Put this line into redis.conf, or let an administrator give it to CONFIG SET:"
	case notify.MissingACL:
		say = "This user lacks a permission at %s. An administrator grants it with:"
	case notify.MissingAuth:
		say = "%s takes no such user name and password. In -redis they go like this:"
		fix = "redis://user:password@" + addr
	case notify.MissingDatabase:
		say = "%s has no such database: give a smaller number, or let redis.conf say:"
	default:
		say = "The server at %s will not do. What is needed:"
	}
	return fmt.Sprintf(say+"\n\n    %s\n\n(%v)", addr, fix, fault.Err)
}
