package notify

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// AllDBs in [Options.DBs] listens to every database.
const AllDBs = -1

// Flags decides what may be done about notify-keyspace-events.
type Flags uint8

const (
	FlagsAuto   Flags = iota // add what is missing; where CONFIG is refused, prove by canary; else fail
	FlagsVerify              // change no configuration; prove by CONFIG GET or canary; else fail
	FlagsTrust               // ask nothing of the configuration, write nothing: for users that may only read. Status says "unproven"
)

// Options for [Listen]. The zero value listens to every key of the client's database.
type Options struct {
	// Prefixes subscribes to the keys with these prefixes only; they are escaped for you. Nil: every key.
	// Redis matches every pattern of every subscriber against every event, one by one, so a few are well
	// and hundreds are not.
	Prefixes []string

	// DBs are the databases to listen to. Nil: the client's own. AllDBs alone: every one.
	DBs []int

	// Channels is Keyspace by default; see the package comment for what either costs.
	Channels Channels

	Flags Flags

	// Sentinel is needed with a client of redis.NewFailoverClient, which does not tell it: the options that the client was
	// made with, TLSConfig included. The Sentinels listed, and those they know of, are asked every Heartbeat who the primary
	// is. All that they tell is dialled as they tell it, by Dialer if there is one.
	Sentinel *redis.FailoverOptions

	// Namespace is the prefix of every key Freshet writes: markers and canaries. Default "freshet:".
	Namespace string

	// Heartbeat is the cadence of the pings that prove the stream. Default 250ms.
	Heartbeat time.Duration

	// PongTimeout is how long a ping may stay unanswered without one byte received; longer is a gap.
	// Default 4 * Heartbeat.
	PongTimeout time.Duration

	// AuditEvery is the cadence at which the source itself is proven: the flags, the markers, the server's identity.
	// A SWAPDB, or notifications switched off, is found within AuditEvery + PongTimeout. Default 1s. Negative: never.
	AuditEvery time.Duration

	// Backoff gives the pause before attempt 0, 1, 2, ... to get a session back. Nil: 50ms doubling to 5s, half of it
	// random. A session counts as got back when it has answered its first ping.
	Backoff func(attempt int) time.Duration

	// StartDown lets Listen return though Redis cannot be reached; the listener keeps trying.
	// What the operator must mend (a *SetupError) fails it still.
	StartDown bool

	Logger *slog.Logger // nil: silent
	Hooks  Hooks
}

// What zero means in [Options].
const (
	DefaultNamespace = "freshet:"
	DefaultHeartbeat = 250 * time.Millisecond
)

const (
	defaultAudit    = time.Second
	shortestCadence = time.Millisecond
)

// Validate names the first field that cannot work, and what to put there instead.
func (o *Options) Validate() error {
	if o.Prefixes != nil && len(o.Prefixes) == 0 {
		return fmt.Errorf("notify: Options.Prefixes is empty: name a prefix, or leave it nil for every key")
	}
	if slices.Contains(o.Prefixes, "") {
		return fmt.Errorf("notify: Options.Prefixes holds an empty prefix: leave Prefixes nil for every key")
	}
	if o.DBs != nil && len(o.DBs) == 0 {
		return fmt.Errorf("notify: Options.DBs is empty: name a database, or leave it nil for the client's own")
	}
	for _, db := range o.DBs {
		if db < AllDBs {
			return fmt.Errorf("notify: Options.DBs holds %d: databases are numbered from 0; AllDBs is %d", db, AllDBs)
		}
		if db == AllDBs && len(o.DBs) > 1 {
			return fmt.Errorf("notify: Options.DBs holds AllDBs beside others: give AllDBs alone")
		}
	}
	if o.Channels > Keyevent {
		return fmt.Errorf("notify: Options.Channels is %d: choose Keyspace or Keyevent", o.Channels)
	}
	if o.Flags > FlagsTrust {
		return fmt.Errorf("notify: Options.Flags is %d: choose FlagsAuto, FlagsVerify or FlagsTrust", o.Flags)
	}
	if o.Heartbeat < 0 || o.Heartbeat > 0 && o.Heartbeat < shortestCadence {
		return fmt.Errorf("notify: Options.Heartbeat is %v: give at least %v, or 0 for %v", o.Heartbeat, shortestCadence, DefaultHeartbeat)
	}
	if o.PongTimeout < 0 {
		return fmt.Errorf("notify: Options.PongTimeout is %v: give at least Heartbeat, or 0 for four of them", o.PongTimeout)
	}
	if d := o.withDefaults(); d.PongTimeout < d.Heartbeat {
		return fmt.Errorf("notify: Options.PongTimeout (%v) is below Heartbeat (%v): give at least Heartbeat, better four of them", d.PongTimeout, d.Heartbeat)
	}
	if o.AuditEvery > 0 && o.AuditEvery < shortestCadence {
		return fmt.Errorf("notify: Options.AuditEvery is %v: give at least %v, 0 for %v, or a negative one for never", o.AuditEvery, shortestCadence, defaultAudit)
	}
	return nil
}

// withDefaults fills in what was left zero. It expects what Validate has passed.
func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.PongTimeout == 0 {
		o.PongTimeout = 4 * o.Heartbeat
	}
	if o.AuditEvery == 0 {
		o.AuditEvery = defaultAudit
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	o.Prefixes = minimal(o.Prefixes)
	o.DBs = slices.Clone(o.DBs)
	slices.Sort(o.DBs)
	o.DBs = slices.Compact(o.DBs)
	return o
}

// backoff doubles from 50ms to 5s; half of it is random, so that a thousand instances do not return at once.
func backoff(attempt int) time.Duration {
	d := 5 * time.Second
	if attempt < 7 {
		d = 50 * time.Millisecond << attempt
	}
	return d/2 + rand.N(d/2)
}

// minimal leaves out the prefixes that another one covers: Redis would send their events twice.
func minimal(prefixes []string) []string {
	var out []string
	sorted := slices.Clone(prefixes)
	slices.Sort(sorted) // what covers a prefix sorts before it
	for _, p := range sorted {
		if !covered(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// covered reports whether every key that begins with prefix also begins with one of prefixes.
func covered(prefixes []string, prefix string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(prefix, p) })
}
