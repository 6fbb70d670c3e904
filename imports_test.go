package ebbgate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ebbgate/ebbgate"

// listed is what `go list -json` says of a package; paths of ours are relative to the
// module: "wire/pack".
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func list(t *testing.T) []listed {
	t.Helper()
	var pkgs []listed
	for d := goList(t, "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./..."); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = ours(p.ImportPath)
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports, p.Deps} {
			for i := range list {
				list[i] = ours(list[i])
			}
		}
		pkgs = append(pkgs, p)
	}
}

// goList returns the JSON that `go list` prints.
func goList(t *testing.T, args ...string) *json.Decoder {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			t.Fatalf("go list: %v: %s", err, ee.Stderr)
		}
		t.Fatal(err)
	}
	return json.NewDecoder(bytes.NewReader(out))
}

func ours(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// in reports whether pkg is one of the trees or below one.
func in(pkg string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") })
}

// std reports whether pkg belongs to the standard library.
func std(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".") && !in(pkg, "wire", "agent", "controller", "cdn", "cmd", "deploy", "internal")
}

// TestImportsPointDown holds the order of the rooms. Each rule says who may not import
// what, and why.
func TestImportsPointDown(t *testing.T) {
	const (
		nats   = "github.com/nats-io/nats.go"
		server = "github.com/nats-io/nats-server/v2"
		jwt    = "github.com/nats-io/jwt/v2"
		dsse   = "github.com/secure-systems-lab/go-securesystemslib/dsse"
	)
	rules := []struct {
		why   string
		who   func(pkg string) bool
		wrong func(imported string) bool
	}{
		{"wire is the vocabulary: it knows neither side",
			func(p string) bool { return in(p, "wire") },
			func(i string) bool { return in(i, "agent", "controller", "cdn", "cmd") }},
		{"wire itself needs the standard library and DSSE only",
			func(p string) bool { return p == "wire" },
			func(i string) bool { return !std(i) && i != dsse }},
		{"wire/pack is pure: no disk, no network",
			func(p string) bool { return p == "wire/pack" },
			func(i string) bool { return in(i, "os", "net", "syscall", "math/rand", "time") }},
		{"only wire/natsbus speaks NATS",
			func(p string) bool { return !in(p, "wire/natsbus") },
			func(i string) bool { return in(i, nats) }},
		{"only the hub runs a server and mints credentials",
			func(p string) bool { return !in(p, "controller/hub") },
			func(i string) bool { return in(i, server, jwt) }},
		{"cdn stands alone, for those who need nothing else of ours",
			func(p string) bool { return in(p, "cdn") },
			func(i string) bool { return in(i, "wire", "agent", "controller", "cmd") }},
		{"agent/tags is for programs that need nothing else of ours",
			func(p string) bool { return p == "agent/tags" },
			func(i string) bool { return !std(i) && i != "wire" }},
		{"agent and controller know each other through wire only",
			func(p string) bool { return in(p, "agent") },
			func(i string) bool { return in(i, "controller", "cdn", "cmd") }},
		{"agent and controller know each other through wire only",
			func(p string) bool { return in(p, "controller") },
			func(i string) bool { return in(i, "agent", "cmd") }},
		{"the cores take time and events from outside",
			func(p string) bool { return in(p, cores...) },
			func(i string) bool {
				return in(i, "os", "net", "syscall", "math/rand", "crypto/rand", "hash/maphash", "unsafe", "sync", "context", "io", "bufio", "runtime", "log", "testing") && i != "io/fs"
			}},
	}
	for _, p := range list(t) {
		for _, rule := range rules {
			if !rule.who(p.ImportPath) {
				continue
			}
			for _, i := range p.Imports {
				if rule.wrong(i) {
					t.Errorf("%s imports %s: %s", p.ImportPath, i, rule.why)
				}
			}
		}
	}
}

// TestTestsImportDownToo: tests of a side bring in the server at most, never the other
// side; only tests of cmd and of the whole see both.
func TestTestsImportDownToo(t *testing.T) {
	for _, p := range list(t) {
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if in(p.ImportPath, "agent") && in(i, "controller/rollout", "controller/api", "controller/bundle", "cdn") ||
				in(p.ImportPath, "controller/rollout", "controller/bundle", "cdn") && in(i, "agent") {
				t.Errorf("the tests of %s import %s", p.ImportPath, i)
			}
		}
	}
}

// TestAgentIsLean holds what the agent's binary links, however deep.
func TestAgentIsLean(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != "cmd/ebbgate-agent" {
			continue
		}
		for _, d := range p.Deps {
			if in(d, "github.com/nats-io/nats-server", "github.com/nats-io/jwt", "cdn", "controller",
				"github.com/spf13", "github.com/fastly", "github.com/cloudflare", "charm.land", "testing") {
				t.Errorf("the agent links %s", d)
			}
		}
	}
}
