package release

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is a release to be: path → content; an executable's path ends with "*".
type tree map[string]string

func (tr tree) files() (files []wire.File) {
	for _, p := range wire.Keys(tr) {
		f := wire.File{Path: strings.TrimSuffix(p, "*"), Mode: wire.ModeRegular, Size: int64(len(tr[p])), SHA256: wire.DigestOf([]byte(tr[p]))}
		if strings.HasSuffix(p, "*") {
			f.Mode = wire.ModeExecutable
		}
		files = append(files, f)
	}
	return files
}

func write(t *testing.T, s *Store, name string, tr tree) (wire.Digest, []wire.File) {
	t.Helper()
	d, files := wire.DigestOf([]byte(name)), tr.files()
	w, err := s.Write(d, files)
	check(t, err)
	for _, p := range wire.Keys(tr) {
		c := wire.DigestOf([]byte(tr[p]))
		if w.Wants(c) {
			check(t, w.Put(c, strings.NewReader(tr[p])))
		}
	}
	check(t, w.Commit())
	return d, files
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

var sample = tree{"a": "x", "bin/tool*": "run", "conf.d/a.conf": "same", "conf.d/b/c.conf": "same", "empty": ""}

func TestWriteVerifySwitchRemove(t *testing.T) {
	old := syscall.Umask(0o077) // modes must not depend on it
	defer syscall.Umask(old)
	s := open(t, t.TempDir())
	d, files := write(t, s, "1", sample)
	check(t, s.Verify(d, files))
	if cur, err := s.Current(); err != nil || !cur.IsZero() {
		t.Fatalf("current is %s, %v", cur, err)
	}
	check(t, s.Switch(d))
	if cur, err := s.Current(); err != nil || cur != d {
		t.Fatalf("current is %s, %v", cur, err)
	}
	for path, want := range map[string]os.FileMode{"bin": 0o755, "bin/tool": 0o755, "a": 0o644} {
		fi, err := os.Stat(filepath.Join(s.CurrentLink(), path))
		check(t, err)
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %#o, want %#o", path, fi.Mode().Perm(), want)
		}
	}
	if err := s.Remove(d); err == nil {
		t.Fatal("removed the current release")
	}
	e, _ := write(t, s, "2", tree{"a": "y"})
	check(t, s.Switch(e))
	check(t, s.Remove(d))
	if got, err := s.List(); err != nil || len(got) != 1 || got[0] != e {
		t.Fatalf("on disk: %v, %v", got, err)
	}
	check(t, s.Switch(wire.Digest{}))
	if cur, err := s.Current(); err != nil || !cur.IsZero() {
		t.Fatalf("current is %s, %v", cur, err)
	}
	if err := s.Switch(d); !errors.Is(err, ErrDamaged) {
		t.Fatalf("switch to what is not there: %v", err)
	}
}

func TestStamp(t *testing.T) {
	s := open(t, t.TempDir())
	d, files := write(t, s, "1", sample)
	check(t, os.WriteFile(filepath.Join(s.Path(d), ".ebbgate-mark"), nil, 0o644))
	mark := time.Unix(5, 0)
	check(t, os.Chtimes(filepath.Join(s.Path(d), ".ebbgate-mark"), mark, mark))
	at := time.Unix(1_700_000_000, 0)
	check(t, s.Stamp(d, at))
	check(t, s.Verify(d, files)) // a marker does not count
	for path, want := range map[string]time.Time{"a": at, "conf.d/b": at, "conf.d/b/c.conf": at, ".ebbgate-mark": mark} {
		fi, err := os.Stat(filepath.Join(s.Path(d), path))
		check(t, err)
		if !fi.ModTime().Equal(want) {
			t.Errorf("%s has mtime %s, want %s", path, fi.ModTime(), want)
		}
	}
}

func TestVerifyFinds(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("z"), 0o644) },
		"size":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("xx"), 0o644) },
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o666) },
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "conf.d/a.conf")) },
		"extra":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "conf.d/evil.conf"), nil, 0o644) },
		"symlink": func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "link")) },
		"replaced": func(dir string) error {
			p := filepath.Join(dir, "a")
			return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p))
		},
		"fifo": func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) },
		"gone": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			d, files := write(t, s, "1", sample)
			check(t, s.Switch(d))
			check(t, damage(s.Path(d)))
			if err := s.Verify(d, files); !errors.Is(err, ErrDamaged) {
				t.Fatalf("verify: %v", err)
			}
			// Writing it again heals it in one step, while `current` names it.
			write(t, s, "1", sample)
			check(t, s.Verify(d, files))
			if names, _ := os.ReadDir(filepath.Dir(s.Path(d))); len(names) != 1 {
				t.Fatalf("left behind: %v", names)
			}
		})
	}
}

func TestPutRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	files := tree{"a": "abc"}.files()
	d, c := wire.DigestOf([]byte("1")), wire.DigestOf([]byte("abc"))
	for name, data := range map[string]string{"short": "ab", "long": "abcd", "other": "abd"} {
		w, err := s.Write(d, files)
		check(t, err)
		if err := w.Put(c, strings.NewReader(data)); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Commit(); err == nil {
			t.Errorf("%s: committed", name)
		}
		if s.Has(d) {
			t.Errorf("%s: on disk", name)
		}
	}
	w, err := s.Write(d, files)
	check(t, err)
	defer w.Abort()
	if err := w.Put(wire.DigestOf([]byte("z")), strings.NewReader("z")); err == nil {
		t.Error("a content of no file was taken")
	}
	if err := w.Commit(); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("a release without its content: %v", err)
	}
}

// TestNothingOutside holds that even a manifest that never passed its check cannot write
// outside the release or through a link.
func TestNothingOutside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "app"))
	for _, p := range []string{"../../evil", "/evil", "a/../../../evil", ".."} {
		w, err := s.Write(wire.DigestOf([]byte(p)), []wire.File{{Path: p, Mode: 0o4777, Size: 1, SHA256: wire.DigestOf([]byte("x"))}})
		if err == nil {
			w.Abort()
			t.Errorf("%s was taken", p)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "evil")); err == nil {
		t.Fatal("a file came to be outside")
	}
}

func TestOpenSweeps(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d, files := write(t, s, "1", sample)
	w, err := s.Write(wire.DigestOf([]byte("2")), tree{"a": "x"}.files())
	check(t, err)
	check(t, w.Put(wire.DigestOf([]byte("x")), bytes.NewReader([]byte("x"))))
	check(t, os.Symlink("nowhere", filepath.Join(dir, ".tmp-current")))
	s = open(t, dir)
	check(t, s.Verify(d, files))
	for _, sub := range []string{".", "releases"} {
		names, err := os.ReadDir(filepath.Join(dir, sub))
		check(t, err)
		for _, n := range names {
			if strings.HasPrefix(n.Name(), ".tmp-") {
				t.Errorf("%s was not swept", n.Name())
			}
		}
	}
}

// TestFullDisk writes to a file system of 1 MiB until it is full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatalf("cannot mount a small file system: %v", err)
		}
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	s, err := Open(dir)
	check(t, err)
	defer s.Close()
	d, files := write(t, s, "1", sample)
	check(t, s.Switch(d))
	big := strings.Repeat("0123456789abcdef", 128<<10)
	w, err := s.Write(wire.DigestOf([]byte("2")), tree{"big": big}.files())
	check(t, err)
	err = w.Put(wire.DigestOf([]byte(big)), strings.NewReader(big))
	if !errors.Is(err, ErrFull) {
		t.Fatalf("put on a full disk: %v", err)
	}
	w.Abort()
	check(t, s.Verify(d, files))
	if cur, err := s.Current(); err != nil || cur != d {
		t.Fatalf("current is %s, %v", cur, err)
	}
	write(t, s, "3", tree{"small": "fits again"})
}
