package stale

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/overlay"
)

// Every scenario's control can be made of the sources as they are and compiles, and none is left over.
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
			overlay.Compile(t, "../../..", filepath.Join("testdata", "controls", s.control+".txt"))
			delete(left, s.control)
		}
	}
	if len(left) > 0 {
		t.Errorf("no scenario needs the controls %v", left)
	}
}
