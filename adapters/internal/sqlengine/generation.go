package sqlengine

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis may lose marks that it had acknowledged: by a flush, by a restart from an older copy, by a failover to a replica that
// lacks them. The writers whose marks they were may be committing still. So beside the marks there is a generation: a new one
// when it is gone, or was made on other server processes than the tracker hears. Who meets another than before
// stores nothing for a lease, in which those writers commit and touch; who meets its first stores nothing until a lease
// after it was made.

// generation is the text of one that begins at since, the zero time for one that nothing was lost before.
func generation(since time.Time, servers string) string {
	at := "0"
	if !since.IsZero() {
		at = strconv.FormatInt(since.UnixMilli(), 10)
	}
	return rand.Text() + " " + at + " " + servers
}

// parts of a generation.
func parts(text string) (since time.Time, servers string) {
	_, rest, _ := strings.Cut(text, " ")
	at, servers, _ := strings.Cut(rest, " ")
	if ms, _ := strconv.ParseInt(at, 10, 64); ms > 0 {
		since = time.UnixMilli(ms)
	}
	return since, servers
}

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

// watch keeps the generation, of which found is Redis's, read together with the marks. What the tracker does not know yet of
// its servers is no matter: what is being loaded meanwhile falls when it does.
func (m *marks) watch(ctx context.Context, rdb redis.UniversalClient, found *redis.StringCmd) error {
	text, err := found.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	m.mu.Lock()
	known := m.generation
	m.mu.Unlock()
	servers := m.servers()
	_, made := parts(text)
	switch {
	case err != nil:
		var since time.Time
		if known != "" {
			since = time.Now()
		}
		if err := rdb.SetNX(ctx, m.genKey(), generation(since, servers), 0).Err(); err != nil {
			return err
		}
		if text, err = rdb.Get(ctx, m.genKey()).Result(); err != nil {
			return err
		}
	case servers != "" && made != servers:
		text = generation(time.Now(), servers)
		if err := rdb.Set(ctx, m.genKey(), text, 0).Err(); err != nil {
			return err
		}
	}
	var epochs uint64
	if servers == "" { // any gap may have been another process
		epochs = m.tracker.Stats().Epochs
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.quarantine
	since, _ := parts(text)
	switch {
	case m.generation == "" && !since.IsZero():
		m.quarantine = since.Add(m.lease)
	case m.generation != "" && (m.generation != text || m.epochs != epochs):
		m.quarantine = time.Now().Add(m.lease)
	}
	m.generation, m.epochs = text, epochs
	if m.quarantine != before && time.Now().Before(m.quarantine) {
		m.warn("Redis may have lost marks (a flush, a restart or a failover): nothing is kept for "+m.lease.String(), nil)
	}
	return nil
}

// lost reports whether marks may be lost whose writers are not known to have ended.
func (m *marks) lost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.quarantine)
}
