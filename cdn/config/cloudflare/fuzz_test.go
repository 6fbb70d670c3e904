package cloudflare

import (
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
)

// Whatever is in a release, what is taken from it is the same as itself, and can be sent;
// a value of a namespace is read back as it was written.
func FuzzLoad(f *testing.F) {
	remote := configtest.NewCloudflare(configtest.Token)
	server := httptest.NewServer(remote)
	defer server.Close()
	kv, err := NewNamespace(Account{Token: configtest.Token, Endpoint: server.URL + "/client/v4"}, account, namespace, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"description": "d", "rules": [{"action": "block", "expression": "true", "enabled": false}]}`)
	f.Add(`{"description": " \n", "rules": []}`)
	f.Add(`{"compatibility_date": "2026-01-01", "bindings": [{"name": "A"}]}`)
	f.Add("null")
	f.Add("\ufffd \u2028 <&>")
	f.Fuzz(func(t *testing.T, text string) {
		files := fstest.MapFS{
			RulesetFile: {Data: []byte(text)}, workerMetadata: {Data: []byte(text)}, workerMain: {Data: []byte(text)}, "kv/a": {Data: []byte(text)},
		}
		for _, target := range []config.Target{&Ruleset{}, &Worker{}, kv} {
			c, err := target.Load(files)
			if err != nil {
				continue
			}
			for key, value := range c.Items {
				if !target.Same(key, value, value) {
					t.Errorf("%q is not the same as itself: %q", key, value)
				}
			}
			if d, ok := c.Items[descriptionKey]; ok {
				if got, release := unmarked(marked(d, "1.0@1")); got != d || release != "1.0@1" {
					t.Errorf("description %q is read back as %q of %q", d, got, release)
				}
			}
			if target == kv {
				remote.SetPairs(configtest.NamespacePath(account, namespace), map[string]configtest.Pair{})
				if err := kv.Write(t.Context(), config.Batch{Changes: []config.Change{{Key: "a", Value: c.Items["a"]}}}); err != nil {
					t.Fatal(err)
				}
				if s, err := kv.Read(t.Context(), nil); err != nil || s.Items["a"] != c.Items["a"] || s.Lossy["a"] {
					t.Errorf("read back %q, wrote %q: %v", s.Items["a"], c.Items["a"], err)
				}
			}
			if c.Files != nil {
				if _, _, err := form(c.Items[workerKey], c.Files); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
