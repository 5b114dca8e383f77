package invalidate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// stored loads something that depends on n and reports whether it may be kept.
func stored(t *testing.T, tr *Tracker, n Name) (Validity, bool) {
	r, _ := tr.Record(t.Context())
	r.DependOn(n)
	return r.Seal()
}

// What is not listened to is never kept; what is covered is heard from Cover's return on.
func TestCover(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	tr := connect(t, rdb, Options{FollowCaches: true, Notify: notify.Options{Prefixes: []string{"fixed:"}}})
	for _, n := range []Name{Key("a:1"), Prefix("a:"), Prefix("")} {
		if _, ok := stored(t, tr, n); ok {
			t.Errorf("%v is not listened to and may be kept", n)
		}
	}
	for _, n := range []Name{Key("fixed:1"), Prefix("fixed:x"), Tag("any")} {
		if _, ok := stored(t, tr, n); !ok {
			t.Errorf("%v is listened to and may not be kept", n)
		}
	}
	if st := tr.Stats(); st.Uncovered != 3 {
		t.Errorf("Uncovered %d", st.Uncovered)
	}
	if err := tr.Cover(soon(t), "fixed:", "fixed:more", "a:", "[b]*"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"fixed:1", "a:1", "[b]*1"} {
		v, ok := stored(t, tr, Key(key))
		if !ok {
			t.Errorf("%s is covered and may not be kept", key)
		}
		set(t, rdb, key, 1)
		fence(t, tr)
		if v.Valid(long) {
			t.Errorf("%s changed unheard", key)
		}
	}
	if _, ok := stored(t, tr, Key("bxx")); ok {
		t.Error("a prefix was taken for a pattern")
	}
	if err := tr.Cover(soon(t), ""); !errors.Is(err, ErrNotCovered) {
		t.Errorf("every key: %v", err)
	}
	if st := tr.Stats(); st.Gaps != 0 || st.Epochs != 1 {
		t.Errorf("a planned subscription was taken for a gap: %+v", st)
	}
	fixed := connect(t, rdb, Options{Notify: notify.Options{Prefixes: []string{"fixed:"}}})
	if err := fixed.Cover(soon(t), "a:"); !errors.Is(err, ErrNotCovered) {
		t.Errorf("without FollowCaches: %v", err)
	}
	if err := fixed.Cover(soon(t), "fixed:x"); err != nil {
		t.Errorf("a part of what is covered: %v", err)
	}
	all := connect(t, rdb, Options{})
	if err := all.Cover(soon(t), "", "a:"); err != nil {
		t.Errorf("where every key is heard: %v", err)
	}
}

// R10. Cover returns when Redis has confirmed; before that nothing below the prefix is kept, nor is a load that began
// before it.
// Seen to fail with t.hear before Subscribe in Cover.
func TestR10CoverIsConfirmed(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb, p := through(t, s)
	tr := connect(t, rdb, Options{FollowCaches: true, Notify: patient})
	held := subscription(p).HoldAt(faultproxy.ToClient, "__keyspace@0__:a:*")
	done := make(chan error, 1)
	go func() { done <- tr.Cover(soon(t), "a:") }()
	<-held
	set(t, s.Client(t), "a:1", 1)
	early, _ := tr.Record(t.Context())
	if _, ok := stored(t, tr, Key("a:1")); ok {
		t.Error("kept before the subscription was confirmed")
	}
	select {
	case err := <-done:
		t.Errorf("Cover returned before the confirmation: %v", err)
	default:
	}
	subscription(p).Release(faultproxy.ToClient)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	early.DependOn(Key("a:1"))
	if _, ok := early.Seal(); ok {
		t.Error("a load that began before the confirmation may be kept")
	}
	v, ok := stored(t, tr, Key("a:1"))
	set(t, s.Client(t), "a:1", 2)
	fence(t, tr)
	if !ok || v.Valid(long) {
		t.Errorf("after Cover: kept %v, valid after a change %v", ok, v.Valid(long))
	}
}

// In a gap Cover waits for ctx; the subscription comes about by itself, and nothing is kept before.
func TestCoverInAGap(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb, p := through(t, s)
	opts := patient
	opts.Backoff = func(int) time.Duration { return 5 * time.Millisecond }
	tr := connect(t, rdb, Options{FollowCaches: true, Notify: opts})
	p.Refuse()
	p.Cut(faultproxy.RST)
	eventually(t, "the gap is noticed", func() bool { return !tr.Synced() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tr.Cover(ctx, "a:"); !errors.Is(err, ErrUnsynced) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Cover in a gap: %v", err)
	}
	if _, ok := stored(t, tr, Key("a:1")); ok {
		t.Error("kept in a gap before the prefix was subscribed")
	}
	p.Accept()
	eventually(t, "the prefix is covered by itself", func() bool { _, ok := stored(t, tr, Key("a:1")); return ok })
	v, _ := stored(t, tr, Key("a:1"))
	set(t, s.Client(t), "a:1", 1)
	fence(t, tr)
	if v.Valid(long) {
		t.Error("changed unheard")
	}
}

// Several at once, the same and different: each has what it asked for when it returns.
func TestCoverSeveralAtOnce(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	tr := connect(t, rdb, Options{FollowCaches: true})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			prefix := fmt.Sprintf("p%d:", i%6)
			if err := tr.Cover(soon(t), prefix); err != nil {
				t.Error(err)
				return
			}
			v, ok := stored(t, tr, Key(prefix+"1"))
			if err := rdb.Set(t.Context(), prefix+"1", i, 0).Err(); err != nil {
				t.Error(err)
			}
			if err := tr.Fence(soon(t)); err != nil {
				t.Error(err)
			}
			if !ok || v.Valid(long) {
				t.Errorf("%s: kept %v, valid after a change %v", prefix, ok, v.Valid(long))
			}
		})
	}
	wg.Wait()
	if st := tr.Stats(); st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
}

// What the user may not subscribe to is said with the line that mends it, and is not taken for covered.
func TestCoverRefused(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	s.AddUser(t, "app", "on", ">secret", "~*", "resetchannels", "&__keyspace@0__:ok:*", "&__keyspace@0__:freshet:name:*", "+@all")
	tr := connect(t, s.Client(t, as("app")), Options{FollowCaches: true, Notify: notify.Options{Prefixes: []string{"ok:"}}})
	var fault *notify.SetupError
	if err := tr.Cover(soon(t), "a:"); !errors.As(err, &fault) || fault.Missing != notify.MissingACL {
		t.Errorf("Cover: %v", err)
	}
	if _, ok := stored(t, tr, Key("a:1")); ok {
		t.Error("kept though the subscription was refused")
	}
	v, _ := stored(t, tr, Key("ok:1"))
	set(t, s.Client(t), "ok:1", 1)
	fence(t, tr)
	if v.Valid(long) {
		t.Error("what was covered before is heard no more")
	}
}

// A key under the tracker's namespace is a name there (or a marker, a canary): its own events are not told. So nothing
// that depends on one is kept.
// Seen to fail without the case of the namespace in covered and in Cover.
func TestKeysInTheNamespace(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	rdb := s.Client(t)
	for _, follow := range []bool{false, true} {
		tr := connect(t, rdb, Options{FollowCaches: follow, Notify: notify.Options{Namespace: "mine:"}})
		for _, text := range []string{"mine:name:tag:x", "mine:name:prefix:x", "mine:name:else", "mine:marker", "mine:canary:1", "mine:k"} {
			for _, n := range []Name{Key(text), Prefix(text)} {
				v, ok := stored(t, tr, n)
				set(t, rdb, text, 1)
				fence(t, tr)
				if ok && v.Valid(long) {
					t.Errorf("%v is kept, and its change goes unheard", n)
				}
			}
		}
		if err := tr.Cover(soon(t), "mine:name:"); !errors.Is(err, ErrNotCovered) {
			t.Errorf("Cover (FollowCaches %v): %v", follow, err)
		}
		_ = tr.Close()
	}
}

func TestHears(t *testing.T) {
	leak.Check(t)
	s, other := redistest.Start(t), redistest.Start(t)
	rdb := s.Client(t)
	tr := connect(t, rdb, Options{})
	byName := s.Client(t, func(o *redis.Options) { o.Addr = fmt.Sprintf("localhost:%d", s.Port()) })
	caching := s.Client(t, func(o *redis.Options) {
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{MaxEntries: 10}
	})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.Addr()}})
	defer ring.Close()
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer gone.Close()
	// Sentinels may send it to another primary tomorrow, or to a replica, though today it dials this very server.
	sentinel := stub(t, func(args []string) string {
		switch strings.ToLower(strings.Join(args, " ")) {
		case "sentinel get-master-addr-by-name m":
			port := fmt.Sprint(s.Port())
			return fmt.Sprintf("*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", len(port), port)
		case "ping":
			return "+PONG\r\n"
		case "sentinel sentinels m", "sentinel replicas m":
			return "*0\r\n"
		}
		return "-ERR unknown command\r\n"
	})
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{sentinel}})
	defer failover.Close()
	if err := failover.Ping(soon(t)).Err(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		rdb         redis.UniversalClient
		hears, fits bool
	}{
		"itself":          {rdb, true, true},
		"another of it":   {s.Client(t), true, true},
		"by another name": {byName, false, true}, // by its options nobody can tell; its run_id does
		"nil":             {nil, false, false},
		"typed nil":       {(*redis.Client)(nil), false, false},
		"database":        {s.Client(t, inDB(3)), false, false},
		"server":          {other.Client(t), false, false},
		"no server":       {gone, false, false},
		"caching":         {caching, false, false},
		"cluster":         {cluster, false, false},
		"ring":            {ring, false, false},
		"failover":        {failover, false, false},
	} {
		if got := tr.Hears(c.rdb); got != c.hears {
			t.Errorf("Hears %s: %v", what, got)
		}
		if err := tr.CheckClient(soon(t), c.rdb); (err == nil) != c.fits || err != nil && !errors.Is(err, ErrWrongClient) {
			t.Errorf("CheckClient %s: %v", what, err)
		}
	}
	// Its own too, where it is such a client.
	own := connect(t, caching, Options{})
	if own.Hears(caching) || !errors.Is(own.CheckClient(soon(t), caching), ErrWrongClient) {
		t.Error("a tracker takes its own client, which caches, for one whose reads may be kept")
	}
}

// Loads speak with the certificate of the tracker's client: whom another names may not read the same keys.
// Seen to fail without CertificateOf in mannerOf.
func TestCheckClientCertificate(t *testing.T) {
	leak.Check(t)
	c := redistest.Wire{TLS: redistest.NewTLS(t, false, "127.0.0.1")}.StartCluster(t, 1, 0)
	shows := func(name string) redis.UniversalClient {
		return c.Client(t, func(o *redis.ClusterOptions) { // which this server does not ask for
			o.TLSConfig.Certificates = []tls.Certificate{{Leaf: &x509.Certificate{Subject: pkix.Name{CommonName: name}}}}
		})
	}
	tr := connect(t, shows("app"), Options{})
	if err := tr.CheckClient(soon(t), shows("app")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"reader", ""} {
		if err := tr.CheckClient(soon(t), shows(name)); !errors.Is(err, ErrWrongClient) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
