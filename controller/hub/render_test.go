package hub

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "write the golden files")

func exampleCluster() ClusterConfig {
	return ClusterConfig{
		Name:     "ebbgate",
		Nodes:    []Node{{Name: "n1", Host: "n1"}, {Name: "n2", Host: "n2"}, {Name: "n3", Host: "n3"}},
		StoreDir: "/var/lib/nats",
		CertFile: "/etc/nats/tls/server.crt",
		KeyFile:  "/etc/nats/tls/server.key",
		CAFile:   "/etc/nats/tls/ca.crt",
	}
}

// The files in deploy/nats are what the renderer writes.
func TestRenderNodesIsWhatDeployShows(t *testing.T) {
	files, err := RenderNodes(exampleCluster())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range wire.Keys(files) {
		path := filepath.Join("../../deploy/nats", name)
		if *update {
			if err := os.WriteFile(path, files[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(files[name])); diff != "" {
			t.Errorf("%s (-want +got); -update writes it:\n%s", path, diff)
		}
	}
}

// A server understands what is rendered and trusts the keys.
func TestRenderConfigIsUnderstood(t *testing.T) {
	k, err := OpenKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cluster := exampleCluster()
	cluster.CertFile, cluster.KeyFile, cluster.CAFile = "", "", "" // there are none here
	for i, host := range []string{"127.0.0.1", "::1", "localhost"} {
		cluster.Nodes[i].Host = host
	}
	files, err := k.RenderConfig(cluster)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range wire.Keys(files) {
		for _, secret := range []string{"SO", "SA", "SU"} {
			for _, word := range strings.Fields(string(files[name])) {
				if strings.HasPrefix(word, secret) && len(word) == 58 {
					t.Errorf("%s holds a seed", name)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "n2.conf"))
	if err != nil {
		t.Fatal(err)
	}
	type facts struct {
		Name, Host, System, Operator string
		Port, Routes                 int
		JetStream, SyncAlways        bool
	}
	got := facts{opts.ServerName, opts.Host, opts.SystemAccount, strings.Join(opts.TrustedKeys, " "), opts.Port, len(opts.Routes), opts.JetStream, opts.SyncAlways}
	want := facts{"n2", "::1", public(k.system), public(k.operator), 4222, 3, true, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the server reads (-want +got):\n%s", diff)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(c *ClusterConfig){
		"no name":            func(c *ClusterConfig) { c.Name = "" },
		"two nodes":          func(c *ClusterConfig) { c.Nodes = c.Nodes[:2] },
		"same name":          func(c *ClusterConfig) { c.Nodes[1].Name = "n1" },
		"hostile name":       func(c *ClusterConfig) { c.Nodes[1].Name = `n"` },
		"hostile host":       func(c *ClusterConfig) { c.Nodes[1].Host = "n2\"\ninclude \"x" },
		"hostile path":       func(c *ClusterConfig) { c.StoreDir = "/a\"\nb" },
		"relative path":      func(c *ClusterConfig) { c.StoreDir = "nats" },
		"certificate alone":  func(c *ClusterConfig) { c.KeyFile = "" },
		"public without TLS": func(c *ClusterConfig) { c.CertFile, c.KeyFile, c.CAFile = "", "", "" },
	} {
		c := exampleCluster()
		change(&c)
		if _, err := RenderNodes(c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q, want one line", name, err)
		}
	}
}
