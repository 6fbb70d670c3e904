package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var planted = flag.Bool("planted", false, "also find the planted bugs; takes minutes")

// within is how many seeds a planted bug may take.
const within = "20000"

// TestPlanted breaks one of the cores at a time, in a copy that only the compiler sees, and
// holds the simulation to finding it. Each bug has a core of the machine to itself.
func TestPlanted(t *testing.T) {
	if !*planted {
		t.Skip("asked for with -planted")
	}
	files, err := filepath.Glob("testdata/planted/*.txt")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d bugs, %v", len(files), err)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards rows
	var rows []string
	t.Run("all", func(t *testing.T) {
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".txt")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				seed, what := find(t, root, file)
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, fmt.Sprintf("| %s | %s | %s |", name, seed, what))
			})
		}
	})
	slices.Sort(rows)
	t.Logf("found at the first seed that\n%s", strings.Join(rows, "\n"))
}

var broke = regexp.MustCompile(`seed (\d+): at \S+ (.*)`)

// find compiles the simulation with a bug, and returns the first seed that shows it, and how.
func find(t *testing.T, root, file string) (seed, what string) {
	bin := filepath.Join(t.TempDir(), "sim.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay(t, root, file), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	play := exec.Command(bin, "-test.run", "^TestSeeds$", "-seeds", within, "-shrink=false")
	play.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := play.CombinedOutput()
	found := broke.FindSubmatch(out)
	if err == nil || found == nil {
		t.Fatalf("not found within %s seeds: %v\n%.600s", within, err, out)
	}
	return string(found[1]), string(found[2])
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
