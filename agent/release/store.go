package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebbgate/ebbgate/wire"
)

var (
	// ErrSync says that the disk did not confirm a write. What is on it is unknown from
	// then on, also to a second fsync that succeeds: the only way out is to exit and to
	// recover.
	ErrSync = errors.New("the disk did not confirm a write")
	// ErrFull says that the disk has no room. Nothing that served was touched.
	ErrFull = errors.New("no room on the disk")
	// ErrDamaged says that a release on disk is not what its manifest says.
	ErrDamaged = errors.New("release damaged")
)

const (
	releases  = "releases"
	current   = "current"
	tmpPrefix = ".tmp-"
	marker    = ".ebbgate" // prefix of names that are not part of a release's content
)

// unstamped is the mtime of files that were never activated: staging the same release
// twice gives the same tree.
var unstamped = time.Unix(0, 0)

// Store is the releases of one app. Its methods are not safe for concurrent use, but for
// reads of other processes.
type Store struct {
	dir  string   // absolute
	root *os.Root // of dir
	rels *os.Root // of dir/releases
}

// Open opens or makes the directory and removes what an interrupted run left half done.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	if err := s.open(); err != nil {
		s.Close()
		return nil, fmt.Errorf("cannot open the releases in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return Full(err)
	}
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return err
	}
	if err := s.root.Mkdir(releases, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return Full(err)
	}
	if s.rels, err = s.root.OpenRoot(releases); err != nil {
		return err
	}
	if err := syncDir(s.root, "."); err != nil {
		return err
	}
	if err := s.sweep(s.root); err != nil {
		return err
	}
	return s.sweep(s.rels)
}

// sweep removes what was never renamed to its name.
func (s *Store) sweep(r *os.Root) error {
	names, err := list(r)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tmpPrefix) {
			if err := r.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close releases the directory; it changes nothing on disk.
func (s *Store) Close() error {
	var errs []error
	for _, r := range []*os.Root{s.rels, s.root} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// Path returns the absolute path of a release's directory, whether it exists or not.
func (s *Store) Path(d wire.Digest) string { return filepath.Join(s.dir, releases, d.String()) }

// CurrentLink returns the absolute path of the link to the release that is served.
func (s *Store) CurrentLink() string { return filepath.Join(s.dir, current) }

// Has reports whether a release is on disk; [Store.Verify] says whether it is whole.
func (s *Store) Has(d wire.Digest) bool {
	fi, err := s.rels.Lstat(d.String())
	return err == nil && fi.IsDir()
}

// List returns the releases on disk in ascending order of digest. Other names in the
// directory are left alone.
func (s *Store) List() ([]wire.Digest, error) {
	names, err := list(s.rels)
	if err != nil {
		return nil, fmt.Errorf("cannot list releases: %w", err)
	}
	var ds []wire.Digest
	for _, name := range names {
		if d, err := wire.ParseDigest(name); err == nil && s.Has(d) {
			ds = append(ds, d)
		}
	}
	return ds, nil
}

// Current returns the release that `current` names, the zero Digest when there is none.
func (s *Store) Current() (wire.Digest, error) {
	to, err := s.root.Readlink(current)
	if errors.Is(err, fs.ErrNotExist) {
		return wire.Digest{}, nil
	}
	if err != nil {
		return wire.Digest{}, fmt.Errorf("cannot read %s: %w", s.CurrentLink(), err)
	}
	d, err := wire.ParseDigest(path.Base(to))
	if err != nil || to != path.Join(releases, d.String()) {
		return wire.Digest{}, fmt.Errorf("%s names %q, which is no release", s.CurrentLink(), to)
	}
	return d, nil
}

// Switch makes `current` name a release, in one step and durably. The zero Digest
// removes it.
func (s *Store) Switch(d wire.Digest) error {
	if err := s.switchTo(d); err != nil {
		return fmt.Errorf("cannot switch %s to %s: %w", s.CurrentLink(), d.Short(), err)
	}
	return nil
}

func (s *Store) switchTo(d wire.Digest) error {
	if d.IsZero() {
		if err := s.root.Remove(current); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(s.root, ".")
	}
	if !s.Has(d) {
		return fmt.Errorf("%w: it is not on disk", ErrDamaged)
	}
	const tmp = tmpPrefix + current
	if err := s.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.root.Symlink(path.Join(releases, d.String()), tmp); err != nil {
		return Full(err)
	}
	if err := s.root.Rename(tmp, current); err != nil {
		return Full(err)
	}
	return syncDir(s.root, ".")
}

// Remove deletes a release. It refuses the one that `current` names.
func (s *Store) Remove(d wire.Digest) error {
	if cur, err := s.Current(); err != nil || cur == d {
		return errors.Join(err, fmt.Errorf("cannot remove release %s: it is current", d.Short()))
	}
	// Renamed first: a removal that is cut short must not leave half a release under
	// the name of a whole one.
	tmp := tmpPrefix + "gone-" + d.String()
	if err := s.rels.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot remove release %s: %w", d.Short(), err)
	}
	if err := s.rels.Rename(d.String(), tmp); err != nil {
		return fmt.Errorf("cannot remove release %s: %w", d.Short(), err)
	}
	if err := syncDir(s.rels, "."); err != nil {
		return err
	}
	if err := s.rels.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot remove release %s: %w", d.Short(), err)
	}
	return nil
}

// Free returns the bytes that an unprivileged process may still write to the disk.
func (s *Store) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, fmt.Errorf("cannot tell the room on the disk of %s: %w", s.dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func list(r *os.Root) ([]string, error) {
	d, err := r.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// syncDir makes the names in a directory durable.
func syncDir(r *os.Root, dir string) error {
	d, err := r.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return Sync(d)
}

// Sync makes f durable. Its errors wrap [ErrSync].
func Sync(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	return nil
}

// Full marks the errors of a disk or a quota without room with [ErrFull], and returns any
// other as it is.
func Full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
