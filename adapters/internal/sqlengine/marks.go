package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
	"github.com/gofreshet/freshet/internal/account"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// marks say what is being committed to. They are the members of one sorted set a database, scored by the end of their
// lease.
//
// A writer sets a mark for each item that falls and then touches all of them; commits; touches again and removes the
// marks. A load reads the marks, at any moment between its stamp and its end, and is not stored while something has one
// that it falls with. So whatever a load has read: if the commit came after it, then either the mark was there when it
// looked, or the first touch came after its stamp and makes it fall, also when the writer dies at once. Marks are read at
// every load and kept nowhere: there is nothing to be told of, and nothing to read again after a gap.
type marks struct {
	tracker *invalidate.Tracker
	scope   string
	name    string // in its members, among all that ever were
	lease   time.Duration
	plan    guard.Plan
	warn    func(what string, err error)
	calls   sync.WaitGroup // calls to Redis; grows under mu, and not once ended

	mu         sync.Mutex
	ended      bool
	serial     uint64
	standing   map[string]bool // members that it has set and not removed
	known      []string        // generations, at the last look; nil before the first
	quarantine time.Time       // nothing is stored before: see generation
	epochs     uint64          // of the tracker at the last look, where servers do not tell what processes they are
	unsettled  []*mark         // of decided writes, that could not be removed
	wake       chan struct{}
}

// mark is one writer's claim on some items.
type mark struct {
	items   []string // what falls
	members []string // in Redis; nil when it could not be set (BoundedWrite)
}

func (m *marks) key() string { return "freshet:sql:" + m.scope + ":marks" }

// rdb is a client of the primaries.
func (m *marks) rdb() redis.UniversalClient {
	return m.tracker.Reader(context.Background(), m.tracker.Client())
}

// settleTimeout is how long Redis may take over each phase of a write.
const settleTimeout = 3 * time.Second

// names are what falls as items.
func (m *marks) names(items []string) []invalidate.Name {
	names := make([]invalidate.Name, 0, len(items))
	for _, it := range items {
		names = append(names, tableName(m.scope, it))
	}
	return names
}

// set claims items for session until settle. It returns an error when Redis cannot be told.
func (m *marks) set(ctx context.Context, items []string, session string) (*mark, error) {
	k := &mark{items: items}
	until := float64(time.Now().Add(m.lease).UnixMilli())
	var zs []redis.Z
	m.mu.Lock()
	m.serial++
	for _, it := range items {
		member := session + " " + m.name + "." + strconv.FormatUint(m.serial, 36) + " " + it
		m.standing[member] = true
		k.members = append(k.members, member)
		zs = append(zs, redis.Z{Score: until, Member: member})
	}
	m.mu.Unlock()
	err := m.tell(ctx, k, func(ctx context.Context) error {
		if !m.plan.Out.Has(guard.Mark) {
			if err := m.add(ctx, zs); err != nil {
				return err
			}
		}
		if m.plan.Out.Has(guard.Before) {
			return nil
		}
		return m.tracker.Touch(ctx, m.names(items)...)
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// add sets marks on what then still are the primaries. After an outage go-redis repeats its last failure for up to a second,
// though the server is there, and where slots move or primaries change a server may send us away for a moment.
func (m *marks) add(ctx context.Context, zs []redis.Z) error {
	for {
		err := m.tracker.OnPrimaries(ctx, func(rdb redis.UniversalClient) error { return rdb.ZAdd(ctx, m.key(), zs...).Err() })
		var said redis.Error
		if err == nil || errors.As(err, &said) && !sentAway(said) || !m.tracker.Synced() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sentAway reports whether a server of a group or a Cluster is not, or not yet, the one to ask.
func sentAway(err error) bool {
	return slices.ContainsFunc([]string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY"}, func(p string) bool {
		return redis.HasErrorPrefix(err, p)
	})
}

// tell runs say, which tells Redis of k, and waits for it no longer than settleTimeout: a transaction's locks are held
// meanwhile, and a client of go-redis heeds no context while it waits for an answer. What could not be said, or may have
// been said too late, is left to tidy, once it is known to have ended.
func (m *marks) tell(ctx context.Context, k *mark, say func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	var over atomic.Bool // for say, or for who waits: whoever is first
	said := make(chan error, 1)
	run := func() {
		defer cancel()
		err := say(ctx)
		if !over.CompareAndSwap(false, true) || err != nil {
			m.later(k)
		}
		said <- err
	}
	m.call(run)
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		if over.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-said
	}
}

// call runs f, which the caller need not wait for: end does.
func (m *marks) call(f func()) {
	m.mu.Lock()
	if m.ended {
		m.mu.Unlock()
		f()
		return
	}
	m.calls.Go(f)
	m.mu.Unlock()
}

// end waits for calls that nobody waits for any more.
func (m *marks) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.calls.Wait()
}

// allowed reports what the user of Redis may not do, by doing nothing in each way.
func (m *marks) allowed(ctx context.Context) error {
	pipe := m.rdb().Pipeline()
	pipe.ZAddXX(ctx, m.key(), redis.Z{Member: ""})
	pipe.ZRem(ctx, m.key(), "")
	pipe.ZRangeWithScores(ctx, m.key(), 0, -1)
	cmds, _ := pipe.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); redis.HasErrorPrefix(err, "NOPERM") {
			return fmt.Errorf("the Redis user may not keep marks: ACL SETUSER %s +zadd +zrem +zrange ~freshet:*: %w", account.Of(m.tracker.Client()), err)
		}
	}
	return nil
}

// settle ends a claim whose write is decided: committed or not. What cannot be said now is said later; until then the
// mark stands, and the tables' rows are nowhere stored.
func (m *marks) settle(k *mark) error {
	return m.tell(context.Background(), k, func(ctx context.Context) error {
		if m.plan.Out.Has(guard.After) {
			return m.remove(ctx, k)
		}
		err := m.tracker.Touch(ctx, m.names(k.items)...)
		m.plan.At("touched")
		if err == nil {
			err = m.remove(ctx, k)
		}
		return err
	})
}

// remove ends k in Redis.
func (m *marks) remove(ctx context.Context, k *mark) error {
	if k.members == nil {
		return nil
	}
	if err := m.rdb().ZRem(ctx, m.key(), toAny(k.members)...).Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, member := range k.members {
		delete(m.standing, member)
	}
	return nil
}

// returned reports whether s has been removed here and is back: Redis lost that, by a restart or a failover.
func (m *marks) returned(s standing) bool {
	_, rest, _ := strings.Cut(s.member, " ")
	name, _, _ := strings.Cut(rest, ".")
	m.mu.Lock()
	defer m.mu.Unlock()
	return name == m.name && !m.standing[s.member]
}

func toAny(s []string) []any {
	a := make([]any, len(s))
	for i := range s {
		a[i] = s[i]
	}
	return a
}

// later keeps k for tidy.
func (m *marks) later(k *mark) {
	m.mu.Lock()
	m.unsettled = append(m.unsettled, k)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// tidy settles what could not be settled, until ctx ends.
func (m *marks) tidy(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		for m.settleAll(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (m *marks) settleAll(ctx context.Context) error {
	m.mu.Lock()
	todo := m.unsettled
	m.unsettled = nil
	m.mu.Unlock()
	for i, k := range todo {
		err := m.tracker.Touch(ctx, m.names(k.items)...)
		if err == nil {
			err = m.remove(ctx, k)
		}
		if errors.Is(err, invalidate.ErrClosed) {
			return nil
		}
		if err != nil {
			m.mu.Lock()
			m.unsettled = append(m.unsettled, todo[i:]...)
			m.mu.Unlock()
			return err
		}
	}
	return nil
}

// standing is a mark as it is found in Redis.
type standing struct {
	member, session, item string
	until                 time.Time
}

func (m *marks) read(ctx context.Context) ([]standing, error) {
	rdb, knew := m.tracker.Reader(ctx, m.tracker.Client()), m.generations()
	list, err := rdb.ZRangeWithScores(ctx, m.key(), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	var all []standing
	var generations []redis.Z
	for _, z := range list {
		member, _ := z.Member.(string)
		if strings.HasPrefix(member, generation) {
			generations = append(generations, z)
			continue
		}
		session, rest, ok := strings.Cut(member, " ")
		_, item, ok2 := strings.Cut(rest, " ")
		if !ok || !ok2 {
			session, item = "", allTables // not ours: it stands for the worst
		}
		all = append(all, standing{member, session, item, time.UnixMilli(int64(z.Score))})
	}
	return all, m.watch(ctx, rdb, knew, generations)
}

// stands reports whether anybody's mark stands on item itself, or may have stood before Redis lost it.
func (m *marks) stands(ctx context.Context, item string) (bool, error) {
	all, err := m.read(ctx)
	return m.lost() || slices.ContainsFunc(all, func(s standing) bool { return s.item == item }), err
}

// marked returns the items that have marks, allTables among them where marks may have been lost. suspects are marks past
// their lease.
func (m *marks) marked(ctx context.Context) (items []string, suspects []standing, err error) {
	all, err := m.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("sqlcache: reading the marks: %w", err)
	}
	if m.lost() {
		items = append(items, allTables)
	}
	now := time.Now()
	for _, s := range all {
		late := now.After(s.until)
		if late && m.plan.Out.Has(guard.Suspect) {
			continue
		}
		if late {
			suspects = append(suspects, s)
		}
		items = append(items, s.item)
	}
	return items, suspects, nil
}
