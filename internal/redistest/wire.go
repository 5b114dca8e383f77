package redistest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
)

// Wire is how servers are reached, by clients and by one another. The zero value is what [Start], [StartCluster] and
// [StartSentinels] use: 127.0.0.1, and nothing encrypted. Other groups cannot be parted, for what tells peers' connections
// from one another is a name of each node's own, in the clear.
type Wire struct {
	Host string // where they listen: an address of this machine, such as "::1"
	Name string // what they are called instead of Host: a name of it, such as "localhost"
	TLS  *TLS   // what they speak, on their only port
}

// Start is the function of that name on w.
func (w Wire) Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := w.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	s.until(t)
	return s
}

func (w Wire) host() string { return cmp.Or(w.Host, "127.0.0.1") }

// called is the host by which clients are to know servers.
func (w Wire) called() string { return cmp.Or(w.Name, w.host()) }

func (w Wire) door(t testing.TB) *faultproxy.Proxy {
	t.Helper()
	return faultproxy.NewAt(t, w.host(), "")
}

// args are those of a server on port.
func (w Wire) args(port int) []string {
	args := []string{"--bind", w.host()}
	if w.TLS == nil {
		return append(args, "--port", strconv.Itoa(port))
	}
	return append(append(args, "--port", "0", "--tls-port", strconv.Itoa(port)), w.TLS.args...)
}

// ClientTLS is what a client needs, nil where nothing is encrypted. Each has its own.
func (w Wire) ClientTLS() *tls.Config {
	if w.TLS == nil {
		return nil
	}
	return w.TLS.client.Clone()
}

// TLS is an authority made for a test, and one certificate that it gave to servers and clients alike.
type TLS struct {
	args   []string
	client *tls.Config
}

// NewTLS makes a certificate for hosts: addresses and names, and none but they are believed. With mutual the servers want
// it of their clients too; else clients have none.
func NewTLS(t testing.TB, mutual bool, hosts ...string) *TLS {
	t.Helper()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	caKey, key := newKey(t), newKey(t)
	caCert, cert := sign(t, authority, authority, caKey, caKey), sign(t, leaf, authority, key, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatalf("redistest: %v", err)
		}
		return path
	}
	wants := "no"
	c := &TLS{client: &tls.Config{RootCAs: x509.NewCertPool()}}
	c.client.RootCAs.AddCert(caCert)
	if mutual {
		wants = "yes"
		c.client.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	c.args = []string{
		"--tls-ca-cert-file", file("ca.crt", "CERTIFICATE", caCert.Raw), "--tls-cert-file", file("redis.crt", "CERTIFICATE", cert.Raw),
		"--tls-key-file", file("redis.key", "PRIVATE KEY", keyDER), "--tls-auth-clients", wants,
		"--tls-replication", "yes", "--tls-cluster", "yes",
	}
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return key
}

func sign(t testing.TB, cert, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return signed
}
