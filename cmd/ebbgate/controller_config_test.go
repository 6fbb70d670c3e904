package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// The longest origin fetch is read from controller.yaml, and refused below zero and above an hour.
func TestOriginFetch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	load := func(text string) (*controllerConfig, error) {
		if err := os.WriteFile(path, []byte("regions: {ams: {}}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadControllerConfig(path)
	}
	if cfg, err := load("origin_fetch: 45s\n"); err != nil || time.Duration(cfg.OriginFetch) != 45*time.Second {
		t.Errorf("origin_fetch is %v, %v, want 45s", cfg, err)
	}
	for text, want := range map[string]string{
		"origin_fetch: -1s\n": `:2: origin_fetch: duration "-1s" is negative`,
		"origin_fetch: 25h\n": ":2: origin_fetch: is 25h0m0s, want at most 1h0m0s",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// The configuration that deploy/nats shows for a pair of controllers is one.
func TestStandbyConfig(t *testing.T) {
	cfg, err := loadControllerConfig("../../deploy/nats/controller.yaml")
	if err != nil {
		t.Fatal(err)
	}
	servers := []string{"tls://n1.example.net:4222", "tls://n2.example.net:4222", "tls://n3.example.net:4222"}
	want := natsConfig{Hub: "hub", Listen: "127.0.0.1:4222", Servers: servers, Replicas: 3, Advertise: servers}
	if diff := cmp.Diff(want, cfg.NATS); diff != "" {
		t.Errorf("nats (-want +got):\n%s", diff)
	}
}

// Whom gates may ask, and with which token, is read from controller.yaml and the files beside
// it. An error names the source and never a secret.
func TestGateSources(t *testing.T) {
	const canary = "canary-7f3a"
	dir := t.TempDir()
	for name, text := range map[string]string{"good.token": canary + "\n", "empty.token": "\n", "bad.token": canary + " " + canary} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	defer server.Close()
	load := func(text string) (*controllerConfig, error) {
		path := filepath.Join(dir, "controller.yaml")
		if err := os.WriteFile(path, []byte("regions: {ams: {}}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadControllerConfig(path)
	}
	cfg, err := load(strings.ReplaceAll(`
gates:
  prometheus:
    main: {url: "URL/prom", token_file: good.token}
  webhooks:
    judge: {url: "URL/judge"}
`, "URL", server.URL))
	if err != nil {
		t.Fatal(err)
	}
	all, err := cfg.gates()
	if err != nil || len(all.Prometheus) != 1 || len(all.Webhooks) != 1 {
		t.Fatalf("sources are %+v, %v", all, err)
	}
	m := rollout.Measure{Gate: rollout.Gate{Name: "g", Query: "up"}, Cohort: []wire.AgentID{"a1"}}
	_, _ = all.Prometheus["main"].Read(t.Context(), m)
	_, _ = all.Webhooks["judge"].Read(t.Context(), m)
	if diff := cmp.Diff([]string{"/prom/api/v1/query Bearer " + canary, "/judge "}, got); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	for text, want := range map[string]string{
		"gates: {prometheus: {main: {}}}":                                              "gates.prometheus.main: url is not",
		"gates: {prometheus: {Main: {url: http://127.0.0.1}}}":                         "gates.prometheus.Main: ",
		"gates: {webhooks: {judge: {url: 'http://u:canary-7f3a@127.0.0.1'}}}":          "gates.webhooks.judge: url holds a user",
		"gates: {webhooks: {judge: {url: http://127.0.0.1, token_file: none.token}}}":  "gates.webhooks.judge: token_file: ",
		"gates: {webhooks: {judge: {url: http://127.0.0.1, token_file: empty.token}}}": "gates.webhooks.judge: token_file is empty",
		"gates: {webhooks: {judge: {url: http://127.0.0.1, token_file: bad.token}}}":   "gates.webhooks.judge: token has a character",
		"gates: {webhooks: {judge: {url: http://127.0.0.1, token: canary-7f3a}}}":      "field token not found",
		"---\nfreeze: []": ": holds more than one document",
		"gates: {grafana: {main: {url: http://127.0.0.1}}}":                                    "field grafana not found",
		"freeze: [{from: 2026-12-23T18:00:00Z, until: 2027-01-02T06:00:00Z, because: no one}]": "field because not found",
	} {
		cfg, err := load(text)
		if err == nil {
			_, err = cfg.gates()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %q without secrets", text, err, want)
		}
	}
}

// Windows are written as in a plan, times with or without quotes.
func TestFleetFreeze(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	text := `regions: {ams: {}}
freeze:
- {days: [fri, sat, sun], from: 16:00, until: "06:00", reason: weekend}
- from: 2026-12-23T18:00:00Z
  until: 2027-01-02T06:00:00Z
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadControllerConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []rollout.Window{
		{Days: []string{"fri", "sat", "sun"}, From: "16:00", Until: "06:00", Reason: "weekend"},
		{From: "2026-12-23T18:00:00Z", Until: "2027-01-02T06:00:00Z"},
	}
	if diff := cmp.Diff(want, cfg.Freeze); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}

func TestBlankFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controller.yaml")
	for text, want := range map[string]string{
		`listen: ""`:                      `listen: "" is not host:port`,
		`state: ""`:                       "state: is blank",
		`keys: ""`:                        "keys: is blank",
		`tokens: ""`:                      "tokens: is blank",
		`nats: {hub: ""}`:                 "nats.hub: is blank",
		`nats: {servers: [nats://a, ""]}`: "nats.servers[1]: is blank",
		`nats: {advertise: [""]}`:         "nats.advertise[0]: is blank",
		"state:\nkeys:\ntokens:\nnats:\n": "", // not there, so the default
	} {
		if err := os.WriteFile(path, []byte("regions: {ams: {}}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadControllerConfig(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// ended is a context with which nothing goes on that should not have begun.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// Everything that the file alone can have wrong is said with its line before anything starts.
func TestConfigLines(t *testing.T) {
	const shield = "providers: {shield: {kind: varnish, token_file: t, groups: {a: ['http://127.0.0.1:1']}}}\nregions:\n  ams:\n    cdn:\n"
	for text, want := range map[string]string{
		"regions:\n  ams:\n    cdn:\n    - {provider: nope, scope: s}":                                                                                                                                         `:4: regions.ams.cdn[0].provider: "nope" is not one of providers`,
		"providers:\n  edge: {kind: fastly, token_file: t}\nregions:\n  ams: {cdn: [{provider: edge}]}":                                                                                                        ":4: regions.ams.cdn[0].scope: is blank",
		"providers:\n  edge: {kind: fastly, token_file: t}\nregions:\n  ams: {cdn: [{provider: edge, scope: zone 2}]}":                                                                                         `:4: regions.ams.cdn[0].scope: "zone 2" must be 1 to 64 letters, digits, - or _`,
		shield + "    - {provider: shield, scope: b}":                                                                                                                                                          `:5: regions.ams.cdn[0].scope: "b" is not one of the groups of shield`,
		shield + "    - {provider: shield, scope: a, tier: -1}":                                                                                                                                                ":5: regions.ams.cdn[0].tier: is -1, want 0 or more",
		shield + "    - {provider: shield, scope: a}\n    - {provider: shield, scope: a, tier: 1}":                                                                                                             ":6: regions.ams.cdn[1].scope: shield/a is there already",
		"providers:\n  edge:\n    kind: fastly\n    token_file: t\n    fences:\n      S1: D1\n      S2: D2\nregions: {ams: {cdn: [{provider: edge, scope: S1}]}}":                                              ":7: providers.edge.fences.S2: is in no region's cdn",
		"providers:\n  flare:\n    kind: cloudflare\n    token_file: t\n    plan: free\n    environments:\n      Z2: E2\nregions: {ams: {cdn: []}}":                                                            ":7: providers.flare.environments.Z2: is in no region's cdn",
		"regions:\n  ams: {}\n  Bad_Name: {}":                                                                                                                                                                  ":3: regions.Bad_Name: ",
		"regions: {ams: {}}\nfreeze:\n- {days: [fri], from: '15:00', until: '16:00'}\n- {from: nonsense}":                                                                                                      `:4: freeze[1].from: is "nonsense"`,
		"regions: {ams: {}}\nfreeze:\n- {days: [sat, sun], from: '00:00', until: '00:00'}\n- {days: [mon, tue, wed, thu, fri], from: '08:00', until: '08:00'}\n- {days: [mon], from: '00:00', until: '09:00'}": ":2: freeze: leaves no moment of the week free",
		"regions: {ams: {}}\ngossip:\n  seeds: {mars: [127.0.0.1:1]}":                                                                                                                                          ":3: gossip.seeds.mars: is not one of regions",
		"regions: {ams: {}}\nnats:\n  listen: nowhere":                                                                                                                                                         `:3: nats.listen: "nowhere" is not host:port`,
		"regions: {ams: {}}\nnats:\n  listen: 127.0.0.1:-1":                                                                                                                                                    `:3: nats.listen: "127.0.0.1:-1" is not host:port`,
		"regions: {ams: {}}\nnats:\n  listen: 127.0.0.1:65536":                                                                                                                                                 `:3: nats.listen: "127.0.0.1:65536" is not host:port`,
		"regions: {ams: {}}\nlisten: 127.0.0.1:-1":                                                                                                                                                             `:2: listen: "127.0.0.1:-1" is not host:port`,
		"regions: {ams: {}}\nnats:\n  listen: 127.0.0.1:nats":                                                                                                                                                  `:3: nats.listen: "127.0.0.1:nats" is not host:port`,
		"regions:\n  ams:\n    probes:\n    - {app: waf, name: here, url: 'http://a/'}\n    - {app: waf, name: there, url: 'http://b/'}\n    - {app: waf, name: here, url: 'http://c/'}":                       `:6: regions.ams.probes[2].name: is "here", already that of probes[0] of waf`,
		"regions:\n  ams:\n    probes:\n    - {app: Bad_Name, url: 'http://127.0.0.1/'}":                                                                                                                       ":4: regions.ams.probes[0].app: ",
		"regions:\n  ams:\n    probes:\n    - {app: waf, name: here, url: 'gopher://127.0.0.1/'}":                                                                                                              ":3: regions.ams.probes: ",
		"regions: {ams: {}}\ngates:\n  prometheus:\n    main: {url: http://127.0.0.1, token_file: none.token}":                                                                                                 ":4: gates.prometheus.main: token_file: ",
		"regions: {ams: {}}\nproviders:\n  edge: {kind: fastly, token_file: none.token}":                                                                                                                       ":3: providers.edge: token_file: ",
		"providers: {cf: {kind: http, groups: {a: ['http://127.0.0.1:1']}}}\nregions:\n  ams:\n    cdn: [{provider: cf, scope: a}]\n    probes:\n    - app: waf\n      through: cf/b":                          ":7: regions.ams.probes[0].through: \"cf/b\" is no provider",
		"providers: {cf: {kind: http, groups: {a: ['http://127.0.0.1:1']}}}\nregions:\n  ams:\n    cdn: [{provider: cf, scope: a, optional: true}]\n    probes:\n    - {app: waf, through: cf}":                ":6: regions.ams.probes[0].through: \"cf\" is no provider",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "controller.yaml")
		if err := initController(dir, "lab", []string{"ams"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path, []byte(text+"\n"), 0o600), os.RemoveAll(filepath.Join(dir, "hub"))); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadControllerConfig(path)
		if err == nil {
			err = runController(ended(t), cfg, slog.New(slog.DiscardHandler))
		}
		if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "hub")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: NATS was started first", text)
		}
	}
}

// The files that a controller needs are read before NATS is started.
func TestFilesBeforeNATS(t *testing.T) {
	for _, name := range []string{"root.json", "controller.key", "tokens"} {
		dir := t.TempDir()
		if err := initController(dir, "lab", []string{"ams"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(filepath.Join(dir, name)), os.RemoveAll(filepath.Join(dir, "hub"))); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadControllerConfig(filepath.Join(dir, "controller.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := runController(ended(t), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "hub")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without %s: NATS was started first", name)
		}
	}
}
