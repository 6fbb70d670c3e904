package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/controller/hub"
	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/natsbus"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// beMain makes the test binary the program under test.
const beMain = "EBBGATE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), beMain+"=1")
	return cmd
}

// do runs the program to its end.
func do(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "agent.yaml")
	check(t, os.WriteFile(bad, []byte("id: n1\nregio: eu\n"), 0o600))
	for _, tc := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"help"}, 0, "Usage:", ""},
		{[]string{"run", "-h"}, 0, "Usage:", ""},
		{[]string{"version"}, 0, "ebbgate-agent ", ""},
		{[]string{"frob"}, 2, "", `no command "frob"`},
		{[]string{"-h"}, 0, "Usage:", ""},
		{[]string{"run", "-x"}, 2, "", "-x"},
		{[]string{"rollback"}, 2, "", "takes 1 arguments"},
		{[]string{"rollback", "No"}, 2, "", "app"},
		{[]string{"status", "-o", "xml"}, 2, "", "want table or json"},
		{[]string{"-c", "/nowhere/agent.yaml"}, 1, "", "/nowhere/agent.yaml"},
		{[]string{"-c", bad}, 1, "", bad + ": line 2: field regio not found\n"},
	} {
		stdout, stderr, code := do(t, tc.args...)
		if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("%q: code %d, stdout %q, stderr %q", tc.args, code, stdout, stderr)
		}
		if code != 0 && (stdout != "" || strings.Count(stderr, "\n") != 1) {
			t.Errorf("%q: an error of more than a line: %q, %q", tc.args, stdout, stderr)
		}
	}
}

// TestVersion holds that one build sets the version of both programs.
func TestVersion(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("make", "-C", "../..", "build", "VERSION=v9.8.7", "BIN="+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"ebbgate", "ebbgate-agent"} {
		out, err := exec.Command(filepath.Join(dir, name), "version").Output()
		check(t, err)
		if !strings.HasPrefix(string(out), name+" v9.8.7") {
			t.Errorf("%s version: %s", name, out)
		}
	}
}

// TestLinks holds what an edge node must not carry.
func TestLinks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	check(t, err)
	for _, no := range []string{"nats-server", "ebbgate/cdn", "ebbgate/controller", "spf13", "cloudflare", "fastly", "charm.land"} {
		if strings.Contains(string(out), no) {
			t.Errorf("the agent links %s", no)
		}
	}
}

// node is a fleet of one: a real NATS server, a controller's hand, an agent's files.
type node struct {
	t        *testing.T
	dir      string
	hub      *hub.Server
	bus      wire.ControllerBus
	fence    wire.Fence
	author   wire.PrivateKey
	control  wire.PrivateKey
	listen   string
	sequence uint64
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	var err error
	n.hub, err = hub.Start(hub.Config{Dir: filepath.Join(n.dir, "hub")})
	check(t, err)
	t.Cleanup(func() { n.hub.Close() })
	creds, err := n.hub.Keys().MintControllerCreds("c1")
	check(t, err)
	n.bus, err = natsbus.ConnectController(t.Context(), natsbus.Config{Servers: []string{n.hub.ClientURL()}, Creds: creds, Name: "c1"})
	check(t, err)
	t.Cleanup(n.bus.Close)
	check(t, n.bus.Setup(t.Context(), 1))
	n.fence, err = n.bus.TakeLease(t.Context(), "c1", 0)
	check(t, err)

	var keys [3]wire.PrivateKey
	for i := range keys {
		keys[i], err = wire.GenerateKey(rand.Reader)
		check(t, err)
	}
	n.author, n.control = keys[0], keys[1]
	role := func(k wire.PrivateKey) wire.KeyRole {
		return wire.KeyRole{Threshold: 1, Keys: []wire.PublicKey{k.Public()}}
	}
	root := wire.Root{Fleet: "lab", Version: 1, Expires: time.Now().Add(time.Hour),
		Roles: map[wire.Role]wire.KeyRole{wire.RoleRoot: role(keys[2]), wire.RoleAuthor: role(n.author), wire.RoleController: role(n.control)}}
	payload, err := root.Encode()
	check(t, err)
	envelope, err := wire.Seal(wire.TypeRoot, payload, keys[2])
	check(t, err)
	agentKey, err := wire.GenerateKey(rand.Reader)
	check(t, err)
	agentCreds, err := n.hub.Keys().MintAgentCreds("n1", "eu")
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	n.listen = l.Addr().String()
	check(t, l.Close())
	for name, data := range map[string]string{
		"root.json": string(envelope), "agent.key": agentKey.Secret() + "\n", "agent.creds": string(agentCreds),
		"gossip.key": strings.Repeat("5a", 32) + "\n",
		"agent.yaml": fmt.Sprintf(`id: n1
region: eu
state: state
root: root.json
key: agent.key
heartbeat: 500ms
probe: 500ms
nats:
  servers: ["%s"]
  creds: agent.creds
gossip:
  bind: 127.0.0.1:0
  key: gossip.key
apps:
  web:
    kind: builtin
    listen: %s
`, n.hub.ClientURL(), n.listen),
	} {
		check(t, os.WriteFile(filepath.Join(n.dir, name), []byte(data), 0o600))
	}
	return n
}

func (n *node) yaml() string { return filepath.Join(n.dir, "agent.yaml") }

// publish signs and uploads a bundle of one page.
func (n *node) publish(e wire.Epoch, version wire.Version, page string) wire.Target {
	n.t.Helper()
	d := wire.DigestOf([]byte(page))
	m := wire.Manifest{Format: 1, App: "web", Version: version, Probes: []wire.Probe{{Path: "/", Status: 200, Body: page}},
		Files: []wire.File{{Path: "site/index.html", Mode: wire.ModeRegular, Size: int64(len(page)), SHA256: d}}}
	payload, err := m.Encode()
	check(n.t, err)
	sigs, err := wire.Sign(wire.TypeManifest, payload, n.author)
	check(n.t, err)
	_, index, err := pack.Write(n.t.Context(), pack.Source{Payload: payload, Signatures: sigs,
		Open: func(wire.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(page)), nil }},
		func(ctx context.Context, d wire.Digest, b []byte) error {
			return n.bus.PutBlob(ctx, d, slices.Clone(b))
		})
	check(n.t, err)
	return wire.Target{Epoch: e, Digest: wire.DigestOf(payload), Version: version, Packs: []wire.PackRef{{Index: index}}}
}

func (n *node) order(o wire.Order) {
	n.t.Helper()
	n.sequence++
	d := wire.Desired{Fleet: "lab", Region: "eu", Sequence: n.sequence, Issued: time.Now(), Apps: map[wire.App]wire.Order{"web": o}}
	payload, err := d.Encode()
	check(n.t, err)
	envelope, err := wire.Seal(wire.TypeDesired, payload, n.control)
	check(n.t, err)
	check(n.t, n.bus.PutWant(n.t.Context(), n.fence, "eu", envelope))
}

func activate(t wire.Target) wire.Order {
	return wire.Order{Next: &wire.Transit{Target: t, Phase: wire.PhaseActivate, Cohort: wire.Cohort{CutOff: wire.AllScores}}}
}

func (n *node) page() string {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := c.Get("http://" + n.listen + "/")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

// runs waits until the agent says that it runs an epoch, read back.
func (n *node) runs(e wire.Epoch) {
	n.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		stdout, stderr, code := do(n.t, "status", "-c", n.yaml(), "-o", "json")
		var s agent.Status
		if code == 0 && json.Unmarshal([]byte(stdout), &s) == nil {
			if r := s.Report.Apps["web"].Running; r != nil && r.Epoch == e && r.State == wire.StateConfirmed {
				return
			}
		}
		if time.Now().After(end) {
			n.t.Fatalf("never ran epoch %d: %s%s", e, stdout, stderr)
		}
	}
}

// TestANode drives the program as a node lives: orders over a real NATS server, a lost
// network, a rollback on the node, a cold start without a network, an orderly end.
func TestANode(t *testing.T) {
	n := newNode(t)
	start := func() *exec.Cmd {
		cmd := command("-c", n.yaml())
		var log bytes.Buffer
		cmd.Stderr = &log
		check(t, cmd.Start())
		t.Cleanup(func() {
			cmd.Process.Kill() // fails when it has ended
			cmd.Wait()
			if t.Failed() {
				t.Logf("log of the agent:\n%s", log.String())
			}
		})
		return cmd
	}
	stop := func(cmd *exec.Cmd) {
		t.Helper()
		check(t, cmd.Process.Signal(syscall.SIGTERM))
		check(t, cmd.Wait())
	}
	if _, stderr, code := do(t, "status", "-c", n.yaml()); code != 1 || !strings.Contains(stderr, "no agent answers") {
		t.Errorf("status without an agent: %d, %q", code, stderr)
	}
	cmd := start()
	v1 := n.publish(1, "1.0", "one")
	n.order(activate(v1))
	n.runs(1)
	if _, stderr, code := do(t, "rollback", "-c", n.yaml(), "web"); code != 1 || !strings.Contains(stderr, "no older release") {
		t.Errorf("rollback of the first release: %d, %q", code, stderr)
	}
	v2 := n.publish(2, "2.0", "two")
	n.order(activate(v2))
	n.runs(2)
	if p := n.page(); p != "two" {
		t.Fatalf("serves %q", p)
	}
	if _, stderr, code := do(t, "-c", n.yaml()); code != 1 || !strings.Contains(stderr, "another process") {
		t.Errorf("a second agent: %d, %q", code, stderr)
	}
	n.bus.Close()
	check(t, n.hub.Close())
	if _, stderr, code := do(t, "rollback", "-c", n.yaml(), "web"); code != 0 {
		t.Fatalf("rollback without a network: %d, %q", code, stderr)
	}
	if p := n.page(); p != "one" {
		t.Fatalf("serves %q after the rollback", p)
	}
	stop(cmd)
	cmd = start()
	n.runs(1)
	if p := n.page(); p != "one" {
		t.Fatalf("serves %q after a cold start", p)
	}
	stdout, _, code := do(t, "status", "-c", n.yaml())
	if code != 0 || !strings.Contains(stdout, "rolled back on the node") || !strings.Contains(stdout, "builtin") {
		t.Errorf("status: %d, %s", code, stdout)
	}
	stop(cmd)
}
