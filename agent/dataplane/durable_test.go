package dataplane

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ebbgate/ebbgate/agent/release"
)

// A disk without room says nothing of the release, a failed sync nothing good of the disk.
func TestErrorsOfTheDisk(t *testing.T) {
	// The kernel's own file systems have nothing to write to, and say so.
	if err := syncDir("/proc"); !errors.Is(err, release.ErrSync) {
		t.Errorf("a sync that fails: %v", err)
	}
	for _, kind := range []Kind{KindFiles, KindNginx} {
		t.Run(string(kind), func(t *testing.T) {
			p := newPlane(t, kind)
			p.cfg.Dir = t.TempDir()
			if err := syscall.Mount("tmpfs", p.cfg.Dir, "tmpfs", 0, "size=1m"); err != nil {
				if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
					t.Fatalf("cannot mount a small file system: %v", err)
				}
				t.Skipf("cannot mount a small file system: %v", err)
			}
			t.Cleanup(func() { syscall.Unmount(p.cfg.Dir, syscall.MNT_DETACH) })
			d := p.open(t)
			r := p.release(t, 1, p.good("one"))
			p.prepare(t, r)
			if err := os.WriteFile(filepath.Join(p.cfg.Dir, "big"), make([]byte, 2<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the disk is not full: %v", err)
			}
			call := d.Activate
			if kind == KindNginx {
				call = d.Validate
			}
			if err := call(t.Context(), r); !errors.Is(err, release.ErrFull) {
				t.Errorf("a full disk: %v", err)
			}
		})
	}
}
