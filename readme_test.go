package ebbgate_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	readmeRun  = regexp.MustCompile("`go test -run '?([^' `]+)'? ([^`]+)`")
	readmeLink = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	testFunc   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// Every promise in the README names a command that shows it: the tests it names exist, and
// so does everything it links to.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	runs := readmeRun.FindAllStringSubmatch(string(text), -1)
	if len(runs) < 4 {
		t.Errorf("found %d commands that name tests", len(runs))
	}
	for _, run := range runs {
		pattern := regexp.MustCompile(strings.ReplaceAll(run[1], `\|`, "|"))
		for _, pkg := range strings.Fields(run[2]) {
			if !anyTest(t, pkg, pattern) {
				t.Errorf("go test -run %s %s runs no test", run[1], pkg)
			}
		}
	}
	for _, link := range readmeLink.FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(link[1]); err != nil {
			t.Errorf("the README links to %s: %v", link[1], err)
		}
	}
}

// anyTest reports whether a package, or one below it after /..., has a test that matches.
func anyTest(t *testing.T, pkg string, pattern *regexp.Regexp) bool {
	t.Helper()
	root, below := strings.CutSuffix(pkg, "/...")
	found := false
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != filepath.Clean(root) && path != root && !below {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(src), -1) {
			found = found || pattern.MatchString(m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
