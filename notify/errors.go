package notify

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/gofreshet/freshet/internal/account"
	"github.com/redis/go-redis/v9"
)

var (
	// ErrClosed is what every method answers after Close, and how a stream ends then.
	ErrClosed = errors.New("notify: closed")

	// ErrNotEnabled is wrapped by the [SetupError] that says which flags are missing and may not be set.
	ErrNotEnabled = errors.New("notify: keyspace notifications are off and may not be switched on")

	// ErrUnsupported is wrapped when the client or the server is of a kind that cannot be listened to.
	ErrUnsupported = errors.New("notify: client or server not supported")
)

// What a [SetupError] may find missing.
const (
	MissingFlags    = "flags"    // notify-keyspace-events lacks something; Fix is the line of redis.conf
	MissingACL      = "acl"      // the user may not do what is needed; Fix is the ACL SETUSER command
	MissingAuth     = "auth"     // the user name or password is wrong or absent
	MissingVersion  = "version"  // the server is older than Redis 6.0, or does not say what it is
	MissingRole     = "role"     // the server is a replica or a Sentinel: events and loads need one primary
	MissingDatabase = "database" // a database is not on the server; Fix is the line of redis.conf
	MissingEndpoint = "endpoint" // a Cluster does not tell its clients whom to dial; Fix is the line of redis.conf
)

// SetupError names the first thing that stands in the way and the exact line that mends it.
// At the start it fails [Listen]; later it keeps the listener down (see [Listener.Status]) until it is mended.
type SetupError struct {
	Missing string // one of the Missing... constants
	Fix     string // such as "notify-keyspace-events KA" or "ACL SETUSER app &__keyspace@0__:product:*"
	Err     error  // what the server said
}

func (e *SetupError) Error() string {
	s := "notify: setup: " + e.Missing + "; mend it with: " + e.Fix
	if e.Err != nil {
		s += "; the cause: " + e.Err.Error()
	}
	return s
}

func (e *SetupError) Unwrap() error { return e.Err }

// answered reports whether err is a reply of the server rather than trouble on the way to it.
func answered(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

// refused reports whether the server answered that it will not: the command is not permitted, not known, or
// the like. What passes by itself is not a refusal.
func refused(err error) bool {
	if !answered(err) || errors.Is(err, redis.Nil) {
		return false
	}
	for _, passing := range []string{"BUSY", "LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "max number of clients"} {
		if redis.HasErrorPrefix(err, passing) {
			return false
		}
	}
	return true
}

// broken reports whether err is the connection's, not a reply that cannot be read.
func broken(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, errRedial) || errors.As(err, &netErr)
}

// busy reports whether a script or function is running on the server: no proof, and no gap either.
func busy(err error) bool { return redis.HasErrorPrefix(err, "BUSY ") }

// outOfMemory reports whether the server may use no more: Redis 8.6 subscribes nobody then.
func outOfMemory(err error) bool { return redis.HasErrorPrefix(err, "OOM ") }

// noDatabase reports whether SELECT was answered that there is no such database.
func noDatabase(err error) bool {
	return redis.HasErrorPrefix(err, "DB index is out of range") || redis.HasErrorPrefix(err, "invalid DB index")
}

// handshakeFault turns an error of connecting into the SetupError it stands for, if any.
func handshakeFault(err error, user string) error {
	var fault *SetupError
	switch {
	case errors.As(err, &fault):
		return err
	case redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOAUTH"),
		redis.HasErrorPrefix(err, "invalid password"), redis.HasErrorPrefix(err, "invalid username-password"),
		redis.HasErrorPrefix(err, "AUTH "), redis.HasErrorPrefix(err, "Client sent AUTH"):
		fix := fmt.Sprintf("redis.Options{Username: %q, Password: <the password of that user>}", user)
		switch user {
		case account.Provided:
			fix = "a credentials provider that gives a user and a password which the server knows"
		case account.Certified:
			fix = "redis.Options{Username: <a user>, Password: <its password>}, or a certificate that names a user (tls-auth-clients-user)"
		}
		return &SetupError{MissingAuth, fix, err}
	case noDatabase(err):
		return &SetupError{MissingDatabase, "databases <a number above that of every database used>", err}
	case redis.HasErrorPrefix(err, "NOPERM"):
		return &SetupError{MissingACL, aclLine(user, "+@connection"), err}
	}
	return err
}

// aclLine is the command that gives user what it lacks.
func aclLine(user string, rules ...string) string {
	if user == "" {
		user = "default"
	}
	line := "ACL SETUSER " + user
	for _, r := range rules {
		line += " " + quoteArg(r)
	}
	return line
}

// quoteArg quotes an argument the way redis-cli reads it, where it must be quoted at all.
func quoteArg(s string) string {
	plain := s != ""
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\'' || s[i] == '\\' {
			plain = false
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
