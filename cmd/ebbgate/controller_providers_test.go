package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// accounts is an account of every kind with each of its fields.
const accounts = `
regions: {ams: {cdn: [{provider: edge, scope: SU1}, {provider: flare, scope: 0123456789abcdef0123456789abcdef}]}}
providers:
  edge: {kind: fastly, token_file: token, endpoint: "http://127.0.0.1:1", fences: {SU1: D1}}
  flare:
    kind: cloudflare
    token_file: token
    endpoint: http://127.0.0.1:1
    plan: enterprise
    variants: [{CF-Device-Type: mobile}]
    environments: {0123456789abcdef0123456789abcdef: 0123456789abcdef0123456789abcdef}
  front: {kind: cloudfront, token_file: aws, aws_region: eu-west-1, endpoint: "http://127.0.0.1:1"}
  shield: {kind: varnish, token_file: token, groups: {ams: ["http://127.0.0.1:1"]}, gap: 5s}
  own:
    kind: http
    token_file: token
    groups: {ams: ["http://127.0.0.1:1"]}
    gap: 5s
    http: {method: BAN, accept: [200], key_header: Surrogate-Key, key_separator: " ", key_path: /keys, all_path: /all, token_header: X-Token}
`

// loadText loads a controller.yaml of text and, if that names none, one region ams, beside a
// token and AWS credentials.
func loadText(t *testing.T, text string) (*controllerConfig, error) {
	t.Helper()
	if !strings.Contains(text, "regions:") {
		text = "regions: {ams: {}}\n" + text
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"token":           "secret\n",
		"aws":             "[default]\naws_access_key_id = AKIA0000000000000000\naws_secret_access_key = secret\n",
		"controller.yaml": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadControllerConfig(filepath.Join(dir, "controller.yaml"))
}

func TestProviders(t *testing.T) {
	cfg, err := loadText(t, accounts)
	if err != nil {
		t.Fatal(err)
	}
	all, err := cfg.purgers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name())
	}
	if want := []string{"edge", "flare", "front", "own", "shield"}; !slices.Equal(names, want) {
		t.Errorf("opened %v, want %v", names, want)
	}
}

// An account is refused with the fields that its kind needs missing, and with those of another.
func TestProviderFields(t *testing.T) {
	cfg, err := loadText(t, accounts)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[providerConfig]()) {
		if name := f.Tag.Get("yaml"); name != "kind" {
			fields = append(fields, name)
		}
	}
	one := make(map[string]providerConfig) // kind → an account with all that it takes
	for _, p := range cfg.Providers {
		one[p.Kind] = p
	}
	one["http"].HTTP.TokenHeader = "" // which needs a token_file
	for _, kind := range wire.Keys(providerKinds) {
		k := providerKinds[kind]
		for _, name := range fields {
			p, from := one[kind], reflect.Value{}
			at := slices.IndexFunc(reflect.VisibleFields(reflect.TypeFor[providerConfig]()), func(f reflect.StructField) bool { return f.Tag.Get("yaml") == name })
			for _, other := range one {
				if v := reflect.ValueOf(other).Field(at); !v.IsZero() {
					from = v
				}
			}
			if !from.IsValid() {
				t.Fatalf("no account has %s", name)
			}
			needs, takes := slices.Contains(k.needs, name), slices.Contains(k.takes, name)
			field := reflect.ValueOf(&p).Elem().Field(at)
			field.Set(from)
			if err := p.check(); (err == nil) != (needs || takes) || err != nil && err.Error() != name+": means nothing for "+kind {
				t.Errorf("%s with %s: %v", kind, name, err)
			}
			field.SetZero()
			if err := p.check(); (err == nil) == needs || err != nil && err.Error() != name+": is missing, "+kind+" needs it" {
				t.Errorf("%s without %s: %v", kind, name, err)
			}
		}
	}
	for text, want := range map[string]string{
		"providers:\n  edge:\n    kind: fastly\n    token_file: token\n    groups: {ams: [http://127.0.0.1:1]}": "controller.yaml:6: providers.edge.groups: means nothing for fastly",
		"providers: {edge: {kind: fastly}}":                          "controller.yaml:2: providers.edge.token_file: is missing, fastly needs it",
		"providers: {edge: {kind: fast}}":                            `controller.yaml:2: providers.edge.kind: "fast" is not one of cloudflare, cloudfront, fastly, http, varnish`,
		"providers: {edge: {kind: fastly, token_file: t, http: {}}}": "providers.edge.http: means nothing for fastly",
		"providers:\n  Edge: {kind: fastly, token_file: t}":          `controller.yaml:3: providers.Edge: "Edge" holds 'E'`,
		"providers:\n  shield:\n    kind: varnish\n    token_file: t\n    groups: {a: ['http://127.0.0.1:1']}\n    gap: 2h":                                                       "controller.yaml:7: providers.shield.gap: is 2h0m0s, want at most 1h0m0s",
		"providers:\n  own:\n    kind: http\n    groups: {a: ['http://127.0.0.1:1']}\n    http:\n      key_separator: ' '":                                                        "controller.yaml:7: providers.own.http.key_separator: means nothing without key_header",
		"providers:\n  shield:\n    kind: varnish\n    token_file: t\n    groups:\n      a:\n      - http://127.0.0.1:1\n      - http://127.0.0.1:2\n      - http://127.0.0.1:1/": "controller.yaml:10: providers.shield.groups.a[2]: is the same as groups.a[0]",
		"providers:\n  own:\n    kind: http\n    groups:\n      a: ['http://u:canary@Cache/purge', 'HTTP://u:canary@cache:80/purge/']":                                            "controller.yaml:6: providers.own.groups.a[1]: is the same as groups.a[0]\n",
		"providers:\n  own:\n    kind: http\n    groups: {a: ['http://127.0.0.1:1']}\n    http:\n      method: GET":                                                               `controller.yaml:7: providers.own.http.method: "GET" only reads: groups.a[0] has no path that is for purges alone`,
		"providers:\n  own:\n    kind: http\n    groups: {a: ['http://127.0.0.1:1/purge']}\n    http:\n      method: HEAD":                                                        `controller.yaml:7: providers.own.http.method: "HEAD" purges nothing`,
		"providers:\n  own:\n    kind: http\n    groups: {a: ['http://127.0.0.1:1']}\n    http:\n      token_header: X-Token":                                                     "controller.yaml:7: providers.own.http.token_header: means nothing without token_file",
	} {
		if _, err := loadText(t, text); err == nil || !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	// A cache in two groups, two ports of a host, two schemes and two paths are other instances;
	// GET purges under a path, a name is an app's own.
	if _, err := loadText(t, `
regions: {ams: {probes: [{app: waf, name: here, url: 'http://a/'}, {app: edge, name: here, url: 'http://a/'}]}}
providers:
  own:
    kind: http
    http: {method: GET}
    groups: {a: ['http://a/purge', 'http://a:81/purge', 'https://a/purge', 'http://a/x', 'http://a/X'], b: ['http://a/purge']}
`); err != nil {
		t.Error(err)
	}
}

// The help of the controller has a row for each kind, with its fields, and a file that loads.
func TestProvidersHelp(t *testing.T) {
	help := newControllerCommand(&cli{}).Long
	for _, kind := range wire.Keys(providerKinds) {
		k := providerKinds[kind]
		row := regexp.MustCompile(`(?m)^  ` + kind + ` +\S+ +` + strings.Join(k.needs, ", ") + ` +` + strings.Join(k.takes, ", ") + `$`)
		if !row.MatchString(help) {
			t.Errorf("no row %s", row)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[providerConfig](), reflect.TypeFor[httpPurgeConfig]()} {
		for _, f := range reflect.VisibleFields(of) {
			if name := f.Tag.Get("yaml"); !regexp.MustCompile(`\b` + name + `\b`).MatchString(help) {
				t.Errorf("it does not tell of %s", name)
			}
		}
	}
	_, example, _ := strings.Cut(help, "\n  providers:\n")
	example, _, _ = strings.Cut(example, "\n\n")
	path := filepath.Join(t.TempDir(), "controller.yaml")
	if err := os.WriteFile(path, []byte("  providers:\n"+example), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := loadControllerConfig(path); err != nil || len(cfg.Providers) != 1 || len(cfg.Regions) != 1 {
		t.Errorf("its example: %+v, %v", cfg, err)
	}
}
