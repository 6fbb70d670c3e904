package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

const goodConfig = `id: n1
region: eu
state: state
root: /etc/root.json
key: agent.key
nats: {servers: ["nats://127.0.0.1:4222"], creds: c.creds}
gossip: {bind: "127.0.0.1:0", key: g.key, allow: ["10.0.0.0/8"]}
apps: {web: {kind: builtin, listen: "127.0.0.1:0", timeout: 5s, limits: {file: 1024, growth: 1.5}}}
heartbeat: 3s
`

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	read := func(text string) (Config, error) {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		return ReadConfig(path)
	}
	cfg, err := read(goodConfig)
	check(t, err)
	dir := filepath.Dir(path)
	if cfg.State != filepath.Join(dir, "state") || cfg.Root != "/etc/root.json" || cfg.Gossip.Key != filepath.Join(dir, "g.key") || cfg.Control != "" {
		t.Errorf("paths: %+v", cfg)
	}
	if cfg.Heartbeat.Std() != 3*time.Second || cfg.Probe.Std() != 10*time.Second || cfg.Apps["web"].Timeout.Std() != 5*time.Second {
		t.Errorf("durations: %+v", cfg)
	}
	if want := (wire.Limits{File: 1024, Growth: 1.5}); cfg.Apps["web"].Limits != want {
		t.Errorf("limits: %+v", cfg.Apps["web"].Limits)
	}
	if got, want := cfg.Socket(), filepath.Join(dir, "state", "agent.sock"); got != want {
		t.Errorf("socket %s, want %s", got, want)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"unknown key": {"region: eu", "regio: eu", "regio"},
		"bad id":      {"id: n1", "id: N1", "id"},
		"no region":   {"region: eu", "", "region"},
		"no state":    {"state: state", "", "state is missing"},
		"bad limit":   {"limits: {file", "limits: {fil", "fil"},
		"no apps":     {`apps: {web: {kind: builtin, listen: "127.0.0.1:0", timeout: 5s, limits: {file: 1024, growth: 1.5}}}`, "", "apps is empty"},
		"bad app":     {"apps: {web", "apps: {We_b", "apps"},
		"no servers":  {`servers: ["nats://127.0.0.1:4222"], `, "", "nats.servers"},
		"no server":   {`"nats://127.0.0.1:4222"`, `"nats://127.0.0.1:4222", ""`, "nats.servers[1] is blank"},
		"no creds":    {", creds: c.creds", "", "nats.creds"},
		"no bind":     {`bind: "127.0.0.1:0", `, "", "gossip"},
		"negative":    {"heartbeat: 3s", "heartbeat: -3s", "negative"},
		"two":         {"apps: {web", "---\napps: {web", "more than one document"},
		"not YAML":    {"id: n1", "id: [", "yaml"},
	} {
		text := strings.Replace(goodConfig, tc.old, tc.new, 1)
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadConfig(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent file was read")
	}
}

func TestNewRefusesWhatIsNotTheAgents(t *testing.T) {
	for name, spoil := range map[string]struct {
		do   func(f *fleet) error
		want string
	}{
		"no root":        {func(f *fleet) error { return os.Remove(f.path("root.json")) }, "root"},
		"damaged root":   {func(f *fleet) error { return os.WriteFile(f.path("root.json"), []byte("{}"), 0o600) }, "root"},
		"a readable key": {func(f *fleet) error { return os.Chmod(f.path("agent.key"), 0o644) }, "others must not read it"},
		"no key":         {func(f *fleet) error { return os.WriteFile(f.path("agent.key"), []byte("x"), 0o600) }, "key"},
	} {
		f := newFleet(t)
		_, bus := f.withMemory()
		check(t, spoil.do(f))
		if _, err := New(f.config(bus)); err == nil || !strings.Contains(err.Error(), spoil.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
