package bundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

const fullSpec = `app: waf
version: 2026.11.23.2
floor: 2026.10
fleet: prod
limits:
  files: 100
  bytes: 1000000
  file: 65536
  growth: 1.5
probes:
  - path: /health?deep=1
    host: www.example.com
    status: 200
    body: ok
purge:
  - files: rules/**
    selectors:
      - key:rules@{region}-{epoch}
      - all
hooks: [warm-cache]
`

func TestSpec(t *testing.T) {
	s, err := ParseSpec([]byte(fullSpec))
	if err != nil {
		t.Fatal(err)
	}
	want := &wire.Manifest{Format: 1, Fleet: "prod", App: "waf", Version: "2026.11.23.2", Floor: "2026.10",
		Limits: wire.Limits{Files: 100, Bytes: 1000000, File: 65536, Growth: 1.5},
		Probes: []wire.Probe{{Path: "/health?deep=1", Host: "www.example.com", Status: 200, Body: "ok"}},
		Purge:  []wire.PurgeRule{{Files: "rules/**", Selectors: []string{"key:rules@{region}-{epoch}", "all"}}},
		Hooks:  []string{"warm-cache"}}
	if diff := cmp.Diff(want, s.manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestSpecRefuses(t *testing.T) {
	edit := func(old, new string) string { return strings.Replace(fullSpec, old, new, 1) }
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "is empty"},
		{"not YAML", "app: [", "line 1"},
		{"unknown field", edit("floor:", "flor:"), "line 3: field flor not found"},
		{"unknown nested field", edit("    body:", "    text:"), "line 14: field text not found"},
		{"repeated field", edit("floor: 2026.10", "app: waf"), `line 3: mapping key "app" already defined`},
		{"wrong type", edit("files: 100", "files: many"), "line 6: cannot unmarshal !!str `many` into int"},
		{"two documents", fullSpec + "---\napp: x\n", "more than one document"},
		{"app", edit("app: waf", "app: WAF"), `bundle.yaml:1: app: "WAF" holds 'W'`},
		{"version", edit("2026.11.23.2", "v1"), `bundle.yaml:2: version: "v1" is not a version`},
		{"floor", edit("floor: 2026.10", "floor: 2027"), "bundle.yaml:3: floor: 2027 is above"},
		{"growth", edit("growth: 1.5", "growth: 0.5"), "bundle.yaml:9: limits.growth: is 0.5"},
		{"negative limit", edit("bytes: 1000000", "bytes: -1"), "bundle.yaml:7: limits.bytes: is negative"},
		{"probe path", edit("/health?deep=1", "health"), "bundle.yaml:11: probes[0].path:"},
		{"probe status", edit("status: 200", "status: 20"), "bundle.yaml:13: probes[0].status: is 20"},
		{"purge glob", edit("rules/**", "'rules/['"), "bundle.yaml:16: purge[0]:"},
		{"purge selector", edit("- all", "- everything"), "bundle.yaml:16: purge[0]: selectors[1]"},
		{"purge variable", edit("{region}", "{zone}"), "unknown variable {zone}"},
		{"hook", edit("warm-cache", "/bin/sh"), "bundle.yaml:20: hooks[0]:"},
		{"large", "# " + strings.Repeat("x", maxSpec), "document too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSpec([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "bundle.Spec") {
				t.Fatalf("error %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestSchemas(t *testing.T) {
	const schema = `{"type": "object", "properties": {"rps": {"$ref": "defs.json#/rate"}}, "required": ["rps"], "additionalProperties": false}`
	const defs = `{"rate": {"type": "integer", "minimum": 20}}`
	spec := func(glob, file string) string {
		return "app: waf\nversion: 1\nschemas:\n  '" + glob + "': " + file + "\n"
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"good", map[string]string{"overlays/ap-south/limits.json": `{"rps": 20}`}, ""},
		{"YAML", map[string]string{"bundle.yaml": spec("*.yaml", "limits.json"), "files/l.yaml": "rps: 30\n"}, ""},
		{"bad YAML", map[string]string{"bundle.yaml": spec("*.yaml", "limits.json"), "files/l.yaml": "rps: 3\n"}, `"files/l.yaml" does not match its schema`},
		{"overlay breaks it", nil, `"overlays/ap-south/limits.json" does not match its schema`},
		{"common file breaks it", map[string]string{"files/limits.json": `{"rps": "many"}`}, `at '/rps': got string, want integer`},
		{"not JSON", map[string]string{"files/limits.json": `{"rps": `}, `"files/limits.json" cannot be read as json`},
		{"no such file", map[string]string{"bundle.yaml": spec("nginx/*.json", "limits.json")}, `schemas["nginx/*.json"]: matches no file`},
		{"bad glob", map[string]string{"bundle.yaml": spec("[", "limits.json")}, `schemas["["]: is not a valid glob`},
		{"no such schema", map[string]string{"bundle.yaml": spec("limits.json", "x.json")}, "schemas/x.json: no such file"},
		{"outside", map[string]string{"bundle.yaml": spec("limits.json", "../x.json")}, "is not a clean path"},
		{"from the network", map[string]string{"schemas/limits.json": `{"$ref": "http://127.0.0.1:1/x.json"}`}, "is outside of schemas/"},
		{"from the disk", map[string]string{"schemas/limits.json": `{"$ref": "file:///etc/passwd"}`}, "is outside of schemas/"},
		{"not a schema", map[string]string{"schemas/limits.json": `{"type": 7}`}, `schemas["limits.json"]:`},
		{"of another kind", map[string]string{"bundle.yaml": spec("rules/*.conf", "limits.json")}, "only .json, .yaml and .yml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := waf(map[string]string{"bundle.yaml": spec("limits.json", "limits.json"), "schemas/limits.json": schema, "schemas/defs.json": defs})
			for name, content := range tt.files {
				files[name] = content
			}
			s, err := Build(dir(t, files), Options{})
			if err == nil {
				s.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")) {
				t.Fatalf("error %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(fullSpec))
	f.Add([]byte("app: waf\nversion: 1.10\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data)
		if err != nil {
			return
		}
		m := s.manifest()
		m.Limits = wire.Limits{}
		m.Files = []wire.File{{Path: "x", Mode: wire.ModeRegular, SHA256: wire.Digest{1}}}
		if _, err := m.Encode(); err != nil {
			t.Fatalf("accepted, but makes no manifest: %v", err)
		}
	})
}
