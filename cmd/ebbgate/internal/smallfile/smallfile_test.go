package smallfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.yaml")
	for _, size := range []int{0, Max, Max + 1} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		data, err := Read(path)
		if fits := size <= Max; fits != (err == nil) || fits && len(data) != size {
			t.Errorf("%d bytes: read %d, %v", size, len(data), err)
		}
	}
	for _, path := range []string{path, "/dev/zero", filepath.Join(path, "in-a-file")} {
		var e *fs.PathError
		if _, err := Read(path); !errors.As(err, &e) || e.Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}
