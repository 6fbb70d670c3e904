// Package disktest gives tests a disk whose power can be cut. A process that is killed
// loses nothing it has written: only a file system that loses its memory shows whether a
// sync is missing.
package disktest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system in a file, whose power can be cut.
type Disk struct {
	Dir string // where it is mounted

	t     *testing.T
	image string
}

// New makes and mounts a disk of 64 MiB that ends with the test. Where that is not possible
// the test is skipped, or fails if EBBGATE_REQUIRE_SERVERS is 1.
func New(t *testing.T) *Disk {
	t.Helper()
	d := &Disk{t: t, image: filepath.Join(t.TempDir(), "image"), Dir: t.TempDir()}
	missing := func(err error, out []byte) {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatalf("cannot make a file system whose power can be cut: %v: %s", err, out)
		}
		t.Skipf("cannot make a file system whose power can be cut: %v: %s", err, out)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		missing(err, out)
	}
	if out, err := d.mount(); err != nil {
		missing(err, out)
	}
	t.Cleanup(func() { syscall.Unmount(d.Dir, syscall.MNT_DETACH) })
	return d
}

func (d *Disk) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop,commit=1,data=writeback", d.image, d.Dir).CombinedOutput()
}

// Cut cuts the power: what the disk has not been told to keep is lost.
func (d *Disk) Cut() {
	d.t.Helper()
	f, err := os.Open(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flag := uint32(2) // without writing the file system's journal
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flag))); no != 0 {
		d.t.Fatalf("cannot cut the power: %v", no)
	}
}

// Restore brings the disk back as the cut left it. Every descriptor on it must be closed.
func (d *Disk) Restore() {
	d.t.Helper()
	var err error
	for range 1000 { // until the last descriptor is closed
		if err = syscall.Unmount(d.Dir, 0); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	if out, err := d.mount(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
}
