package provider

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/dataplane"
	"github.com/ebbgate/ebbgate/wire"
)

const enrolled = `id: cdn-1
region: cdn
state: state
root: root.json
key: agent.key
nats: {servers: ["nats://127.0.0.1:4222"], creds: agent.creds}
`

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Read(write(t, dir, "provider-agent.yaml", enrolled+`
targets:
  waf: {kind: fastly-dictionary, token_file: secret/token, service: S1, dictionary: D1, keep: true, timeout: 5m, url: "https://www.example.com", limits: {files: 3}}
  router: {kind: cloudflare-worker, token_file: /t, account: 0123456789abcdef0123456789abcdef, script: router, trial: {percent: 10, for: 1m}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.State != filepath.Join(dir, "state") || cfg.Probe != wire.Duration(time.Minute) || len(cfg.Apps) != 2 {
		t.Errorf("%+v", cfg)
	}
	waf := cfg.Apps["waf"]
	if waf.URL != "https://www.example.com" || waf.Limits.Files != 3 || waf.Open == nil {
		t.Errorf("%+v", waf)
	}
	// The token is read when the agent opens, so that it need not be there for a status.
	plane := dataplane.Config{App: "waf", Region: "cdn", Dir: filepath.Join(dir, "plane"), Open: waf.Open}
	if _, err := dataplane.New(plane); err == nil || !strings.HasPrefix(err.Error(), "targets.waf: token_file: open "+dir+"/secret/token") {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "secret"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "secret/token", "canary\n")
	d, err := dataplane.New(plane)
	if err != nil {
		t.Fatal(err)
	}
	if traits := d.Traits(); traits.String() != "fastly-dictionary" || traits.Arms || traits.Look != 5*time.Minute {
		t.Errorf("%+v", traits)
	}
}

func TestReadRefuses(t *testing.T) {
	target := func(text string) string { return enrolled + "targets: {waf: {token_file: t, " + text + "}}" }
	for says, text := range map[string]string{
		"is empty":                    "",
		"targets: is empty":           enrolled,
		"line 1: field target not":    "target: {}",
		"apps: are served by ebbgate": enrolled + "apps: {waf: {kind: files}}",
		"targets.waf.kind: \"x\" is not one of cloudflare-kv, cloudflare-ruleset,": target("kind: x"),
		"targets.waf.dictionary: is missing, fastly-dictionary needs it":           target("kind: fastly-dictionary, service: S1"),
		"targets.waf.acl: means nothing for fastly-service":                        target("kind: fastly-service, service: S1, acl: A"),
		"targets.waf.trial: means nothing for fastly-service":                      target("kind: fastly-service, service: S1, trial: {percent: 1}"),
		"targets.waf.max_items: is negative":                                       target("kind: fastly-config-store, store: S1, max_items: -1"),
		"targets.waf.token_file: is missing":                                       enrolled + "targets: {waf: {kind: fastly-service, service: S1}}",
		"provider-agent.yaml: is larger than 1048576 bytes":                        target("kind: fastly-service, service: S1") + strings.Repeat("\n", 1<<20),
		"field token not found":                                                    target("kind: fastly-service, service: S1, token: secret"),
	} {
		_, err := Read(write(t, t.TempDir(), "provider-agent.yaml", text))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// What only a provider's package knows is refused before the agent runs.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	token := write(t, dir, "token", "canary")
	for says, target := range map[string]Target{
		`targets.waf: fastly target: service: "../x" is not`:                              {Kind: "fastly-service", Service: "../x"},
		`targets.waf: cloudflare target: phase: "x" is unknown`:                           {Kind: "cloudflare-ruleset", Zone: strings.Repeat("a", 32), Phase: "x"},
		`targets.waf: keeper config: keep: worker a can only be`:                          {Kind: "cloudflare-worker", Account: strings.Repeat("a", 32), Script: "a", Keep: true},
		`targets.waf: fastly target: endpoint must be an http or https URL`:               {Kind: "fastly-config-store", Store: "S1", Endpoint: "x"},
		`targets.waf: cloudflare target: account: "x" is not 32`:                          {Kind: "cloudflare-kv", Account: "x", Namespace: strings.Repeat("a", 32)},
		`targets.waf: token_file: read /dev/zero: is larger than 1048576 bytes`:           {Kind: "fastly-service", Service: "S1", TokenFile: "/dev/zero"},
		`targets.waf: fastly target: acl: "" is not 1 to 64 letters and digits`:           {Kind: "fastly-acl", Service: "S1"},
		`targets.waf: fastly target: dictionary: "a b" is not 1 to 64 letters and digits`: {Kind: "fastly-dictionary", Service: "S1", Dictionary: "a b"},
	} {
		if target.TokenFile == "" {
			target.TokenFile = token
		}
		_, err := dataplane.New(dataplane.Config{App: "waf", Region: "cdn", Dir: filepath.Join(dir, "plane"), Open: target.open})
		if err == nil || !strings.HasPrefix(err.Error(), says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
