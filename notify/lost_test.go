package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
)

// brisk looks and tries again often.
func brisk(o Options) Options {
	o.Heartbeat, o.PongTimeout, o.AuditEvery = 20*time.Millisecond, 10*time.Second, 50*time.Millisecond
	o.Backoff = func(int) time.Duration { return 20 * time.Millisecond }
	return o
}

// A primary that is dead, and whose slots its replica has, is not waited for; when it comes back it is its replica.
// Seen to fail where whoever was a primary once has to be heard.
func TestClusterLosesPrimary(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 3, 1)
	dead := c.Primary(t, "k")
	heir := c.Replica(t, dead)
	l, r := recorded(t, c.Client(t), brisk(Options{}))
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is a primary", func() bool { return heir.Role(t) == "master" })
	fenced(t, l)
	set := func() {
		t.Helper()
		if err := heir.Client(t).Set(testContext(t), "k", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		fenced(t, l)
	}
	c.Settle(t)
	fenced(t, l)
	set()
	r.awaitEvent(t, "set k", 1)
	if strings.Contains(l.Status().Addr, dead.Addr()) {
		t.Errorf("the dead one is listened to: %+v", l.Status())
	}
	gaps := l.Stats().Gaps
	if err := dead.Restart(); err != nil {
		t.Fatal(err)
	}
	c.Settle(t)
	set()
	r.awaitEvent(t, "set k", 2)
	if st := l.Stats(); st.Gaps != gaps {
		t.Errorf("a gap as a replica came back: %q", r.events())
	}
}
