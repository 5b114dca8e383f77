package account

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
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

func clients(o redis.UniversalOptions) []redis.UniversalClient {
	return []redis.UniversalClient{
		redis.NewClient(o.Simple()), redis.NewClusterClient(o.Cluster()), redis.NewFailoverClient(o.Failover()),
	}
}

func of(t *testing.T, want string, o redis.UniversalOptions) {
	t.Helper()
	for _, rdb := range clients(o) {
		if got := Of(rdb); got != want {
			t.Errorf("%T: %q, want %q", rdb, got, want)
		}
		rdb.Close()
	}
}

// A certificate names who has no password, read or still to be read.
func TestCertificateOf(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	app := &x509.Certificate{Subject: pkix.Name{CommonName: "app"}, SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, app, app, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	read, unread := tls.Certificate{Leaf: app}, tls.Certificate{Certificate: [][]byte{der}}
	give := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &read, nil }
	provide := func() (string, string) { return "", "" }
	for _, c := range []struct {
		want string
		o    redis.UniversalOptions
	}{
		{"", redis.UniversalOptions{}},
		{"", redis.UniversalOptions{TLSConfig: &tls.Config{}}},
		{"", redis.UniversalOptions{TLSConfig: &tls.Config{Certificates: make([]tls.Certificate, 1)}}},
		{"app", redis.UniversalOptions{TLSConfig: &tls.Config{Certificates: []tls.Certificate{read}}}},
		{"app", redis.UniversalOptions{TLSConfig: &tls.Config{Certificates: []tls.Certificate{unread}}}},
		{called, redis.UniversalOptions{TLSConfig: &tls.Config{GetClientCertificate: give}}},
		{"", redis.UniversalOptions{TLSConfig: &tls.Config{Certificates: []tls.Certificate{read}}, Password: "secret"}},
		{"", redis.UniversalOptions{TLSConfig: &tls.Config{Certificates: []tls.Certificate{read}}, CredentialsProvider: provide}},
	} {
		for _, rdb := range clients(c.o) {
			if got := CertificateOf(rdb); got != c.want {
				t.Errorf("%T of %+v: %q, want %q", rdb, c.o, got, c.want)
			}
			if got := Of(rdb); c.want != "" && got != Certified {
				t.Errorf("%T of %+v: user %q", rdb, c.o, got)
			}
			rdb.Close()
		}
	}
}

type provider struct {
	auth.StreamingCredentialsProvider
}
