// Package hubtest runs a cluster of real NATS servers for tests: three processes of the
// pinned nats-server, configured as deploy/nats configures them, and killed without
// warning.
package hubtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/internal/ports"
)

const (
	servers   = 3
	startTime = 20 * time.Second
)

// Cluster is three servers on loopback, by index 0 to 2.
type Cluster struct {
	URLs []string  // where clients connect
	Keys *hub.Keys // what the servers trust
	// KeysDir is where the keys are kept: the hub directory of a controller.
	KeysDir string

	t       testing.TB
	cfg     hub.ClusterConfig
	program string
	dir     string
	running [servers]*exec.Cmd
}

// StartCluster starts three servers and waits until clients can connect; streams can be
// made a moment later, when a leader is elected. They end with the test.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, dir: t.TempDir(), program: filepath.Join(t.TempDir(), "nats-server")}
	if out, err := exec.Command("go", "build", "-o", c.program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		c.missing(fmt.Sprintf("cannot build nats-server: %v\n%s", err, out))
	}
	c.KeysDir = filepath.Join(c.dir, "keys")
	keys, err := hub.OpenKeys(c.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	c.Keys = keys
	c.cfg = hub.ClusterConfig{Name: "ebbgate"}
	free, release, err := ports.Take(2 * servers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	for i := range servers {
		n := hub.Node{Name: fmt.Sprintf("n%d", i+1), Host: "127.0.0.1", ClientPort: free[2*i], RoutePort: free[2*i+1]}
		c.cfg.Nodes = append(c.cfg.Nodes, n)
		c.URLs = append(c.URLs, "nats://"+address(n.Host, n.ClientPort))
	}
	c.write()
	t.Cleanup(func() {
		for i := range servers {
			c.Stop(i)
			if t.Failed() {
				log, err := os.ReadFile(c.path(i, ".log"))
				t.Logf("log of n%d (%v):\n%s", i+1, err, log[max(0, len(log)-4000):])
			}
		}
	})
	for i := range servers {
		c.launch(i)
	}
	for i := range servers {
		c.await(i)
	}
	return c
}

// missing ends the test: as a failure where servers are required.
func (c *Cluster) missing(reason string) {
	c.t.Helper()
	if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
		c.t.Fatal(reason)
	}
	c.t.Skip(reason)
}

// write renders the configuration, each server with a store of its own.
func (c *Cluster) write() {
	c.t.Helper()
	for i := range servers {
		cfg := c.cfg
		cfg.StoreDir = c.path(i, "")
		files, err := c.Keys.RenderConfig(cfg)
		if err != nil {
			c.t.Fatal(err)
		}
		name := cfg.Nodes[i].Name + ".conf"
		for name, text := range map[string][]byte{name: files[name], hub.AccountsName: files[hub.AccountsName]} {
			if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

func (c *Cluster) path(i int, suffix string) string {
	return filepath.Join(c.dir, fmt.Sprintf("n%d%s", i+1, suffix))
}

func (c *Cluster) launch(i int) {
	c.t.Helper()
	log, err := os.OpenFile(c.path(i, ".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(c.program, "-c", c.path(i, ".conf"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.running[i] = cmd
}

// await waits until a server takes connections.
func (c *Cluster) await(i int) {
	c.t.Helper()
	n := c.cfg.Nodes[i]
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address(n.Host, n.ClientPort), time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s does not take connections: %v", n.Name, err)
		}
	}
}

// Stop kills a server as a power cut would. Stopping a stopped one does nothing.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	cmd := c.running[i]
	if cmd == nil {
		return
	}
	c.running[i] = nil
	if err := cmd.Process.Kill(); err != nil {
		c.t.Errorf("cannot kill n%d: %v", i+1, err)
	}
	_ = cmd.Wait() // says that it was killed
}

// Start starts a stopped server with all it has stored and waits until clients can connect.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	if c.running[i] == nil {
		c.launch(i)
	}
	c.await(i)
}

// Reload renders the accounts again and has every running server load them.
func (c *Cluster) Reload() {
	c.t.Helper()
	c.write()
	for i, cmd := range c.running {
		if cmd == nil {
			continue
		}
		if out, err := exec.Command(c.program, "--signal", fmt.Sprintf("reload=%d", cmd.Process.Pid)).CombinedOutput(); err != nil {
			c.t.Fatalf("cannot reload n%d: %v\n%s", i+1, err, out)
		}
	}
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
