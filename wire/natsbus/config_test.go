package natsbus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
)

func TestConfigIsValidated(t *testing.T) {
	good := natsbus.Config{Servers: []string{"nats://127.0.0.1:1"}, Creds: []byte("x"), Name: "node-1"}
	for name, change := range map[string]func(c *natsbus.Config){
		"servers":        func(c *natsbus.Config) { c.Servers = nil },
		"creds":          func(c *natsbus.Config) { c.Creds = nil },
		"name":           func(c *natsbus.Config) { c.Name = "a.b" },
		"reconnect wait": func(c *natsbus.Config) { c.ReconnectWait = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := natsbus.ConnectAgent(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
	both, missing := good, good
	both.CredsFile = "/dev/null"
	missing.Creds, missing.CredsFile = nil, "/nowhere/agent.creds"
	for name, cfg := range map[string]natsbus.Config{"two sets of credentials": both, "a missing file": missing} {
		if _, err := natsbus.ConnectAgent(t.Context(), cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestControllerNeedsAServer(t *testing.T) {
	e := start(t)
	creds, err := e.s.Keys().MintControllerCreds("leader")
	must(t, err)
	e.Down(t)
	if _, err := natsbus.ConnectController(t.Context(), config(t, "leader", creds, e.url)); !errors.Is(err, wire.ErrDisconnected) {
		t.Errorf("error %v, want %v", err, wire.ErrDisconnected)
	}
	e.Up(t)
}

// Credentials work from a file over TLS, and only if the server's certificate is trusted.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, ca := certificate(t)
	caFile := filepath.Join(dir, "ca.crt")
	must(t, os.WriteFile(caFile, ca, 0o600))
	s, err := hub.Start(hub.Config{Dir: filepath.Join(dir, "hub"), Host: "0.0.0.0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	must(t, err)
	defer s.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(s.ClientURL(), "tls://"), "nats://"))
	must(t, err)
	url := "tls://127.0.0.1:" + port
	creds, err := s.Keys().MintControllerCreds("leader")
	must(t, err)
	file := filepath.Join(dir, "leader.creds")
	must(t, os.WriteFile(file, creds, 0o600))
	c, err := natsbus.ConnectController(t.Context(), natsbus.Config{Servers: []string{url}, CredsFile: file, Name: "leader", RootCA: caFile})
	must(t, err)
	defer c.Close()
	must(t, c.Setup(t.Context(), 1))
	if c, err := natsbus.ConnectController(t.Context(), natsbus.Config{Servers: []string{url}, CredsFile: file, Name: "leader"}); err == nil {
		c.Close()
		t.Error("an unknown certificate was trusted")
	}
	if c, err := natsbus.ConnectController(t.Context(), natsbus.Config{Servers: []string{"nats://127.0.0.1:" + port}, CredsFile: file, Name: "leader"}); err == nil {
		c.Close()
		t.Error("an unknown certificate was trusted")
	}
}

func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
