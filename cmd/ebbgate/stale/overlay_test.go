package stale

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// overlay writes the sources that a control changes, and the file that tells the compiler
// of them. A hunk is "file PATH", "--- was", "+++ is", "=== end".
func overlay(t *testing.T, control string) string {
	t.Helper()
	data, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string) // source → what the compiler reads instead
	for _, hunk := range strings.Split(string(data), "\nfile ")[1:] {
		name, rest, _ := strings.Cut(hunk, "\n--- was\n")
		was, rest, ok := strings.Cut(rest, "\n+++ is\n")
		is, _, end := strings.Cut(rest, "\n=== end\n")
		if !ok || !end {
			t.Fatalf("%s: a hunk is file, --- was, +++ is, === end", control)
		}
		path := filepath.Join(root, name)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), was); n != 1 {
			t.Fatalf("%s: what is to be replaced in %s is there %d times", control, name, n)
		}
		changed := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(source), was, is, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = changed
	}
	data, err = json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every scenario's control can be made of the sources as they are, and none is left over.
func TestControlsApply(t *testing.T) {
	left := make(map[string]bool)
	files, err := filepath.Glob("testdata/controls/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		left[strings.TrimSuffix(filepath.Base(f), ".txt")] = true
	}
	for _, s := range scenarios {
		if s.control != "" {
			overlay(t, filepath.Join("testdata", "controls", s.control+".txt"))
			delete(left, s.control)
		}
	}
	if len(left) > 0 {
		t.Errorf("no scenario needs the controls %v", left)
	}
}
