package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// What is wrong with the options for Sentinels is said with the very options to mend.
func TestSentinelMends(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 1, 0)
	protected := redistest.StartSentinels(t, 1, 0)
	if err := protected.Sentinels[0].Client(t).Do(testContext(t), "ACL", "SETUSER", "default", "resetpass", ">secret").Err(); err != nil {
		t.Fatal(err)
	}
	for missing, c := range map[string]struct {
		o   *redis.FailoverOptions
		fix string
	}{
		MissingAuth: {protected.FailoverOptions(), "SentinelPassword: "},
		MissingRole: {&redis.FailoverOptions{MasterName: redistest.MasterName, SentinelAddrs: []string{g.Primary(t).Addr()}}, "SentinelAddrs: "},
	} {
		rdb := redis.NewFailoverClient(c.o)
		defer rdb.Close()
		_, err := Listen(testContext(t), rdb, Options{Sentinel: c.o, StartDown: true})
		var fault *SetupError
		if !errors.As(err, &fault) || fault.Missing != missing || !strings.Contains(fault.Fix, c.fix) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

// A Cluster that tells its clients no addresses is of no use to go-redis. Its own error is redis.Nil.
func TestUnknownEndpoint(t *testing.T) {
	leak.Check(t)
	const setting = "cluster-preferred-endpoint-type"
	c := redistest.StartCluster(t, 1, 0, "--"+setting, "unknown-endpoint")
	rdb := c.Client(t)
	_, err := Listen(testContext(t), rdb, Options{StartDown: true})
	wantFault(t, err, MissingEndpoint, setting+" ip")
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
	do(t, c.Nodes()[0].Client(t), "CONFIG", "SET", setting, "ip")
	fenced(t, listen(t, rdb, Options{}))
}

// The address of a primary with an IPv6 address is one that can be dialled.
func TestReplicaAtIPv6(t *testing.T) {
	leak.Check(t)
	primary := redistest.Wire{Host: "::1"}.Start(t)
	_, err := Listen(testContext(t), primary.StartReplica(t).Client(t), Options{})
	wantFault(t, err, MissingRole, fmt.Sprintf(`redis.Options{Addr: "[::1]:%d"}`, primary.Port()))
}

// Who has a credentials provider is not told to mend the rights and the password of the default user.
func TestProvidedUserMends(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	s.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all", "-psubscribe")
	password := "wrong"
	rdb := s.Client(t, func(o *redis.Options) {
		o.CredentialsProvider = func() (string, string) { return "app", password }
	})
	_, err := Listen(testContext(t), rdb, Options{})
	wantFault(t, err, MissingAuth, "a credentials provider that gives a user and a password which the server knows")
	password = "secret"
	_, err = Listen(testContext(t), rdb, Options{})
	wantFault(t, err, MissingACL, "ACL SETUSER <the user that the credentials provider names> +psubscribe &__keyspace@0__:*")
}

// Nor is who shows a certificate, by which the server may know another user. This server does not, so that it is the default one.
func TestCertifiedUserMends(t *testing.T) {
	leak.Check(t)
	s := redistest.Wire{TLS: redistest.NewTLS(t, true, "127.0.0.1")}.Start(t)
	rdb := s.Client(t)
	do(t, rdb, "ACL", "SETUSER", "default", "-psubscribe")
	_, err := Listen(testContext(t), rdb, Options{})
	wantFault(t, err, MissingACL, "ACL SETUSER <the user that ACL WHOAMI names> +psubscribe &__keyspace@0__:*")
	do(t, rdb, "ACL", "SETUSER", "default", "resetpass", ">secret")
	_, err = Listen(testContext(t), s.Client(t), Options{})
	wantFault(t, err, MissingAuth, "redis.Options{Username: <a user>, Password: <its password>}, or a certificate that names a user (tls-auth-clients-user)")
}

// A client of one server that is a node of a Cluster hears that node alone, and Status says so.
func TestNodeOfCluster(t *testing.T) {
	leak.Check(t)
	c := redistest.StartCluster(t, 1, 0)
	l := listen(t, c.Nodes()[0].Client(t), Options{})
	if why := reasons(l); !strings.Contains(why, "give a redis.ClusterClient") {
		t.Errorf("reasons: %q", why)
	}
	if why := reasons(listen(t, c.Client(t), Options{})); why != "" {
		t.Errorf("reasons of a Cluster client: %q", why)
	}
}

// A fence that waits for a majority says what it waited for.
func TestFenceSaysWhy(t *testing.T) {
	leak.Check(t)
	g := redistest.StartSentinels(t, 3, 0)
	l := listen(t, g.Client(t), Options{Sentinel: g.FailoverOptions()})
	for _, s := range g.Sentinels[:2] {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a fence that says it", func() bool {
		ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
		defer cancel()
		err := l.Fence(ctx)
		return errors.Is(err, ErrTopology) && errors.Is(err, context.DeadlineExceeded)
	})
}
