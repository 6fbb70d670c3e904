package sim

import (
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

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/overlay"
)

var (
	planted = flag.Bool("planted", false, "also find the planted bugs; takes minutes")
	bugs    = flag.Int("bugs", 1000, "how many of them, by name")
)

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
	files = files[:min(len(files), *bugs)]
	var mu sync.Mutex // guards rows
	var rows []string
	t.Run("all", func(t *testing.T) {
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".txt")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				seed, what := find(t, file)
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
func find(t *testing.T, file string) (seed, what string) {
	bin := filepath.Join(t.TempDir(), "sim.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay.Write(t, "../../..", file), "-o", bin, ".")
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

// Every planted bug can be made of the sources as they are and compiles, and DESIGN.md says
// when it was found.
func TestPlantedApply(t *testing.T) {
	design, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, m := range regexp.MustCompile(`([a-z-]+)\s\d+`).FindAllStringSubmatch(string(design), -1) {
		told[m[1]] = true
	}
	files, err := filepath.Glob("testdata/planted/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d bugs, %v", len(files), err)
	}
	for _, file := range files {
		overlay.Compile(t, "../../..", file)
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); !told[name] {
			t.Errorf("DESIGN.md does not say at which seed %s is found", name)
		}
	}
}
