// Package account names the Redis user that a client speaks as.
package account

import (
	"cmp"
	"crypto/x509"

	"github.com/redis/go-redis/v9"
)

// Provided stands for a user that the client's credentials provider names, anew for every connection.
const Provided = "<the user that the credentials provider names>"

// Certified stands for the user where a certificate may name it, see [CertificateOf]: the server alone knows.
const Certified = "<the user that ACL WHOAMI names>"

// Of is the name of rdb's user, Provided or Certified.
func Of(rdb redis.UniversalClient) string { return In(optionsOf(rdb)) }

func optionsOf(rdb redis.UniversalClient) *redis.Options {
	switch c := rdb.(type) {
	case *redis.Client:
		return c.Options()
	case *redis.ClusterClient:
		o := c.Options()
		return &redis.Options{
			Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, CredentialsProvider: o.CredentialsProvider,
			CredentialsProviderContext:   o.CredentialsProviderContext,
			StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		}
	}
	return new(redis.Options)
}

// CertificateOf is the common name of the certificate that rdb shows, which Redis 8.6 takes for its user if it is told to
// (tls-auth-clients-user); "" where rdb has a password, which goes before it, or shows none.
func CertificateOf(rdb redis.UniversalClient) string { return certificate(optionsOf(rdb)) }

func certificate(o *redis.Options) string {
	switch {
	case o.Password != "" || provides(o) || o.TLSConfig == nil:
		return ""
	case o.TLSConfig.GetClientCertificate != nil:
		return called
	case len(o.TLSConfig.Certificates) == 0:
		return ""
	}
	shown := o.TLSConfig.Certificates[0]
	if shown.Leaf == nil && len(shown.Certificate) > 0 {
		shown.Leaf, _ = x509.ParseCertificate(shown.Certificate[0])
	}
	if shown.Leaf == nil {
		return ""
	}
	return shown.Leaf.Subject.CommonName
}

// called stands for what a callback would name.
const called = "<what GetClientCertificate gives>"

// In is Of for a client of one server, with options o.
func In(o *redis.Options) string {
	switch {
	case provides(o):
		return Provided
	case certificate(o) != "":
		return Certified
	}
	return cmp.Or(o.Username, "default")
}

func provides(o *redis.Options) bool {
	return o.CredentialsProvider != nil || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil
}
