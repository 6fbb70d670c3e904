package overlay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files writes the files of a root, and returns it.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Two files of one name stay two, hunks of a file follow one another, and "file " is a word
// like any other but at the start of a line between hunks.
func TestWrite(t *testing.T) {
	root := files(t, map[string]string{
		"a/step.go": "one\ntwo\n", "b/step.go": "one\ntwo\n", "a-b/step.go": "one\n", "a/b-step.go": "one\n",
		"patch": `# What a file is, is told by file PATH.
file a/step.go
--- was
one
+++ is
file of one
file b/step.go
=== end

file b/step.go
--- was
two
+++ is
three
=== end
file a/step.go
--- was
of one
+++ is
=== end
file a-b/step.go
--- was
one

+++ is

=== end
`})
	data, err := os.ReadFile(Write(t, root, filepath.Join(root, "patch")))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(data, &overlay); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for source, path := range overlay.Replace {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(source, root+"/")] = string(text)
	}
	if diff := cmp.Diff(map[string]string{"a/step.go": "file \nfile b/step.go\ntwo\n", "b/step.go": "one\nthree\n", "a-b/step.go": ""}, got); diff != "" {
		t.Errorf("copies (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"a/step.go": "one\ntwo\n", "b/step.go": "one\ntwo\n"} {
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(text) != want {
			t.Errorf("%s itself was changed: %q, %v", name, text, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for patch, want := range map[string]string{
		"":                                    "has no hunk",
		"# nothing\n":                         "has no hunk",
		"file a\n":                            `line 1: no line "--- was" follows`,
		"file a\nx\n--- was\ny\n":             `line 1: no line "--- was" follows`,
		"file a\n--- was\none\n":              `line 2: no line "+++ is" follows`,
		"file a\n--- was\none\n+++ is\ntwo\n": `line 4: no line "=== end" follows`,
		"a\n--- was\none\n+++ is\ntwo\n=== end\n":                 `line 1: is "a", want file PATH`,
		"file /a\n--- was\none\n+++ is\ntwo\n=== end\n":           `line 1: is "file /a", want file PATH`,
		"file ../a\n--- was\none\n+++ is\ntwo\n=== end\n":         `line 1: is "file ../a", want file PATH`,
		"file a\n--- was\n+++ is\ntwo\n=== end\n":                 "line 1: changes nothing",
		"file a\n--- was\none\n+++ is\none\n=== end\n":            "line 1: changes nothing",
		"file a\n--- was\nnone\n+++ is\ntwo\n=== end\n":           "line 1: what is to be replaced in a is there 0 times",
		"# two\nfile a\n--- was\no\n+++ is\nu\n=== end\n":         "line 2: what is to be replaced in a is there 2 times",
		"file none\n--- was\none\n+++ is\ntwo\n=== end\n":         "no such file",
		"file a\n--- was\none\n+++ is\ntwo\n=== end\nfile of a\n": `line 7: no line "--- was" follows`,
	} {
		root := files(t, map[string]string{"a": "one\nfour\n", "patch": patch})
		if _, err := write(root, t.TempDir(), filepath.Join(root, "patch")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", patch, err, want)
		}
	}
}
