package notify

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
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
}

// sentinelElection is how long a Sentinel may try to be elected after the first vote for it (sentinel_election_timeout).
const sentinelElection = 10 * time.Second

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
	}
	server := func(addr string) redis.Options {
		s := client
		s.Addr, s.NodeAddress, s.Dialer = addr, addr, o.Dialer
		if s.Dialer == nil { // the client's own would dial whom one Sentinel names
			s.Dialer = redis.NewDialer(&s)
		}
		return s
	}
	e := &sentinels{name: o.MasterName, seeds: slices.Clone(o.SentinelAddrs), user: o.SentinelUsername, server: server}
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
	primary string // host:port
	epoch   uint64 // the term in which it became primary
	vote    uint64 // the last term in which this Sentinel voted
	running bool   // this Sentinel is at a failover
	others  int    // Sentinels it knows of
	limit   time.Duration
	known   []string // their addresses
}

func (o opinion) term() uint64 { return max(o.epoch, o.vote) }

func (e *sentinels) view(ctx context.Context) (*view, error) {
	ask := func(ctx context.Context, addr string) (opinion, error) { return e.ask(ctx, addr, "") }
	answers, err := askAll(ctx, e.booths.patience, e.seeds, ask, func(o opinion) []string { return o.known })
	v := &view{voters: make(map[string]string)}
	all := 0
	var open time.Duration
	byID := make(map[string]opinion)
	for addr, o := range answers {
		if o.running {
			return nil, fmt.Errorf("notify: the Sentinel at %s is at a failover of %s", addr, e.name)
		}
		if _, twice := byID[o.id]; !twice {
			byID[o.id] = o
			v.voters[addr] = o.id
		}
		v.term = max(v.term, o.term())
		all = max(all, o.others+1)
		open = max(open, o.limit+sentinelElection)
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
		if fault := refusedFault(err, e.user, "+sentinel|master", "+sentinel|sentinels", "+sentinel|myid", "+sentinel|is-master-down-by-addr"); fault != nil {
			return nil, fault
		}
		if redis.HasErrorPrefix(firstOf(err), "ERR No such master") {
			return nil, &SetupError{MissingRole, "redis.FailoverOptions{MasterName: <a name the Sentinels know>}", err}
		}
		return nil, fmt.Errorf("notify: %w on the primary of %s: %d of %d Sentinels answered: %w", errNoMajority, e.name, len(byID), all, cmp.Or(err, errNoMajority))
	}
	if v.primaries[0].epoch != v.term {
		v.open = open
	}
	return v, nil
}

func firstOf(err error) error {
	if all := unjoin(err); len(all) > 0 {
		return all[0]
	}
	return err
}

func (e *sentinels) poll(ctx context.Context, v *view, voter string) error {
	p := v.primaries[0]
	o, err := e.ask(ctx, voter, p.addr)
	switch {
	case err != nil:
		return err
	case o.id != v.voters[voter] && v.voters[voter] != "":
		return dissentf("another Sentinel is at %s", voter)
	case o.running:
		return dissentf("the Sentinel at %s is at a failover", voter)
	case o.term() > v.term || o.primary != p.addr && o.epoch >= p.epoch:
		return dissentf("the Sentinel at %s has %s for the primary since term %d and voted in term %d", voter, o.primary, o.epoch, o.vote)
	}
	return nil
}

// ask takes one Sentinel's opinion, in one round trip if its primary is the one supposed.
func (e *sentinels) ask(ctx context.Context, addr, supposed string) (o opinion, err error) {
	defer unreadable(&err)
	c := e.booths.at(addr)
	var id, told, others, down *redis.Cmd
	fill := func(p redis.Pipeliner) {
		told = p.Do(ctx, "SENTINEL", "MASTER", e.name)
		if down = nil; supposed != "" {
			host, port, _ := net.SplitHostPort(supposed)
			// Any run id but "*" has it tell whom it voted for last; in a term that has passed it gives no vote.
			down = p.Do(ctx, "SENTINEL", "IS-MASTER-DOWN-BY-ADDR", host, port, 0, "freshet")
		}
		id = p.Do(ctx, "SENTINEL", "MYID")
		if others == nil {
			others = p.Do(ctx, "SENTINEL", "SENTINELS", e.name)
		}
	}
	for range 2 {
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { fill(p); return nil })
		if err := told.Err(); err != nil {
			return opinion{}, err
		}
		m := fields(told.Val())
		number := func(name string) uint64 { n, _ := strconv.ParseUint(m[name], 10, 64); return n }
		o.primary = reach(net.JoinHostPort(m["ip"], m["port"]), addr)
		o.epoch, o.others = number("config-epoch"), int(number("num-other-sentinels"))
		o.limit = time.Duration(number("failover-timeout")) * time.Millisecond
		o.running = strings.Contains(m["flags"], "failover_in_progress")
		if down != nil && supposed == o.primary {
			break
		}
		supposed = o.primary
	}
	if down.Err() != nil {
		return opinion{}, down.Err()
	}
	if votes, err := down.Slice(); err == nil && len(votes) == 3 {
		n, _ := votes[2].(int64)
		o.vote = uint64(max(n, 0))
	} else {
		return opinion{}, fmt.Errorf("SENTINEL IS-MASTER-DOWN-BY-ADDR was answered %v", down.Val())
	}
	if o.id, err = id.Text(); err != nil { // older than Redis 6.2
		o.id = addr
	}
	list, _ := others.Slice()
	for _, s := range list {
		s := fields(s)
		o.known = append(o.known, reach(net.JoinHostPort(s["ip"], s["port"]), addr))
	}
	return o, nil
}

func (e *sentinels) client(v *view, _ func() []redis.ClusterSlot) redis.UniversalClient {
	o := e.server(v.primaries[0].addr)
	return redis.NewClient(&o)
}

func (e *sentinels) close() { e.booths.close() }
