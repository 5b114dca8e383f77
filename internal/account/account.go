// Package account names the Redis user that a client speaks as.
package account

import (
	"cmp"

	"github.com/redis/go-redis/v9"
)

// Provided stands for a user that the client's credentials provider names, anew for every connection.
const Provided = "<the user that the credentials provider names>"

// Of is the name of rdb's user, or Provided.
func Of(rdb redis.UniversalClient) string {
	switch c := rdb.(type) {
	case *redis.Client:
		return In(c.Options())
	case *redis.ClusterClient:
		o := c.Options()
		return In(&redis.Options{
			Username: o.Username, CredentialsProvider: o.CredentialsProvider,
			CredentialsProviderContext:   o.CredentialsProviderContext,
			StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		})
	}
	return In(new(redis.Options))
}

// In is Of for a client of one server, with options o.
func In(o *redis.Options) string {
	if o.CredentialsProvider != nil || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil {
		return Provided
	}
	return cmp.Or(o.Username, "default")
}
