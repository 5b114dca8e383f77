package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// source is what a client leads to: one server, or as many as an electorate says.
type source struct {
	db         int
	addr       string                          // of the one server
	server     func(addr string) redis.Options // how a server is dialled
	electorate electorate                      // nil: there is one server, which nobody deposes
	clustered  bool                            // keys have slots, and there is one database
}

// failoverAddr is what go-redis puts for the address of a client whose server Sentinels choose.
const failoverAddr = "FailoverClient"

// sourceOf says what rdb leads to.
func sourceOf(rdb redis.UniversalClient, opts *Options) (source, error) {
	switch c := rdb.(type) {
	case *redis.Client:
		if c == nil {
			break
		}
		o := *c.Options()
		if o.Addr == failoverAddr {
			return sentinelSource(o, opts)
		}
		if opts.Sentinel != nil {
			return source{}, errors.New("notify: Options.Sentinel is set and the client is not of redis.NewFailoverClient: " +
				"give the client made with these options, or leave Sentinel nil")
		}
		return source{db: o.DB, addr: o.Addr, server: func(string) redis.Options { return o }}, nil
	case *redis.ClusterClient:
		if c == nil {
			break
		}
		return clusterSource(c.Options(), opts)
	case nil:
	default:
		return source{}, fmt.Errorf("%w: a %T: give a *redis.Client or a *redis.ClusterClient", ErrUnsupported, rdb)
	}
	return source{}, errors.New("notify: the client is nil: give a *redis.Client or a *redis.ClusterClient")
}

// copySame sets the fields of dst to those of src that have their name and type: go-redis's own options for a server are
// made that way from those for a Cluster or a group of Sentinels, by code it keeps to itself.
func copySame(dst *redis.Options, src any) {
	to, from := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range to.NumField() {
		field := to.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		if same := from.FieldByName(field.Name); same.IsValid() && same.Type() == field.Type {
			to.Field(i).Set(same)
		}
	}
}

// booths are the connections on which voters are asked.
type booths struct {
	server   func(addr string) redis.Options
	patience time.Duration

	mu      sync.Mutex
	clients map[string]*redis.Client
	closed  bool
}

func (b *booths) at(addr string) *redis.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[addr]
	if c == nil {
		o := plainOptions(b.server(addr), b.patience)
		o.PoolSize = 2 // a view may be taken while a poll is under way
		c = redis.NewClient(o)
		if b.closed {
			_ = c.Close()
			return c
		}
		if b.clients == nil {
			b.clients = make(map[string]*redis.Client)
		}
		b.clients[addr] = c
	}
	return c
}

// close ends the connections under whoever waits for an answer.
func (b *booths) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, c := range b.clients {
		_ = c.Close()
	}
}

// askAll asks addrs, and whom their answers name, each at once: who is silent holds up nobody but the end. What comes
// back is by address; failed says why others gave no answer.
func askAll[T any](ctx context.Context, limit time.Duration, addrs []string, ask func(ctx context.Context, addr string) (T, error),
	names func(T) []string) (answers map[string]T, failed error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var (
		mu      sync.Mutex
		asking  sync.WaitGroup
		known   = make(map[string]bool)
		inquire func(addrs []string)
	)
	answers = make(map[string]T)
	inquire = func(addrs []string) { // mu is held
		for _, addr := range addrs {
			if known[addr] {
				continue
			}
			known[addr] = true
			asking.Go(func() {
				answer, err := ask(ctx, addr)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = join(failed, fmt.Errorf("%s: %w", addr, err))
					return
				}
				answers[addr] = answer
				inquire(names(answer))
			})
		}
	}
	mu.Lock()
	inquire(addrs)
	mu.Unlock()
	asking.Wait()
	return answers, failed
}

// reach is addr as it can be dialled, when a node at origin told of it: as go-redis's client of the Cluster has it, so that a
// Dialer is asked for the same. A node may also leave out what it does not know of itself.
func reach(addr, origin string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	fromHost, fromPort, err := net.SplitHostPort(origin)
	if err != nil {
		return addr
	}
	if host == "" || host == "?" || isLoopback(host) && !local(fromHost) {
		host = fromHost
	}
	if port == "0" {
		port = fromPort
	}
	return net.JoinHostPort(host, port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// local reports whether what host calls loopback is our own.
func local(host string) bool {
	host = strings.ToLower(host)
	return isLoopback(host) || host == "localhost" || strings.HasSuffix(host, ".docker.internal")
}

// noMajority is the error of a view that none agrees on; err says why some gave no answer, if it is not nil.
func noMajority(on string, err error) error {
	if err == nil {
		return fmt.Errorf("notify: %w on %s", errNoMajority, on)
	}
	return fmt.Errorf("notify: %w on %s: %w", errNoMajority, on, err)
}

// join is errors.Join on one line: it comes to be read in a log.
func join(errs, err error) error {
	if errs == nil {
		return err
	}
	return fmt.Errorf("%w; %w", errs, err)
}

// refusedFault is the SetupError for voters that do not let themselves be asked, if one of them said so.
func refusedFault(err error, user string, rules ...string) *SetupError {
	for _, err := range unjoin(err) {
		var fault *SetupError
		if redis.HasErrorPrefix(err, "NOPERM") {
			return &SetupError{MissingACL, aclLine(user, rules...), err}
		}
		if errors.As(handshakeFault(err, user), &fault) {
			return fault
		}
	}
	return nil
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, unjoin(err)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
