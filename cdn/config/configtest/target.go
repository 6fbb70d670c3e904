package configtest

import (
	"testing"
	"testing/fstest"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// Release makes a release of files: path → text.
func Release(content string, files map[string]string) config.Release {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return config.Release{ID: content + "@1", Content: content, Files: tree}
}

// Target is what New of a target returned, and fails the test for what it refused.
func Target[T config.Target](t *testing.T, made T, err error) config.Target {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Refusal is the error that New of a target returned.
func Refusal[T config.Target](_ T, err error) error { return err }
