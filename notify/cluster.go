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

	"github.com/gofreshet/freshet/internal/account"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// cluster is the electorate of a Redis Cluster: its primaries with slots. A replica becomes a primary if a majority of
// them votes for it in a new term ("epoch"); its configuration epoch is then that term, which every voter has heard of.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
type cluster struct {
	seeds  []string
	user   string
	opts   *redis.ClusterOptions
	server func(addr string) redis.Options
	booths booths

	mu   sync.Mutex
	last []string // addresses of the last view's primaries
}

// What is supposed of a Cluster that does not tell its cluster-node-timeout, and the least that an election may take.
const (
	nodeTimeout  = 15 * time.Second
	electionSpan = 2 * time.Second
)

func clusterSource(c *redis.ClusterOptions, opts *Options) (source, error) {
	switch {
	case c.ReadOnly || c.RouteByLatency || c.RouteRandomly:
		return source{}, fmt.Errorf("%w: the client may read replicas, which may be behind the events: "+
			"leave ClusterOptions.ReadOnly, RouteByLatency and RouteRandomly false", ErrUnsupported)
	case opts.Sentinel != nil:
		return source{}, errors.New("notify: Options.Sentinel is set and the client is of a Cluster: leave Sentinel nil")
	case c.ClusterSlots != nil:
		return source{}, fmt.Errorf("%w: the client has ClusterOptions.ClusterSlots, so that nobody votes on who is a primary: "+
			"give a client of a Redis Cluster", ErrUnsupported)
	case len(opts.DBs) > 1 || len(opts.DBs) == 1 && opts.DBs[0] != 0:
		return source{}, fmt.Errorf("notify: Options.DBs is %v: go-redis speaks to database 0 of a Cluster alone: leave DBs nil", opts.DBs)
	}
	var common redis.Options
	copySame(&common, c)
	user := account.In(&common)
	server := func(addr string) redis.Options {
		o := common
		o.Addr, o.NodeAddress, o.MinIdleConns = addr, addr, 0
		made := c.NewClient(&o)
		defer made.Close()
		return *made.Options()
	}
	e := &cluster{seeds: slices.Clone(c.Addrs), user: user, opts: c, server: server}
	e.booths = booths{patience: opts.PongTimeout, server: server}
	return source{server: server, electorate: e, clustered: true}, nil
}

// table is what one node says of the Cluster.
type table struct {
	self    string
	known   map[string]bool // ids of all nodes
	members []member        // by id
	term    uint64
	votes   uint64 // that it has given since its process began; more than 0 too where it does not tell
	slots   []redis.ClusterSlot
}

func (t *table) sameAs(other *table) bool {
	return slices.EqualFunc(t.members, other.members, func(a, b member) bool {
		return a.id == b.id && a.epoch == b.epoch && a.votes == b.votes
	})
}

// latest is the last term that a primary was promoted in.
func (t *table) latest() (term uint64) {
	for _, m := range t.members {
		term = max(term, m.epoch)
	}
	return term
}

// ahead is an error if a node of t's Cluster knows of a later primary: the others hear of it in a moment.
func (t *table) ahead(byID map[string]*table) error {
	for id, other := range byID {
		if t.known[id] && other.latest() > t.latest() {
			return fmt.Errorf("notify: %w yet on who was promoted in term %d of the Cluster", errNoMajority, other.latest())
		}
	}
	return nil
}

// voters are the primaries that have slots: id to address.
func (t *table) voters() map[string]string {
	out := make(map[string]string)
	for _, m := range t.members {
		if m.votes {
			out[m.id] = m.addr
		}
	}
	return out
}

func (t *table) addrs() []string {
	var out []string
	for _, m := range t.members {
		out = append(out, m.addr)
	}
	return out
}

func (e *cluster) view(ctx context.Context) (*view, error) {
	e.mu.Lock()
	known := slices.Concat(e.last, e.seeds)
	e.mu.Unlock()
	answers, err := askAll(ctx, e.booths.patience, known, e.ask, (*table).addrs)
	byID := make(map[string]*table)
	for _, addr := range slices.Sorted(maps.Keys(answers)) {
		t := answers[addr]
		byID[t.self] = cmp.Or(byID[t.self], t)
	}
	// Nodes may have different addresses for the same servers: as long as the same ones answer, it is to be the same that
	// is believed.
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		t := byID[id]
		agreeing := e.agreeing(t, byID)
		voters := t.voters()
		need := len(voters)/2 + 1
		if len(agreeing) < need {
			continue
		}
		if err := t.ahead(byID); err != nil {
			return nil, err
		}
		v := &view{primaries: t.members, voters: voters, need: need, slots: t.slots, votes: make(map[string]uint64)}
		for _, m := range t.members { // no other node counts: it may have gone to another Cluster
			if other := byID[m.id]; other != nil {
				v.term = max(v.term, other.term)
			}
		}
		for _, t := range agreeing {
			v.votes[t.self] = t.votes
		}
		if err := e.settle(ctx, v, agreeing); err != nil {
			return nil, err
		}
		e.mu.Lock()
		e.last = t.addrs()
		e.mu.Unlock()
		return v, nil
	}
	if fault := refusedFault(err, e.user, "+cluster|nodes", "+cluster|info", "+cluster|slots", "+cluster|myid"); fault != nil {
		return nil, fault
	}
	if len(byID) == 0 {
		return nil, fmt.Errorf("notify: no node of the Cluster answered: %w", cmp.Or(err, errNoMajority))
	}
	return nil, noMajority(fmt.Sprintf("the Cluster's primaries (%d nodes answered)", len(byID)), err)
}

// agreeing are the voters in t that say what t says.
func (e *cluster) agreeing(t *table, byID map[string]*table) []*table {
	var out []*table
	for id := range t.voters() {
		if other := byID[id]; other != nil && other.sameAs(t) {
			out = append(out, other)
		}
	}
	return out
}

// settle finds out whether a replica may yet be promoted in v's term. Usually none can, for a primary was. In a Cluster that
// has just been made none was, but as many as make a majority have never voted (its replicas were given terms of their own):
// then it is these that are asked from now on, and a vote of theirs ends the view. Else it takes some time until who is
// promoted is known to a majority or is one that nobody writes to: an election ends after twice the node timeout, and
// who then hears of no majority takes no writes after another.
func (e *cluster) settle(ctx context.Context, v *view, agreeing []*table) error {
	if slices.ContainsFunc(v.primaries, func(m member) bool { return m.epoch == v.term }) {
		return nil
	}
	silent := maps.Clone(v.voters)
	maps.DeleteFunc(silent, func(id, _ string) bool { n, told := v.votes[id]; return !told || n > 0 })
	if v.quiet = len(silent) >= v.need; v.quiet {
		v.voters = silent
		return nil
	}
	timeout := nodeTimeout
	for _, t := range agreeing {
		cmd := redis.NewCmd(ctx, "CONFIG", "GET", "cluster-node-timeout")
		if err := e.booths.at(v.voters[t.self]).Process(ctx, cmd); err != nil {
			continue
		}
		value, _ := configValue(cmd, "cluster-node-timeout")
		if ms, err := strconv.Atoi(value); err == nil {
			timeout = time.Duration(ms) * time.Millisecond
			break
		}
	}
	v.open = max(2*timeout, electionSpan) + timeout
	return ctx.Err()
}

func (e *cluster) poll(ctx context.Context, v *view, voter, addr string) (err error) {
	defer unreadable(&err)
	var id, info *redis.Cmd
	_, err = e.booths.at(addr).Pipelined(ctx, func(p redis.Pipeliner) error {
		id, info = p.Do(ctx, "CLUSTER", "MYID"), p.Do(ctx, "CLUSTER", "INFO")
		return nil
	})
	if err != nil {
		return err
	}
	if self, _ := id.Text(); self != voter {
		return dissentf("another node is at %s", addr)
	}
	text, _ := info.Text()
	term, votes, err := clusterInfo(text)
	switch before, told := v.votes[voter]; {
	case err != nil:
		return err
	case term > v.term:
		return dissentf("%s has heard of term %d", addr, term)
	case told && votes > before:
		return dissentf("%s has voted in term %d", addr, term)
	}
	return nil
}

// ask takes one node's table.
func (e *cluster) ask(ctx context.Context, addr string) (t *table, err error) {
	defer unreadable(&err)
	var (
		nodes, info *redis.Cmd
		slots       *redis.ClusterSlotsCmd
	)
	_, err = e.booths.at(addr).Pipelined(ctx, func(p redis.Pipeliner) error {
		nodes, info, slots = p.Do(ctx, "CLUSTER", "NODES"), p.Do(ctx, "CLUSTER", "INFO"), p.ClusterSlots(ctx)
		p.Do(ctx, "CLUSTER", "MYID") // a poll asks it: that it may not be asked is to show here
		return nil
	})
	if err != nil {
		if errors.Is(slots.Err(), redis.Nil) {
			return nil, &SetupError{MissingEndpoint, "cluster-preferred-endpoint-type ip", fmt.Errorf("%w: CLUSTER SLOTS tells "+
				"no address (cluster-preferred-endpoint-type unknown-endpoint), and go-redis cannot read it: %w", ErrUnsupported, err)}
		}
		if redis.HasErrorPrefix(err, "This instance has cluster support disabled") {
			return nil, &SetupError{MissingRole, "redis.NewClient with the server's address", fmt.Errorf("%w: %w", ErrUnsupported, err)}
		}
		return nil, err
	}
	text, _ := nodes.Text()
	if t, err = parseNodes(text, addr); err != nil {
		return nil, err
	}
	text, _ = info.Text()
	if t.term, t.votes, err = clusterInfo(text); err != nil {
		return nil, err
	}
	t.takeSlots(slots.Val(), addr)
	return t, nil
}

// takeSlots keeps the primary's address of each range, as this endpoint of the Cluster would have it dialled. If that is a
// name (cluster-preferred-endpoint-type hostname), then it is for those without slots too, of whom nothing is said there:
// certificates may be for names alone.
func (t *table) takeSlots(slots []redis.ClusterSlot, origin string) {
	byName := false
	for _, s := range slots {
		if len(s.Nodes) == 0 {
			continue
		}
		node := s.Nodes[0]
		node.Addr = reach(node.Addr, origin)
		t.slots = append(t.slots, redis.ClusterSlot{Start: s.Start, End: s.End, Nodes: []redis.ClusterNode{node}})
		for i := range t.members {
			if m := &t.members[i]; m.id == node.ID {
				m.addr, m.slot = node.Addr, s.Start
				byName = byName || m.addr == m.name
			}
		}
	}
	for i := range t.members {
		if m := &t.members[i]; byName && !m.votes && m.name != "" {
			m.addr = m.name
		}
	}
	slices.SortFunc(t.slots, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
}

// clusterInfo reads the reply to CLUSTER INFO.
func clusterInfo(text string) (term, votes uint64, err error) {
	term, err = strconv.ParseUint(infoField(text, "cluster_current_epoch"), 10, 64)
	if err != nil {
		return 0, 0, errors.New("CLUSTER INFO does not tell cluster_current_epoch")
	}
	votes, err = strconv.ParseUint(infoField(text, "cluster_stats_messages_auth-ack_sent"), 10, 64)
	if err != nil && infoField(text, "cluster_stats_messages_sent") == "" { // what is 0 is left out, but not this
		votes = 1
	}
	return term, votes, nil
}

// parseNodes reads the reply to CLUSTER NODES of the node at origin.
func parseNodes(text, origin string) (*table, error) {
	t := &table{known: make(map[string]bool)}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		t.known[f[0]] = true
		flags := strings.Split(f[2], ",")
		if slices.Contains(flags, "myself") {
			t.self = f[0]
		}
		if !slices.Contains(flags, "master") || slices.Contains(flags, "handshake") || slices.Contains(flags, "noaddr") {
			continue
		}
		epoch, err := strconv.ParseUint(f[6], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("CLUSTER NODES tells of an epoch %q", f[6])
		}
		votes := slices.ContainsFunc(f[8:], func(slot string) bool { return !strings.HasPrefix(slot, "[") })
		if !votes && slices.Contains(flags, "fail") {
			continue // a majority holds it for dead, and its replica has its slots
		}
		addr, name := nodeAddrs(f[1])
		addr, name = reach(addr, origin), reach(name, origin)
		t.members = append(t.members, member{id: f[0], addr: addr, name: name, epoch: epoch, votes: votes})
	}
	if t.self == "" {
		return nil, errors.New("CLUSTER NODES does not tell who answers")
	}
	slices.SortFunc(t.members, func(a, b member) int { return strings.Compare(a.id, b.id) })
	return t, nil
}

// nodeAddrs are ip:port and hostname:port of "ip:port@busport,hostname,..."; name is "" without a hostname, and both are the
// same without an ip.
func nodeAddrs(s string) (addr, name string) {
	addr, rest, _ := strings.Cut(s, "@")
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return addr, ""
	}
	ip, port := addr[:i], addr[i+1:]
	_, names, _ := strings.Cut(rest, ",")
	if hostname, _, _ := strings.Cut(names, ","); hostname != "" {
		name = net.JoinHostPort(hostname, port)
	}
	if ip == "" && name != "" {
		return name, name
	}
	return net.JoinHostPort(ip, port), name
}

// client takes its slots from the view, and is told of slots that have moved instead of following them.
func (e *cluster) client(v *view, slots func() []redis.ClusterSlot) redis.UniversalClient {
	o := *e.opts
	o.Addrs, o.MaxRedirects, o.AutoPipelineOptions = nil, -1, nil
	o.MaxRetries = -1 // who loads asks another instead
	for _, m := range v.primaries {
		o.Addrs = append(o.Addrs, m.addr)
	}
	o.DisableRoutingPolicies = true // they ask for COMMAND, which a load does without
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PushNotificationProcessor = nil
	o.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) { return slots(), nil }
	o.NewClient = func(node *redis.Options) *redis.Client {
		// Addr of what ClusterSlots tells lacks a loopback host, for go-redis knows no origin; what Addrs tells is Addr alone.
		made := e.server(cmp.Or(node.NodeAddress, node.Addr))
		made.MaintNotificationsConfig, made.PushNotificationProcessor = o.MaintNotificationsConfig, nil
		made.MaxRetries, made.DialerRetries = -1, 1
		return redis.NewClient(&made)
	}
	return redis.NewClusterClient(&o)
}

func (e *cluster) close() { e.booths.close() }
