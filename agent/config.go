package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/wire"
)

// Config is what a node has to know. The YAML names are those of agent.yaml.
type Config struct {
	ID     wire.AgentID `yaml:"id"`     // required; stable across restarts
	Region wire.Region  `yaml:"region"` // required
	State  string       `yaml:"state"`  // directory of everything the agent keeps; required; made if absent
	Root   string       `yaml:"root"`   // file of the signed root the node was enrolled with; required
	Key    string       `yaml:"key"`    // file of the agent's private key; required
	NATS   NATS         `yaml:"nats"`   // required unless Bus is set
	Gossip *Gossip      `yaml:"gossip"` // default: the node has no peers

	Apps map[wire.App]dataplane.Config `yaml:"apps"` // app → its data plane; at least one

	// Heartbeat is the longest time between two reports, and between the start of the agent
	// and its first attempt to connect: both are spread at random. Default 10s.
	Heartbeat wire.Duration `yaml:"heartbeat"`
	Probe     wire.Duration `yaml:"probe"` // time between two looks at a confirmed release; default 10s
	// Control is the socket that `ebbgate-agent status` and `rollback` talk to. Default
	// <State>/agent.sock.
	Control string `yaml:"control"`

	Build  string        `yaml:"-"` // version of the agent, for the report; default "devel"
	Logger *slog.Logger  `yaml:"-"` // default: discard
	Bus    wire.AgentBus `yaml:"-"` // default: a connection to NATS; the agent closes it

	trace func(point string) // told of each point where a crash must be survivable
}

// NATS says how the agent reaches the bus.
type NATS struct {
	Servers []string `yaml:"servers"` // URLs; required
	Creds   string   `yaml:"creds"`   // credentials file; required
	CA      string   `yaml:"ca"`      // file of the certificates that sign the servers'; default: the system's
	// Reconnect is the least time before a lost connection is made again, of which up to
	// five times as much is added at random: a fleet must not return as one. Default 5s.
	Reconnect wire.Duration `yaml:"reconnect"`
}

// Gossip says how the agent reaches the peers of its region.
type Gossip struct {
	Bind      string         `yaml:"bind"`      // host:port; required
	Advertise string         `yaml:"advertise"` // host:port that peers reach it at; default: Bind
	Seeds     []string       `yaml:"seeds"`     // host:port of some peers
	Key       string         `yaml:"key"`       // file with the region's 32 bytes; required
	OldKeys   []string       `yaml:"old_keys"`  // files with keys that are still accepted
	Allow     []netip.Prefix `yaml:"allow"`     // who is heard; default: everybody with the key
}

// ReadConfig reads a YAML file strictly. Paths in it that are not absolute are relative
// to the file.
func ReadConfig(path string) (Config, error) {
	var cfg Config
	f, err := os.Open(path)
	if err != nil {
		return cfg, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&cfg); errors.Is(err, io.EOF) {
		return cfg, fmt.Errorf("%s: is empty", path)
	} else if err != nil {
		return cfg, fmt.Errorf("%s: %s", path, wire.YAMLReason(err))
	} else if !errors.Is(d.Decode(new(yaml.Node)), io.EOF) {
		return cfg, fmt.Errorf("%s: holds more than one document", path)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return cfg, err
	}
	cfg.Resolve(dir)
	return cfg, cfg.validate()
}

// Resolve makes relative paths relative to dir. It is for embedders that read the
// configuration as a part of their own.
func (c *Config) Resolve(dir string) {
	paths := []*string{&c.State, &c.Root, &c.Key, &c.NATS.Creds, &c.NATS.CA, &c.Control}
	if g := c.Gossip; g != nil {
		paths = append(paths, &g.Key)
		for i := range g.OldKeys {
			paths = append(paths, &g.OldKeys[i])
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// Socket returns where a running agent listens for `status` and `rollback`.
func (c *Config) Socket() string {
	if c.Control != "" {
		return c.Control
	}
	return filepath.Join(c.State, "agent.sock")
}

func (c *Config) validate() error {
	if err := wire.CheckToken(string(c.ID)); err != nil {
		return fmt.Errorf("agent config: id %w", err)
	}
	if err := wire.CheckToken(string(c.Region)); err != nil {
		return fmt.Errorf("agent config: region %w", err)
	}
	for _, f := range []struct{ name, value string }{{"state", c.State}, {"root", c.Root}, {"key", c.Key}} {
		if f.value == "" {
			return fmt.Errorf("agent config: %s is missing", f.name)
		}
	}
	if len(c.Apps) == 0 {
		return errors.New("agent config: apps is empty: the node has nothing to serve")
	}
	for _, app := range wire.Keys(c.Apps) {
		if err := wire.CheckToken(string(app)); err != nil {
			return fmt.Errorf("agent config: apps: %w", err)
		}
	}
	if c.Bus == nil && len(c.NATS.Servers) == 0 {
		return errors.New("agent config: nats.servers is empty")
	}
	if i := slices.Index(c.NATS.Servers, ""); i >= 0 {
		return fmt.Errorf("agent config: nats.servers[%d] is blank", i)
	}
	if c.Bus == nil && c.NATS.Creds == "" {
		return errors.New("agent config: nats.creds is missing")
	}
	if g := c.Gossip; g != nil && (g.Bind == "" || g.Key == "") {
		return errors.New("agent config: gossip wants bind and key")
	}
	if c.Heartbeat < 0 || c.Probe < 0 {
		return errors.New("agent config: heartbeat and probe must not be negative")
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = wire.Duration(10 * time.Second)
	}
	if c.Probe == 0 {
		c.Probe = wire.Duration(10 * time.Second)
	}
	if c.Build == "" {
		c.Build = "devel"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.trace == nil {
		c.trace = func(string) {}
	}
	return nil
}

// readTrust reads the root file.
func (c *Config) readTrust() (*wire.Trust, error) {
	data, err := os.ReadFile(c.Root)
	if err != nil {
		return nil, fmt.Errorf("agent config: root: %w", err)
	}
	t, err := wire.NewTrust(data)
	if err != nil {
		return nil, fmt.Errorf("agent config: root: %s: %w", c.Root, err)
	}
	return t, nil
}

// readKey reads the agent's private key and refuses a file that others can read.
func (c *Config) readKey() (wire.PrivateKey, error) {
	fi, err := os.Stat(c.Key)
	if err != nil {
		return wire.PrivateKey{}, fmt.Errorf("agent config: key: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return wire.PrivateKey{}, fmt.Errorf("agent config: key: %s has mode %#o, others must not read it: %w", c.Key, fi.Mode().Perm(), fs.ErrPermission)
	}
	data, err := os.ReadFile(c.Key)
	if err != nil {
		return wire.PrivateKey{}, fmt.Errorf("agent config: key: %w", err)
	}
	k, err := wire.ParsePrivateKey(string(data))
	if err != nil {
		return wire.PrivateKey{}, fmt.Errorf("agent config: key: %s: %w", c.Key, err)
	}
	return k, nil
}

// readGossipKey reads 32 bytes, raw or as 64 hexadecimal digits.
func readGossipKey(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("agent config: gossip.key: %w", err)
	}
	if len(data) == 32 {
		return data, nil
	}
	// A digest is 32 bytes too, written in the one way this project writes such things.
	d, err := wire.ParseDigest(strings.TrimSpace(string(data)))
	if err != nil || d.IsZero() {
		return nil, fmt.Errorf("agent config: gossip.key: %s holds neither 32 bytes nor 64 hexadecimal digits", path)
	}
	return d[:], nil
}
