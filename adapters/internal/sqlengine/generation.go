package sqlengine

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// generation begins a member among the marks that is no mark. Redis may lose marks that it had acknowledged: by a flush or an
// eviction, by a restart from an older copy, by a failover to a replica that lacks them. The writers whose marks they were may
// be committing still. So there is a generation beside them, or several where processes began at once, that is lost with
// them; and which is replaced when it was made on other server processes than the tracker hears. Who misses one that it knew
// stores nothing for a lease, in which those writers commit and touch. Who meets its first stores nothing until a lease after
// it was made in place of another: that is its score, 0 for one that is not known to replace any.
const generation = "generation "

// servers are the processes that the tracker hears; "" where one does not tell.
func (m *marks) servers() string {
	var ids []string
	for _, n := range m.tracker.Health().Nodes {
		if n.RunID == "" {
			return ""
		}
		ids = append(ids, n.RunID)
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// generations are those that were known before a look. Others look at the same time.
func (m *marks) generations() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
}

// watch looks at the generations that were found with the marks, by who knew some before. What the tracker does not know yet of
// its servers is no matter: what is being loaded meanwhile falls when it does.
func (m *marks) watch(ctx context.Context, rdb redis.UniversalClient, knew []string, found []redis.Z) error {
	servers := m.servers()
	elsewhere := servers != "" && slices.ContainsFunc(found, func(g redis.Z) bool { return !strings.HasSuffix(g.Member.(string), " "+servers) })
	if len(found) == 0 || elsewhere {
		next := redis.Z{Member: generation + rand.Text() + " " + servers}
		if elsewhere || knew != nil {
			next.Score = float64(time.Now().UnixMilli())
		}
		pipe := rdb.Pipeline()
		pipe.ZAdd(ctx, m.key(), next)
		for _, g := range found {
			pipe.ZRem(ctx, m.key(), g.Member)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		found = []redis.Z{next}
	}
	var epochs uint64
	if servers == "" { // any gap may have been another process
		epochs = m.tracker.Stats().Epochs
	}
	var now []string
	since := time.Time{}
	for _, g := range found {
		now = append(now, g.Member.(string))
		if g.Score > 0 && time.UnixMilli(int64(g.Score)).After(since) {
			since = time.UnixMilli(int64(g.Score))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var until time.Time
	missing := slices.ContainsFunc(knew, func(g string) bool { return !slices.Contains(now, g) })
	switch {
	case knew == nil && !since.IsZero():
		until = since.Add(m.lease)
	case missing, knew != nil && m.epochs != epochs:
		until = time.Now().Add(m.lease)
	}
	// What others have learnt meanwhile stays known: this look may be older.
	m.known = append(slices.DeleteFunc(slices.Clone(m.known), func(g string) bool {
		return slices.Contains(knew, g) || slices.Contains(now, g)
	}), now...)
	m.epochs = epochs
	if at := time.Now(); until.After(m.quarantine) && at.Before(until) {
		known := at.Before(m.quarantine)
		if m.quarantine = until; known {
			return nil
		}
		m.warn("Redis may have lost marks (a flush, an eviction, a restart or a failover): nothing is kept for "+m.lease.String(), nil)
	}
	return nil
}

// lost reports whether marks may be lost whose writers are not known to have ended.
func (m *marks) lost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.quarantine)
}
