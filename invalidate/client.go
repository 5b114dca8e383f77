package invalidate

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gofreshet/freshet/internal/account"
	"github.com/redis/go-redis/v9"
)

// Client is the client that the tracker was connected with.
func (t *Tracker) Client() redis.UniversalClient { return t.rdb }

// Reader is the client for a load to read this Redis with, in rdb's place. Where the tracker hears one server it is rdb.
// Where it hears a Sentinel group or a Cluster, rdb may still hold connections to a primary that was deposed; Reader then
// is a client that speaks to the very servers that are listened to, and what is being loaded in ctx is taken for as old
// as the last proof that they are the primaries. That client follows no redirection, and is closed when others become so: who
// gets an error from it may ask rdb, and call [NoStore]. While the primaries are in doubt Reader is rdb, and what is being
// loaded in ctx is not kept.
func (t *Tracker) Reader(ctx context.Context, rdb redis.UniversalClient) redis.UniversalClient {
	if t.single {
		return rdb
	}
	primaries, agreed := t.listener.Primaries()
	r := RecordIn(ctx)
	switch {
	case r == nil:
	case primaries == nil || r.tracker != t:
		r.NoStore()
	default:
		r.provenAt(agreed)
	}
	if primaries == nil {
		return rdb
	}
	return primaries
}

// Hears reports whether rdb is, as far as its options tell, a client of the very database this tracker hears, one that
// reads the primary and nothing but it. Cost: a few comparisons.
func (t *Tracker) Hears(rdb redis.UniversalClient) bool {
	client, ok := rdb.(*redis.Client)
	switch {
	case client != nil && cachesByItself(client):
		return false
	case rdb == t.rdb:
		return true
	case !ok || client == nil || !t.single:
		return false
	}
	mine, theirs := t.rdb.(*redis.Client).Options(), client.Options()
	return theirs.Network == mine.Network && theirs.Addr == mine.Addr && theirs.DB == mine.DB
}

// CheckClient returns nil if what rdb reads may be kept on this tracker: it is a client of the same kind, of one server,
// a Sentinel group or a Cluster, that reads no replicas, caches nothing by itself and speaks to the tracker's database. With
// Sentinels or a Cluster, where loads use the tracker's connections, its user, its protocol and the name in its certificate are
// those of the tracker's client.
// Where it cannot be told from the options, it is asked for the run_id of a server that the tracker hears. The error says
// what is wrong and what to give instead.
func (t *Tracker) CheckClient(ctx context.Context, rdb redis.UniversalClient) error {
	client, _ := rdb.(*redis.Client)
	cluster, _ := rdb.(*redis.ClusterClient)
	db := 0
	switch {
	case client == nil && cluster == nil && (rdb == nil || kindOf(rdb) != ""):
		return fmt.Errorf("%w: rdb is nil: give a *redis.Client", ErrWrongClient)
	case client != nil && cachesByItself(client):
		return fmt.Errorf("%w: rdb has a client-side cache of its own, whose values may be older than the events: "+
			"leave Options.ClientSideCache and ClientSideCacheConfig nil", ErrWrongClient)
	case kindOf(rdb) != kindOf(t.rdb):
		return fmt.Errorf("%w: rdb is %s and the tracker hears %s: give the client that the tracker was connected with",
			ErrWrongClient, cmp.Or(kindOf(rdb), fmt.Sprintf("a %T", rdb)), kindOf(t.rdb))
	case cluster != nil && (cluster.Options().ReadOnly || cluster.Options().RouteByLatency || cluster.Options().RouteRandomly):
		return fmt.Errorf("%w: rdb may read replicas: leave ClusterOptions.ReadOnly, RouteByLatency and RouteRandomly false", ErrWrongClient)
	case t.Hears(rdb):
		return nil
	case !t.single && account.Of(rdb) == account.Provided:
		return fmt.Errorf("%w: the tracker's connections, which loads would use, may be another user's, for rdb has a credentials "+
			"provider: give the client that the tracker was connected with", ErrWrongClient)
	case !t.single && mannerOf(rdb) != mannerOf(t.rdb):
		return fmt.Errorf("%w: rdb speaks as %s and the tracker's client, whose connections loads would use, as %s: "+
			"give the client that the tracker was connected with", ErrWrongClient, mannerOf(rdb), mannerOf(t.rdb))
	case client != nil:
		db = client.Options().DB
	}
	if db != t.db {
		return fmt.Errorf("%w: rdb uses database %d and the tracker hears %d: connect a tracker with this client", ErrWrongClient, db, t.db)
	}
	mine := t.listener.Status()
	theirs, err := runID(ctx, rdb)
	if err != nil || !mine.Synced {
		return fmt.Errorf("%w: rdb is not the tracker's own, and whether it leads to the same servers cannot be asked now: "+
			"give the client that the tracker was connected with: %w", ErrWrongClient, cmp.Or(err, ErrUnsynced))
	}
	if theirs == "" || !slices.Contains(strings.Split(mine.RunID, ","), theirs) {
		return fmt.Errorf("%w: rdb and the tracker, which hears %s, are not known to lead to the same servers: "+
			"give the client that the tracker was connected with", ErrWrongClient, mine.Addr)
	}
	return nil
}

// kindOf is what rdb leads to; "" for what cannot be listened to.
func kindOf(rdb redis.UniversalClient) string {
	switch c := rdb.(type) {
	case *redis.Client:
		if c != nil && c.Options().Addr == failoverAddr {
			return "a client of redis.NewFailoverClient"
		}
		return "a client of one server"
	case *redis.ClusterClient:
		return "a client of a Cluster"
	}
	return ""
}

// mannerOf is what rdb's answers depend on beside the server: its user, who may not read every key and whom its certificate
// may name, and its protocol.
func mannerOf(rdb redis.UniversalClient) string {
	var protocol int
	switch c := rdb.(type) {
	case *redis.Client:
		protocol = c.Options().Protocol
	case *redis.ClusterClient:
		protocol = c.Options().Protocol
	}
	if protocol < 2 { // go-redis's default
		protocol = 3
	}
	if name := account.CertificateOf(rdb); name != "" {
		return fmt.Sprintf("the one whom the certificate of %q names in RESP%d", name, protocol)
	}
	return fmt.Sprintf("%q in RESP%d", account.Of(rdb), protocol)
}

// failoverAddr is what go-redis puts for the address of a client whose server Sentinels choose.
const failoverAddr = "FailoverClient"

func cachesByItself(rdb *redis.Client) bool {
	o := rdb.Options()
	return o.ClientSideCache != nil || o.ClientSideCacheConfig != nil
}

// runID names the server process; "" when it does not tell.
func runID(ctx context.Context, rdb redis.UniversalClient) (string, error) {
	info, err := rdb.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", nil
}
