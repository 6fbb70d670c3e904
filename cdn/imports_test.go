package cdn_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Others import this package without the rest of Ebbgate, and without paying
// for vendor libraries they do not use.
func TestImports(t *testing.T) {
	const own = "github.com/ebbgate/ebbgate/"
	for root, allowed := range map[string][]string{
		"./...": {own + "cdn", own + "internal/servertest", own + "internal/ports"}, // the latter two in varnishtest alone
		".": {
			own + "cdn", "go.etcd.io/bbolt", "golang.org/x/time/rate", "golang.org/x/sys/unix",
			"github.com/bmatcuk/doublestar/v4",
		},
	} {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", root).Output()
		if err != nil {
			t.Fatal(err)
		}
	deps:
		for dep := range strings.FieldsSeq(string(out)) {
			if root == "./..." && !strings.HasPrefix(dep, own) {
				continue
			}
			for _, prefix := range allowed {
				if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
					continue deps
				}
			}
			t.Errorf("%s imports %s", root, dep)
		}
	}
}
