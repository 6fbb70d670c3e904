package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var planted = flag.Bool("planted", false, "also find the planted bugs; takes minutes")

// within is how many seeds a planted bug may take.
const within = "300"

// TestPlanted breaks one of the cores at a time, in a copy that only the compiler sees, and
// holds the simulation to finding it.
func TestPlanted(t *testing.T) {
	if !*planted {
		t.Skip("asked for with -planted")
	}
	files, err := filepath.Glob("testdata/planted/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d bugs, %v", len(files), err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`seed \d+(: at| at) .*`)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			out, err := exec.Command("go", "test", "-count=1", "-run", "^TestSeeds$", "-overlay", overlay(t, root, file), ".", "-seeds", within).CombinedOutput()
			what := found.Find(out)
			if err == nil || what == nil {
				t.Fatalf("not found within %s seeds: %v\n%.600s", within, err, out)
			}
			t.Logf("%s", what)
		})
	}
}

// overlay writes the broken sources and the file that tells the compiler of them.
func overlay(t *testing.T, root, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for _, hunk := range strings.Split(string(data), "file ")[1:] {
		name, rest, _ := strings.Cut(hunk, "\n--- was\n")
		was, rest, ok := strings.Cut(rest, "\n+++ is\n")
		is, _, end := strings.Cut(rest, "\n=== end\n")
		if !ok || !end {
			t.Fatalf("%s: a hunk is file, --- was, +++ is, === end", file)
		}
		path := filepath.Join(root, name)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		src, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(src), was) != 1 {
			t.Fatalf("%s: what is to be replaced in %s is there %d times", file, name, strings.Count(string(src), was))
		}
		broken := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(broken, []byte(strings.Replace(string(src), was, is, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = broken
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
