// Package overlay breaks sources on purpose, in copies that only the compiler sees: a test
// that is worth something fails with them.
//
// A patch is a file of hunks, each as follows; what was has to be in the file exactly once.
// Lines that are blank or begin with # may stand around hunks. Several hunks of a file are
// applied one after the other.
//
//	file PATH
//	--- was
//	…
//	+++ is
//	…
//	=== end
package overlay

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Write applies a patch to copies of sources below root, and returns the file for the
// compiler's -overlay. It ends the test if the patch cannot be applied.
func Write(t testing.TB, root, patch string) string {
	t.Helper()
	path, err := write(root, t.TempDir(), patch)
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	return path
}

// Compile applies a patch and compiles what it changes. It ends the test if either fails.
func Compile(t testing.TB, root, patch string) {
	t.Helper()
	data, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	hunks, err := parse(string(data))
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	build := exec.Command("go", "build", "-overlay", Write(t, root, patch))
	for _, h := range hunks {
		build.Args = append(build.Args, "./"+filepath.Dir(h.name))
	}
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", patch, err, out)
	}
}

func write(root, dir, patch string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(patch)
	if err != nil {
		return "", err
	}
	hunks, err := parse(string(data))
	if err != nil {
		return "", err
	}
	replace := make(map[string]string) // source → what the compiler reads instead
	for _, h := range hunks {
		source := filepath.Join(root, h.name)
		from, changed := source, filepath.Join(dir, h.name)
		if replace[source] != "" {
			from = changed
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), h.was); n != 1 {
			return "", fmt.Errorf("line %d: what is to be replaced in %s is there %d times", h.line, h.name, n)
		}
		if err := os.MkdirAll(filepath.Dir(changed), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), h.was, h.is, 1)), 0o600); err != nil {
			return "", err
		}
		replace[source] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// hunk replaces a piece of a file.
type hunk struct {
	line          int // of the patch
	name, was, is string
}

func parse(text string) ([]hunk, error) {
	lines := strings.Split(text, "\n")
	at := 0
	// until returns the lines before the next one that is mark, and goes on after it.
	until := func(mark string) (string, error) {
		for i, l := range lines[at:] {
			if l == mark {
				piece := strings.Join(lines[at:at+i], "\n")
				at += i + 1
				return piece, nil
			}
		}
		return "", fmt.Errorf("line %d: no line %q follows", at, mark)
	}
	var all []hunk
	for at < len(lines) {
		line := lines[at]
		at++
		if line == "" || line[0] == '#' {
			continue
		}
		name, ok := strings.CutPrefix(line, "file ")
		if !ok || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("line %d: is %q, want file PATH", at, line)
		}
		h := hunk{line: at, name: name}
		between, err := until("--- was")
		if err == nil && between != "" {
			err = fmt.Errorf("line %d: no line %q follows", h.line, "--- was")
		}
		if err == nil {
			h.was, err = until("+++ is")
		}
		if err == nil {
			h.is, err = until("=== end")
		}
		switch {
		case err != nil:
			return nil, err
		case h.was == "" || h.was == h.is:
			return nil, fmt.Errorf("line %d: changes nothing", h.line)
		}
		all = append(all, h)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("has no hunk")
	}
	return all, nil
}
