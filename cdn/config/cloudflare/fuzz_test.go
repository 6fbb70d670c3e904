package cloudflare

import (
	"testing"
	"testing/fstest"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// Whatever is in a release, what is taken from it is the same as itself, and can be sent.
func FuzzLoad(f *testing.F) {
	f.Add(`{"description": "d", "rules": [{"action": "block", "expression": "true", "enabled": false}]}`)
	f.Add(`{"rules": []}`)
	f.Add(`{"compatibility_date": "2026-01-01", "bindings": [{"name": "A"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		files := fstest.MapFS{
			RulesetFile: {Data: []byte(text)}, workerMetadata: {Data: []byte(text)}, workerMain: {Data: []byte(text)}, "kv/a": {Data: []byte(text)},
		}
		for _, target := range []config.Target{&Ruleset{}, &Worker{}, &Namespace{}} {
			c, err := target.Load(files)
			if err != nil {
				continue
			}
			for key, value := range c.Items {
				if !target.Same(key, value, value) {
					t.Errorf("%q is not the same as itself: %q", key, value)
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
