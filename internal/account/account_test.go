package account

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
)

func TestOf(t *testing.T) {
	for want, o := range map[string]redis.UniversalOptions{
		"default": {},
		"app":     {Username: "app"},
	} {
		of(t, want, o)
	}
	of(t, Provided, redis.UniversalOptions{CredentialsProvider: func() (string, string) { return "", "" }})
	of(t, Provided, redis.UniversalOptions{CredentialsProviderContext: func(context.Context) (string, string, error) { return "", "", nil }})
	of(t, Provided, redis.UniversalOptions{Username: "app", StreamingCredentialsProvider: auth.StreamingCredentialsProvider(provider{})})
}

func of(t *testing.T, want string, o redis.UniversalOptions) {
	t.Helper()
	for _, rdb := range []redis.UniversalClient{
		redis.NewClient(o.Simple()), redis.NewClusterClient(o.Cluster()), redis.NewFailoverClient(o.Failover()),
	} {
		if got := Of(rdb); got != want {
			t.Errorf("%T: %q, want %q", rdb, got, want)
		}
		rdb.Close()
	}
}

type provider struct {
	auth.StreamingCredentialsProvider
}
