package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/examples/internal/reach"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// options are the flags, understood.
type options struct {
	redis    *redis.Options
	cluster  bool     // redis is a node of a Cluster
	primary  string   // redis is a Sentinel: the name it has for the primary
	prefixes []string // what Redis is asked to send; nil for every key
	dbs      []int    // nil for the one in redis
	flags    notify.Flags
	reader   notify.Reader
	format   string
	count    int // 0: no end
}

const queue = 1 << 16 // events that may wait for a slow terminal or pipe

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("watch", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the error is told by who called, the help below
	where := fs.String("redis", "localhost:6379", "`host:port`, or redis://user:password@host:port/db")
	fs.BoolVar(&o.cluster, "cluster", false, "the server is a node of a Cluster: watch all of it")
	fs.StringVar(&o.primary, "sentinel", "", "the server is a Sentinel: watch the primary that it calls `name`")
	user := fs.String("user", "", "user `name`, where the server has ACLs")
	password := fs.String("password", "", "`password`; better in the environment, as REDISCLI_AUTH")
	db := fs.Int("db", 0, "`number` of the database, -1 for all")
	pattern := fs.String("pattern", "*", "Redis `glob` that the key must match; quote it for the shell")
	events := fs.String("events", "", "only these, such as set,del,expired; default all (`names` are Redis's own)")
	fs.StringVar(&o.format, "format", "text", "`text`, csv or json (an object a line; key_base64 for a key that is no UTF-8)")
	fs.IntVar(&o.count, "count", 0, "end after `N` changes; 0: never")
	trust := fs.Bool("trust", false, "take it that notifications are on: change nothing and write nothing")
	if err := fs.Parse(args); err != nil {
		if err == flag.ErrHelp {
			fs.SetOutput(stderr)
			fs.Usage()
			return o, err
		}
		return o, fmt.Errorf("%w: -h tells of every flag", err)
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("%q is one argument too many: quote the pattern (-pattern 'product:*'), or the shell expands it",
			fs.Arg(0))
	case *pattern == "":
		return o, fmt.Errorf("-pattern is empty: give a glob, or '*' for every key")
	case formats[o.format] == nil:
		return o, fmt.Errorf("-format is %q: give one of %s", o.format, strings.Join(slices.Sorted(maps.Keys(formats)), ", "))
	case o.count < 0:
		return o, fmt.Errorf("-count is %d: give how many changes to wait for, or 0 for no end", o.count)
	case o.cluster && o.primary != "":
		return o, errors.New("-cluster and -sentinel are two things: give one")
	case o.cluster && *db != 0:
		return o, fmt.Errorf("-db is %d: a Cluster has database 0 alone", *db)
	case *db < notify.AllDBs:
		return o, fmt.Errorf("-db is %d: databases are numbered from 0; -1 is all", *db)
	}
	o.reader = notify.Reader{Pattern: *pattern, Queue: queue}
	if *events != "" {
		for name := range strings.SplitSeq(*events, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return o, fmt.Errorf("-events is %q, with an empty name: give names between commas, such as set,expired", *events)
			}
			o.reader.Names = append(o.reader.Names, name)
		}
	}
	if err := o.reader.Validate(); err != nil {
		return o, fmt.Errorf("-pattern or -events: %w", err)
	}
	if prefix := literalPrefix(*pattern); prefix != "" {
		o.prefixes = []string{prefix}
	}
	if *trust {
		o.flags = notify.FlagsTrust
	}
	if o.redis, err = reach.Options(*where); err != nil {
		return o, err
	}
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "db":
			if o.redis.DB = max(0, *db); *db == notify.AllDBs {
				o.dbs = []int{notify.AllDBs}
			}
		case "user":
			o.redis.Username = *user
		case "password":
			o.redis.Password = *password
		}
	})
	if o.redis.Password == "" {
		o.redis.Password = os.Getenv("REDISCLI_AUTH")
	}
	return o, nil
}

// client is what is watched, and what the listener wants to know beside it.
func (o *options) client() (redis.UniversalClient, *redis.FailoverOptions) {
	switch r := o.redis; {
	case o.cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{r.Addr}, Username: r.Username, Password: r.Password, TLSConfig: r.TLSConfig,
			MaxRetries: r.MaxRetries, DialerRetries: r.DialerRetries,
		}), nil
	case o.primary != "":
		sentinels := &redis.FailoverOptions{
			SentinelAddrs: []string{r.Addr}, MasterName: o.primary, DB: r.DB, Username: r.Username, Password: r.Password,
			TLSConfig: r.TLSConfig, MaxRetries: r.MaxRetries, DialerRetries: r.DialerRetries,
		}
		return redis.NewFailoverClient(sentinels), sentinels
	default:
		return redis.NewClient(r), nil
	}
}

// literalPrefix is what every key begins with that the glob matches, so that Redis need send no other's events.
func literalPrefix(glob string) string {
	var prefix []byte
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*', '?', '[':
			return string(prefix)
		case '\\':
			if i+1 < len(glob) { // at the very end a backslash is itself
				i++
			}
		}
		prefix = append(prefix, glob[i])
	}
	return string(prefix)
}
