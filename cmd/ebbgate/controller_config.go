package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// controllerConfig is controller.yaml. Relative paths are relative to the file.
type controllerConfig struct {
	Listen string        `yaml:"listen"` // of the API, host:port; default 127.0.0.1:7420
	State  string        `yaml:"state"`  // directory; default "state"
	Keys   string        `yaml:"keys"`   // directory of root.json and controller.key; default "."
	Tokens string        `yaml:"tokens"` // token file; default "tokens"
	NATS   natsConfig    `yaml:"nats"`
	Lost   wire.Duration `yaml:"lost"` // an agent silent for this long is unknown; default 30s
	// OriginFetch is the longest that an answer may be on its way from the origin to a
	// cache: the second purge comes no sooner than that after the first. Default 2s, at most 1h.
	OriginFetch wire.Duration                `yaml:"origin_fetch"`
	Gossip      gossipConfig                 `yaml:"gossip"`
	Providers   map[string]providerConfig    `yaml:"providers"` // name → account
	Regions     map[wire.Region]regionConfig `yaml:"regions"`
	Gates       gatesConfig                  `yaml:"gates"`
	Freeze      []rollout.Window             `yaml:"freeze"` // when nothing begins in the fleet, as in a plan

	dir  string // of the file
	file string // as it was named
	data []byte // of the file
}

// fieldError is what is wrong with a field of controller.yaml, "regions.ams.cdn[0].scope".
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

func wrong(field, format string, args ...any) error {
	return &fieldError{field, fmt.Errorf(format, args...)}
}

// within names the field around that of err, if err has one.
func within(field string, err error) error {
	if e, ok := errors.AsType[*fieldError](err); ok {
		return &fieldError{field + "." + e.field, e.err}
	}
	return &fieldError{field, err}
}

// at names the file and, where err is about a field, its line.
func (cfg *controllerConfig) at(err error) error {
	if e, ok := errors.AsType[*fieldError](err); ok {
		if line := rollout.FieldLine(cfg.data, e.field); line > 0 {
			return fmt.Errorf("%s:%d: %w", cfg.file, line, err)
		}
	}
	return fmt.Errorf("%s: %w", cfg.file, err)
}

// natsConfig chooses between the embedded server and servers of the user's own.
type natsConfig struct {
	Hub     string   `yaml:"hub"`     // directory of the NATS keys, and of the embedded server's streams; default "hub"
	Listen  string   `yaml:"listen"`  // of the embedded server; default 127.0.0.1:4222
	Servers []string `yaml:"servers"` // own servers instead: URLs
	Creds   string   `yaml:"creds"`   // credentials of this controller there; default: made from hub
	// Replicas of the streams on own servers: 1 or 3.
	Replicas int `yaml:"replicas"`
	// Advertise is what agents are told to connect to; default: the servers above.
	Advertise []string `yaml:"advertise"`
}

type gossipConfig struct {
	Key   string                   `yaml:"key"`   // file of 32 bytes in base64, from which the regions' keys follow; default: no gossip
	Seeds map[wire.Region][]string `yaml:"seeds"` // region → host:port of some agents
}

type regionConfig struct {
	CDN    []controller.CDNTarget `yaml:"cdn"`
	Probes []vantageConfig        `yaml:"probes"`
}

// vantageConfig is a URL of an app whose freshness proves a purge.
type vantageConfig struct {
	App     wire.App `yaml:"app"`
	Name    string   `yaml:"name"`
	URL     string   `yaml:"url"`
	Address string   `yaml:"address"`
	Host    string   `yaml:"host"`
	// Through names the one target of the region's cdn that it looks through and proves,
	// provider or provider/scope. Default: it proves all, as it looks through the whole chain.
	Through string `yaml:"through"`
}

// gatesConfig names whom the gates of plans may ask.
type gatesConfig struct {
	Prometheus map[string]sourceConfig `yaml:"prometheus"` // name → server
	Webhooks   map[string]sourceConfig `yaml:"webhooks"`   // name → endpoint
}

type sourceConfig struct {
	URL       string `yaml:"url"`        // http or https, without a user
	TokenFile string `yaml:"token_file"` // of a bearer token; default: none is sent
}

func loadControllerConfig(path string) (*controllerConfig, error) {
	data, err := smallfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, reason(err))
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	cfg := &controllerConfig{
		Listen: "127.0.0.1:7420", State: "state", Keys: ".", Tokens: "tokens",
		NATS: natsConfig{Hub: "hub", Listen: "127.0.0.1:4222"},
		dir:  filepath.Dir(abs), file: path, data: data,
	}
	if err := checkScalars(data, reflect.TypeFor[controllerConfig]()); err != nil {
		return nil, cfg.at(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(cfg); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", path, wire.YAMLReason(err))
	} else if err == nil && !errors.Is(d.Decode(new(yaml.Node)), io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", path)
	}
	if err := cfg.validate(); err != nil {
		return nil, cfg.at(err)
	}
	return cfg, nil
}

func (cfg *controllerConfig) validate() error {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return wrong("listen", "%q is not host:port", cfg.Listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return wrong("listen", "%s is not loopback; the API carries tokens, put a TLS proxy before it", cfg.Listen)
	}
	if len(cfg.Regions) == 0 {
		return wrong("regions", "is empty")
	}
	// A blank path would be the directory of the file: a controller with a blank state finds
	// none, and begins a new one.
	for _, p := range []struct{ field, value string }{
		{"state", cfg.State}, {"keys", cfg.Keys}, {"tokens", cfg.Tokens}, {"nats.hub", cfg.NATS.Hub},
	} {
		if p.value == "" {
			return wrong(p.field, "is blank; leave it out for the default")
		}
	}
	if i := slices.Index(cfg.NATS.Servers, ""); i >= 0 {
		return wrong(fmt.Sprintf("nats.servers[%d]", i), "is blank")
	}
	if i := slices.Index(cfg.NATS.Advertise, ""); i >= 0 {
		return wrong(fmt.Sprintf("nats.advertise[%d]", i), "is blank")
	}
	if len(cfg.NATS.Servers) == 0 && (cfg.NATS.Creds != "" || cfg.NATS.Replicas > 1) {
		return wrong("nats", "creds and replicas need servers")
	}
	if r := cfg.NATS.Replicas; r != 0 && r != 1 && r != 3 {
		return wrong("nats.replicas", "is %d, want 1 or 3", r)
	}
	if cfg.OriginFetch.Std() > maxGap {
		return wrong("origin_fetch", "is %s, want at most %s", cfg.OriginFetch, maxGap)
	}
	for _, name := range wire.Keys(cfg.Providers) {
		err := wire.CheckToken(name)
		if err == nil {
			err = cfg.Providers[name].check()
		}
		if err != nil {
			return within("providers."+name, err)
		}
	}
	if len(cfg.NATS.Servers) == 0 {
		if _, _, err := cfg.NATS.listen(); err != nil {
			return err
		}
	}
	return cfg.validateRegions()
}

// validateRegions checks what names regions and providers, and the windows, as the
// controller does later, which knows nothing of the file.
func (cfg *controllerConfig) validateRegions() error {
	for _, r := range wire.Keys(cfg.Regions) {
		field := "regions." + string(r)
		if err := wire.CheckToken(string(r)); err != nil {
			return within(field, err)
		}
		for i := range cfg.Regions[r].CDN {
			if err := cfg.validateTarget(cfg.Regions[r].CDN, i); err != nil {
				return within(fmt.Sprintf("%s.cdn[%d]", field, i), err)
			}
		}
		for i, v := range cfg.Regions[r].Probes {
			if first := slices.IndexFunc(cfg.Regions[r].Probes, func(o vantageConfig) bool { return o.App == v.App && o.Name == v.Name }); v.Name != "" && first < i {
				return wrong(fmt.Sprintf("%s.probes[%d].name", field, i), "is %q, already that of probes[%d] of %s", v.Name, first, v.App)
			}
			if v.Through != "" && !slices.ContainsFunc(cfg.Regions[r].CDN, func(t controller.CDNTarget) bool {
				return !t.Optional && (v.Through == t.Provider || v.Through == t.Provider+"/"+t.Scope)
			}) {
				return wrong(fmt.Sprintf("%s.probes[%d].through", field, i), "%q is no provider or provider/scope of the region's cdn that is not optional", v.Through)
			}
		}
	}
	for _, name := range wire.Keys(cfg.Providers) {
		p := cfg.Providers[name]
		for _, of := range []struct {
			field  string
			scopes map[string]string
		}{{"fences", p.Fences}, {"environments", p.Environments}} {
			for _, scope := range wire.Keys(of.scopes) {
				if !cfg.purges(name, scope) {
					return wrong(fmt.Sprintf("providers.%s.%s.%s", name, of.field, scope), "is in no region's cdn")
				}
			}
		}
	}
	for _, r := range wire.Keys(cfg.Gossip.Seeds) {
		if _, ok := cfg.Regions[r]; !ok {
			return wrong("gossip.seeds."+string(r), "is not one of regions")
		}
	}
	frozen := rollout.DefaultPlan(wire.Keys(cfg.Regions))
	frozen.Freeze = cfg.Freeze
	err := frozen.Validate(wire.Keys(cfg.Regions))
	if e, ok := errors.AsType[*wire.FieldError](err); ok {
		return wrong(e.Field, "%s", e.Reason)
	}
	return err
}

// validateTarget checks one target of a region's cdn. A purge would be refused for most of this,
// but only after nodes have switched.
func (cfg *controllerConfig) validateTarget(all []controller.CDNTarget, i int) error {
	t := all[i]
	p, ok := cfg.Providers[t.Provider]
	if !ok {
		return wrong("provider", "%q is not one of providers", t.Provider)
	}
	if t.Scope == "" {
		return wrong("scope", "is blank")
	}
	if err := cdn.ValidateScope(t.Scope); err != nil {
		return within("scope", err)
	}
	if _, ok := p.Groups[t.Scope]; p.Groups != nil && !ok {
		return wrong("scope", "%q is not one of the groups of %s", t.Scope, t.Provider)
	}
	if t.Tier < 0 {
		return wrong("tier", "is %d, want 0 or more", t.Tier)
	}
	if slices.ContainsFunc(all[:i], func(o controller.CDNTarget) bool { return o.Provider == t.Provider && o.Scope == t.Scope }) {
		return wrong("scope", "%s/%s is there already", t.Provider, t.Scope)
	}
	return nil
}

// purges reports whether a region has this target.
func (cfg *controllerConfig) purges(provider, scope string) bool {
	for _, r := range cfg.Regions {
		if slices.ContainsFunc(r.CDN, func(t controller.CDNTarget) bool { return t.Provider == provider && t.Scope == scope }) {
			return true
		}
	}
	return false
}

// listen splits the address of the embedded server.
func (n natsConfig) listen() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(n.Listen)
	number, err2 := strconv.ParseUint(text, 10, 16)
	if errors.Join(err, err2) != nil {
		return "", 0, wrong("nats.listen", "%q is not host:port", n.Listen)
	}
	return host, int(number), nil
}

// path resolves a path of the file.
func (cfg *controllerConfig) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(cfg.dir, p)
}

// regions converts the regions for the controller.
func (cfg *controllerConfig) regions() (map[wire.Region]controller.RegionConfig, error) {
	all := make(map[wire.Region]controller.RegionConfig)
	for _, name := range wire.Keys(cfg.Regions) {
		r := controller.RegionConfig{CDN: cfg.Regions[name].CDN}
		vantages := make(map[wire.App][]cdn.Vantage)
		for i, v := range cfg.Regions[name].Probes {
			if err := wire.CheckToken(string(v.App)); err != nil {
				return nil, within(fmt.Sprintf("regions.%s.probes[%d].app", name, i), err)
			}
			vantages[v.App] = append(vantages[v.App], cdn.Vantage{Name: v.Name, URL: v.URL, Address: v.Address, Host: v.Host, Through: v.Through})
		}
		r.Probes = make(map[wire.App]*cdn.Probe)
		for _, app := range wire.Keys(vantages) {
			var err error
			if r.Probes[app], err = cdn.NewProbe(cdn.ProbeConfig{Vantages: vantages[app]}); err != nil {
				return nil, within(fmt.Sprintf("regions.%s.probes", name), err)
			}
		}
		all[name] = r
	}
	return all, nil
}

// gossipKey derives the key of one region, so that a node that is taken over gives away
// its own region only.
func (cfg *controllerConfig) gossipKey(region wire.Region) (string, error) {
	if cfg.Gossip.Key == "" {
		return "", nil
	}
	text, err := smallfile.Read(cfg.path(cfg.Gossip.Key))
	if err != nil {
		return "", fmt.Errorf("gossip.key: %w", err)
	}
	master, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(master) != 32 {
		return "", errors.New("gossip.key: the file does not hold 32 bytes in base64")
	}
	mac := hmac.New(sha256.New, master)
	mac.Write([]byte("gossip/" + string(region)))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
