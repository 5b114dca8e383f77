package notify

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// wire holds the commands whose replies are on their way. Redis answers in order, so a reply belongs to the oldest.
type wire struct {
	mu   sync.Mutex
	sent []*command
}

// command is a PING or, with sub, a PSUBSCRIBE (or SUBSCRIBE).
type command struct {
	nonce  string
	sent   time.Time     // read before it was written
	at     time.Duration // the same by the session's clock
	fences []*fence
	sub    *subscribe
}

func (w *wire) push(c *command) {
	w.mu.Lock()
	w.sent = append(w.sent, c)
	w.mu.Unlock()
}

func (w *wire) pop() *command {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sent) == 0 {
		return nil
	}
	c := w.sent[0]
	w.sent = slices.Delete(w.sent, 0, 1)
	return c
}

func (w *wire) oldest() (c *command, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sent) == 0 {
		return nil, 0
	}
	return w.sent[0], len(w.sent)
}

// subscribe is a subscription that is asked for: patterns of keys, or one exact channel (a canary's).
type subscribe struct {
	prefixes  []string
	dbs       []int
	patterns  []string // for every database, every prefix
	exact     string
	optional  bool          // may be refused: then err says so
	sent      bool          // guarded by Listener.mu; of a planned one
	confirmed int           // receive loop
	done      chan struct{} // closed when it is confirmed or refused
	err       error         // written before done is closed
}

// newSubscribe asks for the keys with these prefixes, nil for all, in the databases of opts.
func newSubscribe(opts Options, prefixes []string) *subscribe {
	sub := &subscribe{prefixes: prefixes, done: make(chan struct{})}
	if prefixes == nil || opts.Channels == Keyevent {
		prefixes = []string{""}
	}
	for _, db := range opts.DBs {
		for _, p := range prefixes {
			sub.dbs = append(sub.dbs, db)
			sub.patterns = append(sub.patterns, channelPattern(opts.Channels, db, p))
		}
	}
	return sub
}

// names are the channels in the order in which Redis confirms them.
func (sub *subscribe) names() []string {
	if sub.exact != "" {
		return []string{sub.exact}
	}
	return sub.patterns
}

// rules are what an ACL must allow. A pattern must be allowed as it is; a canary's channel has a new name every time.
func (sub *subscribe) rules() []string {
	if sub.exact != "" {
		return []string{"+subscribe", "&" + sub.exact[:strings.LastIndex(sub.exact, canaryName)+len(canaryName)] + "*"}
	}
	rules := []string{"+psubscribe"}
	for _, p := range sub.patterns {
		rules = append(rules, "&"+p)
	}
	return rules
}

// send writes a command. One goroutine at a time does: the builder, then talk.
func (s *session) send(ctx context.Context, c *command) (err error) {
	defer unreadable(&err) // the first one dials, and reads what the handshake is answered
	c.sent, c.at = time.Now(), s.clock()
	s.wire.push(c) // before it can be answered
	switch {
	case c.sub == nil:
		return s.pubsub.Ping(ctx, c.nonce)
	case c.sub.exact != "":
		return s.pubsub.Subscribe(ctx, c.sub.exact)
	}
	return s.pubsub.PSubscribe(ctx, c.sub.patterns...)
}

// subscribe sends sub and steps until it is confirmed: only while the session is built.
func (s *session) subscribe(ctx context.Context, sub *subscribe) error {
	if err := s.send(ctx, &command{sub: sub}); err != nil {
		return handshakeFault(err, s.user())
	}
	for sub.confirmed < len(sub.names()) {
		if err := s.step(); err != nil {
			return err
		}
	}
	return nil
}

// roundTrip sends a ping and steps until it is answered: only while the session is built.
func (s *session) roundTrip(ctx context.Context) error {
	c := &command{nonce: s.nonce()}
	if err := s.send(ctx, c); err != nil {
		return err
	}
	for {
		if err := s.step(); err != nil {
			return err
		}
		if _, n := s.wire.oldest(); n == 0 {
			return nil
		}
	}
}

// confirm takes one confirmation; they come in the order of the asking, and none comes unasked.
func (s *session) confirm(m *redis.Subscription) error {
	c, _ := s.wire.oldest()
	if c == nil || c.sub == nil || m.Kind != "psubscribe" && m.Kind != "subscribe" || m.Channel != c.sub.names()[c.sub.confirmed] {
		return s.unplanned("an unplanned %s of %q", m.Kind, m.Channel)
	}
	sub, i := c.sub, c.sub.confirmed
	if sub.exact == "" {
		prefix := ""
		if s.l.opts.Channels == Keyspace && sub.prefixes != nil {
			prefix = sub.prefixes[i%len(sub.prefixes)]
		}
		s.cover(sub.patterns[i], &subscription{db: sub.dbs[i], prefix: prefix})
	}
	sub.confirmed++
	if sub.confirmed == len(sub.names()) {
		s.wire.pop()
		if s.live {
			s.p.settle(sub, nil)
		}
	}
	return nil
}

// cover adds a confirmed subscription. From here on in the stream the longer prefixes it covers are told by it.
func (s *session) cover(pattern string, sub *subscription) {
	for _, other := range s.subs {
		if other.db == sub.db && strings.HasPrefix(other.prefix, sub.prefix) {
			other.shadowed = true
		}
	}
	s.subs[pattern] = sub
}

// settle ends a planned subscription.
func (p *primary) settle(sub *subscribe, err error) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if err == nil {
		p.prefixes = minimal(slices.Concat(p.prefixes, sub.prefixes))
		p.l.plannedCount.Add(uint64(len(sub.patterns)))
	}
	if p.planned == sub {
		p.planned = nil
	}
	sub.err = err
	close(sub.done)
}

// again gives back what a command that was not answered was to do.
func (s *session) again(c *command) {
	p := s.p
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.fences = append(c.fences, p.fences...)
	if c.sub != nil && c.sub == p.planned {
		c.sub.confirmed, c.sub.sent = 0, false
	}
	if s.live {
		s.nudge()
	}
}
