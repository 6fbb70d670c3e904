package hub

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"text/template"

	"github.com/ebbgate/ebbgate/wire"
)

// ClusterConfig describes a cluster of one's own servers.
type ClusterConfig struct {
	Name  string // of the cluster. Required, a token.
	Nodes []Node // Required: 1, 3 or 5.
	// StoreDir is where each node keeps its streams. Required, absolute.
	StoreDir string
	// CertFile, KeyFile and CAFile are the paths of each node's certificate, its key, and
	// the certificates that sign the nodes'. Required, unless every host is loopback.
	CertFile, KeyFile, CAFile string
}

// Node is one server of a cluster.
type Node struct {
	Name                  string // Required, a token.
	Host                  string // where it listens and is reached: a name or an address
	ClientPort, RoutePort int    // Default 4222 and 6222.
}

// AccountsName is the file that every node's configuration includes.
const AccountsName = "accounts.conf"

var (
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)
	pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._/-]*$`)
)

func (c *ClusterConfig) validate() error {
	if err := wire.CheckToken(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if n := len(c.Nodes); n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("nodes: are %d, want 1, 3 or 5", n)
	}
	if !pathPattern.MatchString(c.StoreDir) {
		return fmt.Errorf("store dir: %q is not an absolute path of plain characters", c.StoreDir)
	}
	tls := c.CertFile != "" || c.KeyFile != "" || c.CAFile != ""
	for _, file := range []string{c.CertFile, c.KeyFile, c.CAFile} {
		if tls && !pathPattern.MatchString(file) {
			return fmt.Errorf("tls: %q is not an absolute path of plain characters", file)
		}
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if err := wire.CheckToken(n.Name); err != nil {
			return fmt.Errorf("nodes[%d].name: %w", i, err)
		}
		if !hostPattern.MatchString(n.Host) {
			return fmt.Errorf("nodes[%d].host: %q is neither a name nor an address", i, n.Host)
		}
		if !tls && !loopback(n.Host) {
			return fmt.Errorf("nodes[%d].host: %s is not loopback, which requires TLS", i, n.Host)
		}
		if n.ClientPort == 0 {
			n.ClientPort = 4222
		}
		if n.RoutePort == 0 {
			n.RoutePort = 6222
		}
	}
	return nil
}

// RenderConfig returns the configuration of a cluster that trusts the keys, file name →
// content: <node>.conf of every node, and [AccountsName], which all of them include and
// which has to be rendered and loaded again after a revocation. It holds no secret.
func (k *Keys) RenderConfig(c ClusterConfig) (map[string][]byte, error) {
	files, err := RenderNodes(c)
	if err != nil {
		return nil, err
	}
	if files[AccountsName], err = k.renderAccounts(); err != nil {
		return nil, fmt.Errorf("cannot render accounts: %w", err)
	}
	return files, nil
}

// RenderNodes is [Keys.RenderConfig] without the accounts.
func RenderNodes(c ClusterConfig) (map[string][]byte, error) {
	c.Nodes = append([]Node{}, c.Nodes...)
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("cannot render cluster: %w", err)
	}
	files := map[string][]byte{}
	for _, n := range c.Nodes {
		var b bytes.Buffer
		if err := nodeTemplate.Execute(&b, map[string]any{"Cluster": c, "Node": n, "Accounts": AccountsName}); err != nil {
			return nil, fmt.Errorf("cannot render %s: %w", n.Name, err)
		}
		files[n.Name+".conf"] = b.Bytes()
	}
	if len(files) != len(c.Nodes) {
		return nil, fmt.Errorf("cannot render cluster: nodes: two have the same name")
	}
	return files, nil
}

var nodeTemplate = template.Must(template.New("node").Funcs(template.FuncMap{
	"address": func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) },
}).Parse(`# Server {{.Node.Name}} of the cluster {{.Cluster.Name}}.
server_name: "{{.Node.Name}}"
listen: "{{address .Node.Host .Node.ClientPort}}"
{{- if .Cluster.CertFile}}
tls {
  cert_file: "{{.Cluster.CertFile}}"
  key_file: "{{.Cluster.KeyFile}}"
}
{{- end}}

# An acknowledged decision survives power loss; the default syncs every two minutes.
jetstream {
  store_dir: "{{.Cluster.StoreDir}}"
  sync_interval: always
}

cluster {
  name: "{{.Cluster.Name}}"
  listen: "{{address .Node.Host .Node.RoutePort}}"
{{- if .Cluster.CertFile}}
  # Servers show each other certificates of the same authority.
  tls {
    cert_file: "{{.Cluster.CertFile}}"
    key_file: "{{.Cluster.KeyFile}}"
    ca_file: "{{.Cluster.CAFile}}"
    verify: true
  }
{{- end}}
  routes: [
{{- range .Cluster.Nodes}}
    "nats://{{address .Host .RoutePort}}"
{{- end}}
  ]
}

# Who may say what: rendered from the keys, the same on every server.
include "{{.Accounts}}"
`))

func (k *Keys) renderAccounts() ([]byte, error) {
	c, err := k.claims()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Rendered from the keys. Render and load again after a revocation.\n")
	// The operator's key, not a claim of it: that says when it was signed, and a server does not
	// load an operator again that has changed.
	fmt.Fprintf(&b, "trusted: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload {\n", public(k.operator), public(k.system))
	for _, a := range c.accounts {
		fmt.Fprintf(&b, "  # %s\n  %s: %s\n", a.name, a.key, a.token)
	}
	fmt.Fprintf(&b, "}\n")
	return b.Bytes(), nil
}
