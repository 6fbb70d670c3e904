// Render writes the configuration of a cluster of one's own NATS servers, and the
// credentials of its controllers: see README.md beside it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run() error {
	var cluster hub.ClusterConfig
	keys := flag.String("keys", "", "`directory` of the keys, made at the first call; keep it secret and backed up")
	out := flag.String("out", ".", "`directory` to write to")
	hosts := flag.String("hosts", "", "comma-separated `hosts` of the servers n1, n2, n3, each host or host:client-port:route-port")
	creds := flag.String("controller", "", "also write credentials for the controller of this `name` to <out>/<name>.creds")
	revoke := flag.String("revoke", "", "revoke the user of this public `key` first")
	flag.StringVar(&cluster.Name, "name", "ebbgate", "`name` of the cluster")
	flag.StringVar(&cluster.StoreDir, "store", "/var/lib/nats", "`directory` of the streams on each server")
	flag.StringVar(&cluster.CertFile, "tls-cert", "", "`path` of the certificate on each server")
	flag.StringVar(&cluster.KeyFile, "tls-key", "", "`path` of its key")
	flag.StringVar(&cluster.CAFile, "tls-ca", "", "`path` of the certificates that sign the servers'")
	flag.Parse()
	if *keys == "" || *hosts == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	var err error
	if cluster.Nodes, err = parseNodes(*hosts); err != nil {
		return err
	}
	k, err := hub.OpenKeys(*keys)
	if err != nil {
		return err
	}
	if *revoke != "" {
		if err := k.Revoke(*revoke); err != nil {
			return err
		}
	}
	files, err := k.RenderConfig(cluster)
	if err != nil {
		return err
	}
	if *creds != "" {
		if files[*creds+".creds"], err = k.MintControllerCreds(*creds); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	for _, name := range wire.Keys(files) {
		path := filepath.Join(*out, name)
		if err := os.WriteFile(path, files[name], 0o600); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}

// parseNodes reads "host[:client-port:route-port]" of each server; the host has no colon.
func parseNodes(hosts string) ([]hub.Node, error) {
	var nodes []hub.Node
	for i, s := range strings.Split(hosts, ",") {
		n := hub.Node{Name: fmt.Sprintf("n%d", i+1)}
		host, ports, found := strings.Cut(s, ":")
		n.Host = host
		if found {
			if _, err := fmt.Sscanf(ports, "%d:%d", &n.ClientPort, &n.RoutePort); err != nil {
				return nil, fmt.Errorf("hosts: %q is not host:client-port:route-port", s)
			}
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
