package invalidate

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Client is the client that the tracker was connected with, for adapters that keep books of their own in its Redis.
func (t *Tracker) Client() *redis.Client { return t.rdb }

// Hears reports whether rdb is, as far as its options tell, a client of the very database this tracker hears, one that
// reads the primary and nothing but it. Cost: a few comparisons.
func (t *Tracker) Hears(rdb redis.UniversalClient) bool {
	if rdb == redis.UniversalClient(t.rdb) {
		return true
	}
	client, ok := rdb.(*redis.Client)
	if !ok || client == nil || cachesByItself(client) {
		return false
	}
	mine, theirs := t.rdb.Options(), client.Options()
	return theirs.Network == mine.Network && theirs.Addr == mine.Addr && theirs.DB == mine.DB
}

// CheckClient returns nil if what rdb reads may be kept on this tracker: it is a client of one server that caches
// nothing by itself and speaks to the tracker's database. Where the addresses differ, both are asked for their run_id.
// The error says what is wrong and what to give instead.
func (t *Tracker) CheckClient(ctx context.Context, rdb redis.UniversalClient) error {
	client, ok := rdb.(*redis.Client)
	switch {
	case rdb == nil || ok && client == nil:
		return fmt.Errorf("%w: rdb is nil: give a *redis.Client", ErrWrongClient)
	case !ok:
		return fmt.Errorf("%w: rdb is a %T, which may read replicas or several servers: "+
			"give a *redis.Client of the tracker's primary", ErrWrongClient, rdb)
	case cachesByItself(client):
		return fmt.Errorf("%w: rdb has a client-side cache of its own, whose values may be older than the events: "+
			"leave Options.ClientSideCache and ClientSideCacheConfig nil", ErrWrongClient)
	case client.Options().Addr == failoverAddr:
		return fmt.Errorf("%w: rdb is a client of redis.NewFailoverClient, which may read replicas or another primary: "+
			"give redis.NewClient with the primary's address", ErrWrongClient)
	case t.Hears(client):
		return nil
	case client.Options().DB != t.db:
		return fmt.Errorf("%w: rdb uses database %d and the tracker hears %d: connect a tracker with this client",
			ErrWrongClient, client.Options().DB, t.db)
	}
	mine, theirs := t.listener.Status().RunID, runID(ctx, client)
	if mine == "" || theirs == "" || mine != theirs {
		return fmt.Errorf("%w: rdb dials %s and the tracker %s, and they are not known to be one server: "+
			"give the client that the tracker was connected with", ErrWrongClient, client.Options().Addr, t.rdb.Options().Addr)
	}
	return nil
}

// failoverAddr is what go-redis puts for the address of a client whose server Sentinels choose.
const failoverAddr = "FailoverClient"

func cachesByItself(rdb *redis.Client) bool {
	o := rdb.Options()
	return o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
}

// runID names the server process; "" when it cannot be asked.
func runID(ctx context.Context, rdb *redis.Client) string {
	info, err := rdb.Info(ctx, "server").Result()
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "run_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}
