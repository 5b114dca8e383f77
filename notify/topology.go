package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// electorate is who decides which servers are the primaries: a group of Sentinels, or the primaries of a Cluster.
//
// A promotion needs the votes of a majority, in a term that no voter has voted in before; a voter remembers the highest
// term it has voted in or heard of. Any two majorities share a voter. So if a majority says that it has heard of no
// term above a view's, nobody had been promoted by then whom the view does not name: that is what a PONG leaves open, for
// a primary that was deposed behind a partition answers pings as before.
type electorate interface {
	// view asks everybody, and fails where no majority agrees.
	view(ctx context.Context) (*view, error)

	// poll asks one voter of v, at addr. A *dissent says that v may no longer be what the majority says; any other error, that the
	// voter could not be asked.
	poll(ctx context.Context, v *view, voter, addr string) error

	// client makes a client that speaks to the primaries of v and to nobody else. slots gives v's as they are by then.
	client(v *view, slots func() []redis.ClusterSlot) redis.UniversalClient

	close()
}

// view is what a majority of the voters says.
type view struct {
	primaries []member          // by id
	voters    map[string]string // of those that answered or are known to be: id to address
	need      int               // a majority of all voters
	term      uint64            // the highest that any voter has heard of
	open      time.Duration     // for so long somebody may yet be promoted in term; 0 when that is settled; see Listener.amend
	quiet     bool              // nobody was promoted in term, but none of voters has ever voted
	votes     map[string]uint64 // of a Cluster: how many each had given, by id
	slots     []redis.ClusterSlot
}

// member is a primary of a view.
type member struct {
	id, addr string
	name     string // of a Cluster's: host:port by the name it announces, if any
	epoch    uint64 // the term it was promoted in
	votes    bool   // a primary of a Cluster that has no slots has no vote either
	slot     int    // one of those it has, if it votes
}

// same reports whether nobody was promoted or joined between v and other. Slots may have moved: see movedAtOnce.
func (v *view) same(other *view) bool {
	return v.term == other.term && slices.EqualFunc(v.primaries, other.primaries, func(a, b member) bool {
		return a.id == b.id && a.addr == b.addr && a.epoch == b.epoch && a.votes == b.votes
	})
}

// eldest is the primary with a vote that was promoted first.
func (v *view) eldest() (m member) {
	for _, other := range v.primaries {
		if other.votes && (!m.votes || other.epoch < m.epoch) {
			m = other
		}
	}
	return m
}

// dissent is a voter's word against a view.
type dissent struct{ text string }

func (d *dissent) Error() string { return d.text }

func dissentf(format string, args ...any) error { return &dissent{fmt.Sprintf(format, args...)} }

var errNoMajority = errors.New("no majority agrees")

// ballot is what a voter last said of the view that is followed.
type ballot struct {
	again chan struct{} // nudges whoever asks it
	began time.Time     // of the question that it last answered: it had heard of no higher term
	ok    bool          // it did answer last time
}

// seats is the view that is followed and what its voters say; guarded by Listener.mu.
type seats struct {
	view    *view
	since   time.Time
	ballots map[string]*ballot // by voter's id: one that has two addresses has one vote
	agreed  time.Time          // nobody had been promoted before then whom view does not name; zero: not known
	client  redis.UniversalClient
	eldest  string // a key of the primary that has been one the longest, where keys have slots
	cause   error  // why there is no view
}

// count moves agreed: to the oldest answer of those that do answer, if they are a majority. One would do for which a
// majority is younger; but where Redis lets somebody promote by force, without votes, it is he who hears of it first.
func (s *seats) count() {
	if s.view.open > 0 {
		return
	}
	var oldest time.Time
	for _, b := range s.ballots {
		if b.ok && (oldest.IsZero() || b.began.Before(oldest)) {
			oldest = b.began
		}
	}
	if s.answering() >= s.view.need && oldest.After(s.agreed) {
		s.agreed = oldest
	}
}

// elect follows the electorate: one view after another, until Close.
func (l *Listener) elect() {
	attempt := 0
	for l.ctx.Err() == nil {
		v, err := l.look()
		if err == nil {
			began := time.Now()
			l.adopt(v)
			err = l.watch(v)
			if l.ctx.Err() != nil {
				break
			}
			l.doubt(err)
			if time.Since(began) > l.opts.Heartbeat {
				attempt = 0
				continue
			}
		} else {
			l.unseated(err)
			l.tell1st(err)
		}
		if !rest(l.ctx, l.opts.Backoff(attempt)) {
			break
		}
		attempt++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seats.client != nil {
		_ = l.seats.client.Close()
	}
}

// look takes a view.
func (l *Listener) look() (*view, error) {
	ctx, cancel := context.WithTimeout(l.ctx, max(2*l.opts.PongTimeout, time.Second))
	defer cancel()
	return l.electorate.view(ctx)
}

// adopt listens to the primaries of v. The stream is not live.
func (l *Listener) adopt(v *view) {
	eldest := tagOf(v.eldest().slot)
	l.stream.Lock()
	defer l.stream.Unlock()
	l.mu.Lock()
	old := l.primaries
	next := make([]*primary, len(v.primaries))
	var fresh []*primary
	for i, m := range v.primaries {
		j := slices.IndexFunc(old, func(p *primary) bool { return p.member.id == m.id && p.member.addr == m.addr })
		if j >= 0 {
			next[i] = old[j]
		} else {
			next[i] = l.newPrimary(l.server(m.addr))
			fresh = append(fresh, next[i])
		}
		next[i].member = m
	}
	l.primaries = next
	client := l.seats.client
	l.seats = seats{view: v, since: time.Now(), ballots: make(map[string]*ballot), client: l.electorate.client(v, l.slots),
		eldest: eldest}
	l.mu.Unlock()
	if client != nil {
		_ = client.Close() // what is being loaded through it fails, and is loaded by other means
	}
	for _, p := range old {
		if !slices.Contains(next, p) {
			p.left = true
			p.cancel()
		}
	}
	for _, p := range fresh {
		l.start(p.run)
	}
	l.seated = true
	l.join()
}

// doubt ends the stream: the view may be wrong.
func (l *Listener) doubt(err error) {
	l.stream.Lock()
	defer l.stream.Unlock()
	l.seated = false
	if l.live {
		l.lose(GapTopology)
	}
	l.unseated(err)
}

// unseated notes why there is no view.
func (l *Listener) unseated(err error) {
	l.mu.Lock()
	repeated := l.seats.cause != nil && l.seats.cause.Error() == err.Error()
	l.seats.cause, l.seats.agreed = err, time.Time{}
	l.broadcast()
	l.mu.Unlock()
	if !repeated {
		l.log.warn("the primaries are in doubt", "err", err)
	}
}

// watch asks the voters of v until one dissents, and says why.
func (l *Listener) watch(v *view) error {
	ctx, cancel := context.WithCancelCause(l.ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)
	ask := func(voters map[string]string) {
		for voter := range voters {
			if b := l.ballotOf(voter); b != nil {
				asking.Go(func() { l.askVoter(ctx, cancel, v, voter, b) })
			}
		}
	}
	ask(v.voters)
	every := cmp.Or(max(0, l.opts.AuditEvery), defaultAudit)
	for {
		pause := every
		if v.open > 0 {
			pause = min(pause, max(v.open-time.Since(l.seats.since), shortestCadence))
		}
		if !rest(ctx, pause) {
			return context.Cause(ctx)
		}
		began := time.Now()
		seen, err := l.look()
		switch {
		case err != nil: // no majority to be had now: then none agrees either, and nothing is proven meanwhile
			continue
		case !v.same(seen) || v.quiet && !seen.quiet:
			return dissentf("the primaries were %s and are %s", v, seen)
		case l.movedAtOnce(v, seen):
			return dissentf("slots have other owners than %s", v)
		}
		l.amend(v, seen, began)
		ask(seen.voters)
	}
}

// movedAtOnce reports whether slots have other owners in seen than in v, and may have moved with all their keys (Valkey 9,
// Redis 8.4): until the former owner heard of it, it answered with what was, and that is to fall. Elsewhere keys move one by
// one, and it has none left by then.
func (l *Listener) movedAtOnce(v, seen *view) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	able := func(p *primary) bool { return movesAtOnce(p.version) }
	return slices.ContainsFunc(l.primaries, able) && !slices.EqualFunc(v.slots, seen.slots, func(a, b redis.ClusterSlot) bool {
		return a.Start == b.Start && a.End == b.End && a.Nodes[0].ID == b.Nodes[0].ID
	})
}

// movesAtOnce errs on the safe side: Valkey 8 and Redis 8.0 do not yet.
func movesAtOnce(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 8
}

// slots are the view's as they are now.
func (l *Listener) slots() []redis.ClusterSlot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seats.view.slots
}

// ballotOf starts one for a voter; nil if it has one.
func (l *Listener) ballotOf(voter string) *ballot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seats.ballots[voter] != nil {
		return nil
	}
	b := &ballot{again: make(chan struct{}, 1)}
	l.seats.ballots[voter] = b
	return b
}

// amend takes over what may change within a view: seen is the same, by a look that began at began. One that began when
// nobody could be promoted in the view's term any more has settled it: who was promoted till then is in seen.
func (l *Listener) amend(v, seen *view, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if began.Sub(l.seats.since) >= v.open {
		v.open = 0
	}
	v.need = max(v.need, seen.need)
	v.slots = seen.slots
	maps.Copy(v.voters, seen.voters)
	for i, m := range seen.primaries { // in the same order: they are the same
		l.primaries[i].member = m
	}
}

// askVoter asks voter every Heartbeat, and at once when nudged.
func (l *Listener) askVoter(ctx context.Context, object context.CancelCauseFunc, v *view, voter string, b *ballot) {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := l.poll(ctx, v, voter, l.addrOf(v, voter))
		var against *dissent
		if errors.As(err, &against) {
			object(err)
			return
		}
		pause := l.opts.Heartbeat
		if failures++; err == nil {
			failures = 0
		} else {
			pause = max(pause, l.opts.Backoff(failures-1))
		}
		l.voted(b, began, err == nil)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-b.again:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (l *Listener) addrOf(v *view, voter string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return v.voters[voter]
}

func (l *Listener) poll(ctx context.Context, v *view, voter, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.PongTimeout)
	defer cancel()
	return l.electorate.poll(ctx, v, voter, addr)
}

// voted notes an answer, or that none came.
func (l *Listener) voted(b *ballot, began time.Time, ok bool) {
	l.stream.Lock()
	defer l.stream.Unlock()
	l.mu.Lock()
	before := l.seats.answering()
	if b.ok = ok; ok {
		b.began = began
	}
	switch need := l.seats.view.need; {
	case before >= need && l.seats.answering() < need:
		l.log.warn("the primaries are in doubt", "err", l.seats.reason())
	case before < need && l.seats.answering() >= need:
		l.log.info("a majority answers", "need", need, "voters", len(l.seats.ballots))
	}
	l.seats.count()
	l.broadcast()
	l.mu.Unlock()
	l.prove()
}

// askVoters has all who answer asked at once.
func (l *Listener) askVoters() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.seats.ballots {
		if b.ok {
			nudge(b.again)
		}
	}
}

func (v *view) String() string {
	s := fmt.Sprintf("in term %d", v.term)
	for _, m := range v.primaries {
		s += fmt.Sprintf(", %s since %d", m.addr, m.epoch)
	}
	return s
}

const doubt = "the primaries are in doubt: "

// reason says in words why nothing is proven; "" if something is.
func (s *seats) reason() string {
	switch {
	case s.view == nil && s.cause == nil:
		return "the primaries are not known yet"
	case s.cause != nil:
		return doubt + s.cause.Error()
	case s.view.open > 0:
		return fmt.Sprintf(doubt+"another may yet be promoted in term %d, until %v after %s",
			s.view.term, s.view.open, s.since.Format(time.RFC3339))
	}
	if n := s.answering(); n < s.view.need {
		return fmt.Sprintf(doubt+"%d of those who vote on them answer and %d are a majority; silent: %s", n, s.view.need, s.silent())
	}
	return ""
}

// silent are the addresses of the voters that did not answer last time.
func (s *seats) silent() string {
	var addrs []string
	for voter, b := range s.ballots {
		if !b.ok {
			addrs = append(addrs, s.view.voters[voter])
		}
	}
	slices.Sort(addrs)
	return strings.Join(addrs, ", ")
}

func (s *seats) answering() (n int) {
	for _, b := range s.ballots {
		if b.ok {
			n++
		}
	}
	return n
}
