package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinels are the electorate of a primary with failover. A Sentinel leads a failover if a majority votes for it
// in a new term ("epoch"); when it is done, the primary's configuration epoch is that term.
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
type sentinels struct {
	name   string
	seeds  []string
	user   string
	booths booths
	server func(addr string) redis.Options

	mu     sync.Mutex
	called map[string]hostPort // what the Sentinel at an address last called the primary: it knows it by no other name
}

type hostPort struct{ host, port string }

// How long a Sentinel puts off a failover at most, and how long it then tries to be elected (SENTINEL_MAX_DESYNC,
// sentinel_election_timeout).
const (
	sentinelDesync   = time.Second
	sentinelElection = 10 * time.Second
)

// spent is how long after a vote nobody can be promoted by it any more: an elected Sentinel has its failover-timeout to
// have somebody promoted.
func (o opinion) spent() time.Duration {
	return sentinelDesync + min(sentinelElection, o.limit) + o.limit
}

func sentinelSource(client redis.Options, opts *Options) (source, error) {
	o := opts.Sentinel
	switch {
	case o == nil:
		return source{}, fmt.Errorf("%w: a client of redis.NewFailoverClient does not tell who its Sentinels are: "+
			"give the *redis.FailoverOptions it was made with as Options.Sentinel", ErrUnsupported)
	case len(o.SentinelAddrs) == 0 || o.MasterName == "":
		return source{}, fmt.Errorf("notify: Options.Sentinel: SentinelAddrs and MasterName are needed: give the options that the client was made with")
	case o.ReplicaOnly || o.RouteByLatency || o.RouteRandomly:
		return source{}, fmt.Errorf("%w: Options.Sentinel lets the client read replicas, which may be behind the events: "+
			"leave ReplicaOnly, RouteByLatency and RouteRandomly false", ErrUnsupported)
	case (o.TLSConfig == nil) != (client.TLSConfig == nil):
		return source{}, errors.New("notify: Options.Sentinel.TLSConfig is set or nil where the client's is not: " +
			"give the options that the client was made with")
	}
	server := func(addr string) redis.Options {
		s := client
		s.Addr, s.NodeAddress, s.Dialer = addr, addr, o.Dialer
		if s.Dialer == nil { // the client's own would dial whom one Sentinel names
			s.Dialer = redis.NewDialer(&s)
		}
		return s
	}
	e := &sentinels{
		name: o.MasterName, seeds: slices.Clone(o.SentinelAddrs), user: o.SentinelUsername, server: server,
		called: make(map[string]hostPort),
	}
	e.booths = booths{patience: opts.PongTimeout, server: func(addr string) redis.Options {
		s := redis.Options{Addr: addr}
		copySame(&s, o)
		s.DB, s.Username, s.Password = 0, o.SentinelUsername, o.SentinelPassword
		s.CredentialsProvider, s.CredentialsProviderContext, s.StreamingCredentialsProvider = nil, nil, nil
		return s
	}}
	return source{db: client.DB, server: server, electorate: e}, nil
}

// opinion is what one Sentinel says.
type opinion struct {
	id      string
	primary string        // host:port
	epoch   uint64        // the term in which it became primary
	vote    uint64        // the last term in which this Sentinel voted
	running bool          // this Sentinel is at a failover
	others  int           // Sentinels it knows of
	limit   time.Duration // its failover-timeout
	known   []string      // their addresses
}

func (o opinion) term() uint64 { return max(o.epoch, o.vote) }

func (e *sentinels) view(ctx context.Context) (*view, error) {
	answers, err := askAll(ctx, e.booths.patience, e.seeds, e.askWhole, func(o opinion) []string { return o.known })
	v := &view{voters: make(map[string]string)}
	all := 0
	var open time.Duration
	byID := make(map[string]opinion)
	for _, addr := range slices.Sorted(maps.Keys(answers)) { // one who has two addresses has one vote, always at the same
		o := answers[addr]
		if o.running {
			return nil, fmt.Errorf("notify: the Sentinel at %s is at a failover of %s", addr, e.name)
		}
		if _, twice := byID[o.id]; !twice {
			byID[o.id] = o
			v.voters[o.id] = addr
		}
		v.term = max(v.term, o.term())
		all = max(all, o.others+1)
		open = max(open, o.spent())
	}
	v.need = all/2 + 1
	count := make(map[member]int)
	for _, o := range byID {
		m := member{id: o.primary, addr: o.primary, epoch: o.epoch}
		if count[m]++; count[m] >= v.need {
			v.primaries = []member{m}
		}
	}
	if v.primaries == nil {
		if fault := e.fault(err); fault != nil {
			return nil, fault
		}
		return nil, noMajority(fmt.Sprintf("the primary of %s (%d of %d Sentinels answered)", e.name, len(byID), all), err)
	}
	if v.primaries[0].epoch != v.term {
		v.open = open
	}
	return v, nil
}

// fault is the SetupError for Sentinels that cannot be asked, if one of them said why.
func (e *sentinels) fault(err error) error {
	for _, err := range unjoin(err) {
		switch {
		case redis.HasErrorPrefix(err, "No such master"):
			return &SetupError{MissingRole, "redis.FailoverOptions{MasterName: <a name the Sentinels know>}", err}
		case redis.HasErrorPrefix(err, "unknown command"):
			return &SetupError{MissingRole, "redis.FailoverOptions{SentinelAddrs: <addresses of Sentinels, not of servers>}", err}
		}
	}
	fault := refusedFault(err, e.user, "+sentinel|master", "+sentinel|sentinels", "+sentinel|myid", "+sentinel|is-master-down-by-addr")
	switch {
	case fault == nil:
		return nil
	case fault.Missing == MissingAuth:
		fault.Fix = fmt.Sprintf("redis.FailoverOptions{SentinelUsername: %q, SentinelPassword: <the password of that user>}", e.user)
	default:
		fault.Fix += " # on every Sentinel"
	}
	return fault
}

func (e *sentinels) poll(ctx context.Context, v *view, voter, addr string) error {
	p := v.primaries[0]
	o, err := e.ask(ctx, addr, false)
	switch {
	case err != nil:
		return err
	case o.id != voter:
		return dissentf("another Sentinel is at %s", addr)
	case o.running:
		return dissentf("the Sentinel at %s is at a failover", addr)
	case o.term() > v.term || o.primary != p.addr && o.epoch >= p.epoch:
		return dissentf("the Sentinel at %s has %s for the primary since term %d and voted in term %d", addr, o.primary, o.epoch, o.vote)
	}
	return nil
}

// askWhole takes one Sentinel's opinion, and whom else it knows.
func (e *sentinels) askWhole(ctx context.Context, addr string) (opinion, error) {
	return e.ask(ctx, addr, true)
}

// ask takes one Sentinel's opinion, in one round trip if it calls the primary what it did before.
func (e *sentinels) ask(ctx context.Context, addr string, whole bool) (o opinion, err error) {
	defer unreadable(&err)
	c := e.booths.at(addr)
	for range 2 {
		var vote, told, id, others *redis.Cmd
		supposed := e.calls(addr)
		// Any run id but "*" has it tell whom it voted for last; in a term that has passed it gives no vote. Of a primary
		// that it does not know it tells of no vote: so what it calls it is asked behind, and compared.
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			vote = p.Do(ctx, "SENTINEL", "IS-MASTER-DOWN-BY-ADDR", supposed.host, supposed.port, 0, "freshet")
			told = p.Do(ctx, "SENTINEL", "MASTER", e.name)
			id = p.Do(ctx, "SENTINEL", "MYID")
			if whole {
				others = p.Do(ctx, "SENTINEL", "SENTINELS", e.name)
			}
			return nil
		})
		if err != nil && (err != id.Err() || !redis.HasErrorPrefix(err, "Unknown sentinel subcommand")) {
			return opinion{}, err
		}
		m := fields(told.Val())
		if is := (hostPort{m["ip"], m["port"]}); is != supposed {
			e.call(addr, is)
			continue
		}
		if o.vote, err = lastVote(vote); err != nil {
			return opinion{}, err
		}
		number := func(name string) uint64 { n, _ := strconv.ParseUint(m[name], 10, 64); return n }
		o.primary = net.JoinHostPort(supposed.host, supposed.port)
		o.epoch, o.others = number("config-epoch"), int(number("num-other-sentinels"))
		o.limit = time.Duration(number("failover-timeout")) * time.Millisecond
		o.running = strings.Contains(m["flags"], "failover_in_progress")
		if o.id, err = id.Text(); err != nil { // older than Redis 6.2
			if o.id, err = processAt(ctx, c); err != nil {
				return opinion{}, err
			}
		}
		if !whole {
			return o, nil
		}
		list, err := others.Slice()
		if err != nil {
			return opinion{}, err
		}
		for _, s := range list {
			s := fields(s)
			o.known = append(o.known, net.JoinHostPort(s["ip"], s["port"]))
		}
		return o, nil
	}
	return opinion{}, fmt.Errorf("the Sentinel is changing the primary of %s", e.name)
}

// processAt is the run id of the process that answers c.
func processAt(ctx context.Context, c *redis.Client) (string, error) {
	text, err := c.Info(ctx, "server").Result()
	if id := infoField(text, "run_id"); id != "" {
		return id, nil
	}
	return "", cmp.Or(err, errors.New("INFO does not tell run_id"))
}

func (e *sentinels) calls(addr string) hostPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	return cmp.Or(e.called[addr], hostPort{"0.0.0.0", "1"})
}

func (e *sentinels) call(addr string, primary hostPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.called[addr] = primary
}

// lastVote reads the reply to IS-MASTER-DOWN-BY-ADDR.
func lastVote(cmd *redis.Cmd) (uint64, error) {
	if votes, err := cmd.Slice(); err == nil && len(votes) == 3 {
		if n, ok := votes[2].(int64); ok {
			return uint64(max(n, 0)), nil
		}
	}
	return 0, fmt.Errorf("SENTINEL IS-MASTER-DOWN-BY-ADDR was answered %v", cmd.Val())
}

func (e *sentinels) client(v *view, _ func() []redis.ClusterSlot) redis.UniversalClient {
	o := e.server(v.primaries[0].addr)
	o.MaxRetries, o.DialerRetries = -1, 1 // who loads asks another instead
	return redis.NewClient(&o)
}

func (e *sentinels) close() { e.booths.close() }
