package bundle

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// dir writes a bundle's directory, file by file in the order of their names.
func dir(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		write1(t, root, name, files[name])
	}
	return root
}

func write1(t testing.TB, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// waf is a small bundle; with replaces or adds files, and "" removes one.
func waf(with map[string]string) map[string]string {
	files := map[string]string{
		"bundle.yaml":                   "app: waf\nversion: 1.2.0\n",
		"files/rules/sqli.conf":         "SecRule ARGS \"@detectSQLi\" \"id:1,deny\"\n",
		"files/rules/xss.conf":          "SecRule ARGS \"@detectXSS\" \"id:2,deny\"\n",
		"files/limits.json":             `{"rps": 100}`,
		"overlays/eu-west/limits.json":  `{"rps": 50}`,
		"overlays/ap-south/extra.conf":  "SecRuleEngine On\n",
		"overlays/ap-south/limits.json": `{"rps": 10}`,
		"README.md":                     "About these rules.\n",
		".gitignore":                    "*.ebb\n",
	}
	for name, content := range with {
		if files[name] = content; content == "" {
			delete(files, name)
		}
	}
	return files
}

func key(t testing.TB, n byte) wire.PrivateKey {
	t.Helper()
	k, err := wire.GenerateKey(fixed(n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type fixed byte

func (f fixed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// trust accepts bundles of fleet prod that two of the authors 1, 2 and 3 signed.
func trust(t testing.TB) *wire.Trust {
	t.Helper()
	keys := func(ns ...byte) (keys []wire.PublicKey) {
		for _, n := range ns {
			keys = append(keys, key(t, n).Public())
		}
		return keys
	}
	root := &wire.Root{Fleet: "prod", Version: 1, Expires: day, Roles: map[wire.Role]wire.KeyRole{
		wire.RoleRoot: {Threshold: 1, Keys: keys(9)}, wire.RoleController: {Threshold: 1, Keys: keys(8)},
		wire.RoleAuthor: {Threshold: 2, Keys: keys(1, 2, 3)}}}
	payload, err := root.Encode()
	if err != nil {
		t.Fatal(err)
	}
	env, err := wire.Seal(wire.TypeRoot, payload, key(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := wire.NewTrust(env)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
