package provider

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/cloudflare"
	"github.com/ebbgate/ebbgate/cdn/config/fastly"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/wire"
)

// file is provider-agent.yaml: an agent.yaml with targets instead of apps.
type file struct {
	agent.Config `yaml:",inline"`
	Targets      map[wire.App]Target `yaml:"targets"` // app → where its releases go; at least one
}

// Target is what an app is at a provider. Besides the fields that all have, only those of
// its kind may be there.
type Target struct {
	Kind      string `yaml:"kind"`
	TokenFile string `yaml:"token_file"` // required; never the token itself; read when the agent starts
	Endpoint  string `yaml:"endpoint"`   // default: the provider's own

	Service    string `yaml:"service"`    // fastly-dictionary, fastly-acl, fastly-service
	Dictionary string `yaml:"dictionary"` // fastly-dictionary
	ACL        string `yaml:"acl"`        // fastly-acl
	Store      string `yaml:"store"`      // fastly-config-store
	Account    string `yaml:"account"`    // cloudflare-kv, cloudflare-worker
	Namespace  string `yaml:"namespace"`  // cloudflare-kv
	Script     string `yaml:"script"`     // cloudflare-worker
	Zone       string `yaml:"zone"`       // cloudflare-ruleset
	Phase      string `yaml:"phase"`      // cloudflare-ruleset
	MaxItems   int    `yaml:"max_items"`  // of accounts with other limits than usual
	Trial      *Trial `yaml:"trial"`      // cloudflare-worker; default: none

	Keep    bool          `yaml:"keep"`    // leave alone what no release names; default: delete it
	Settle  wire.Duration `yaml:"settle"`  // until a change is everywhere; default: by the provider's documentation
	Timeout wire.Duration `yaml:"timeout"` // of one validation, or one change with all repetitions; default 3m; of a look, if more than 1m
	// URL is where the bundle's probes go, http(s)://host. Default: they are not sent, since
	// a target itself answers nothing.
	URL    string      `yaml:"url"`
	Limits wire.Limits `yaml:"limits"` // as of a data plane
}

// Trial is a share of the requests for a time.
type Trial struct {
	Percent float64       `yaml:"percent"`
	For     wire.Duration `yaml:"for"`
}

// kinds are the drivers: the fields of Target that each needs, and how it is made.
var kinds = map[string]struct {
	needs []string
	takes []string
	open  func(t Target, token string) (config.Target, error)
}{
	"fastly-dictionary": {[]string{"service", "dictionary"}, []string{"max_items"}, func(t Target, token string) (config.Target, error) {
		return fastly.NewDictionary(t.fastly(token), t.Service, t.Dictionary, t.MaxItems)
	}},
	"fastly-acl": {[]string{"service", "acl"}, []string{"max_items"}, func(t Target, token string) (config.Target, error) {
		return fastly.NewACL(t.fastly(token), t.Service, t.ACL, t.MaxItems)
	}},
	"fastly-config-store": {[]string{"store"}, []string{"max_items"}, func(t Target, token string) (config.Target, error) {
		return fastly.NewConfigStore(t.fastly(token), t.Store, t.MaxItems)
	}},
	"fastly-service": {[]string{"service"}, nil, func(t Target, token string) (config.Target, error) {
		return fastly.NewService(t.fastly(token), t.Service)
	}},
	"cloudflare-kv": {[]string{"account", "namespace"}, []string{"max_items"}, func(t Target, token string) (config.Target, error) {
		return cloudflare.NewNamespace(t.cloudflare(token), t.Account, t.Namespace, t.MaxItems)
	}},
	"cloudflare-worker": {[]string{"account", "script"}, []string{"trial"}, func(t Target, token string) (config.Target, error) {
		var trial cloudflare.Trial
		if t.Trial != nil {
			trial = cloudflare.Trial{Percent: t.Trial.Percent, For: t.Trial.For.Std()}
		}
		return cloudflare.NewWorker(t.cloudflare(token), t.Account, t.Script, trial)
	}},
	"cloudflare-ruleset": {[]string{"zone", "phase"}, nil, func(t Target, token string) (config.Target, error) {
		return cloudflare.NewRuleset(t.cloudflare(token), t.Zone, t.Phase)
	}},
}

func (t Target) fastly(token string) fastly.Account {
	return fastly.Account{Token: token, Endpoint: t.Endpoint}
}

func (t Target) cloudflare(token string) cloudflare.Account {
	return cloudflare.Account{Token: token, Endpoint: t.Endpoint}
}

// Read reads provider-agent.yaml strictly, and returns the configuration of an agent
// whose data planes are the targets. Relative paths are relative to the file. It reads no
// token.
func Read(path string) (agent.Config, error) {
	var f file
	data, err := smallfile.Read(path)
	if err != nil {
		return f.Config, fmt.Errorf("cannot read the configuration: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); errors.Is(err, io.EOF) {
		return f.Config, fmt.Errorf("%s: is empty", path)
	} else if err != nil {
		return f.Config, fmt.Errorf("%s: %s", path, wire.YAMLReason(err))
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return f.Config, err
	}
	f.Resolve(dir)
	if len(f.Apps) > 0 {
		return f.Config, fmt.Errorf("%s: apps: are served by ebbgate-agent on their nodes; name targets here", path)
	}
	if len(f.Targets) == 0 {
		return f.Config, fmt.Errorf("%s: targets: is empty", path)
	}
	if f.Probe == 0 {
		f.Probe = wire.Duration(time.Minute) // a look is several calls of an API with a quota
	}
	f.Apps = make(map[wire.App]dataplane.Config)
	for _, app := range wire.Keys(f.Targets) {
		t := f.Targets[app]
		if err := t.check(); err != nil {
			return f.Config, fmt.Errorf("%s: targets.%s.%w", path, app, err)
		}
		if !filepath.IsAbs(t.TokenFile) {
			t.TokenFile = filepath.Join(dir, t.TokenFile)
		}
		f.Apps[app] = dataplane.Config{URL: t.URL, Limits: t.Limits, Open: t.open}
	}
	return f.Config, nil
}

// check refuses fields that are missing or mean nothing for the kind.
func (t Target) check() error {
	kind, ok := kinds[t.Kind]
	if !ok {
		return fmt.Errorf("kind: %q is not one of %s", t.Kind, strings.Join(wire.Keys(kinds), ", "))
	}
	if t.TokenFile == "" {
		return errors.New("token_file: is missing")
	}
	for _, field := range []struct {
		name  string
		there bool
	}{
		{"service", t.Service != ""}, {"dictionary", t.Dictionary != ""}, {"acl", t.ACL != ""}, {"store", t.Store != ""},
		{"account", t.Account != ""}, {"namespace", t.Namespace != ""}, {"script", t.Script != ""},
		{"zone", t.Zone != ""}, {"phase", t.Phase != ""}, {"max_items", t.MaxItems != 0}, {"trial", t.Trial != nil},
	} {
		switch {
		case slices.Contains(kind.needs, field.name) && !field.there:
			return fmt.Errorf("%s: is missing, %s needs it", field.name, t.Kind)
		case field.there && !slices.Contains(kind.needs, field.name) && !slices.Contains(kind.takes, field.name):
			return fmt.Errorf("%s: means nothing for %s", field.name, t.Kind)
		}
	}
	if t.MaxItems < 0 {
		return errors.New("max_items: is negative")
	}
	return nil
}
