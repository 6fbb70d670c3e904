package release

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Verify reads a release back and returns [ErrDamaged], with what is wrong, unless it
// holds exactly files: the same paths, modes, sizes and contents, regular files and
// directories only. Marker files of data planes do not count.
func (s *Store) Verify(d wire.Digest, files []wire.File) error {
	root, err := s.rels.OpenRoot(d.String())
	if err == nil {
		err = verify(root, files)
		root.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: it is not on disk", ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", d.Short(), err)
	}
	return nil
}

func verify(root *os.Root, files []wire.File) error {
	want := make(map[string]wire.File, len(files))
	for _, f := range files {
		want[f.Path] = f
	}
	err := fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case isMarker(p):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%w: %s is no regular file", ErrDamaged, p)
		}
		f, ok := want[p]
		if !ok {
			return fmt.Errorf("%w: %s does not belong to it", ErrDamaged, p)
		}
		delete(want, p)
		return verifyFile(root, f)
	})
	if err == nil && len(want) > 0 {
		err = fmt.Errorf("%w: %s is missing", ErrDamaged, wire.Keys(want)[0])
	}
	return err
}

func verifyFile(root *os.Root, f wire.File) error {
	r, err := root.Open(f.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	fi, err := r.Stat()
	if err != nil {
		return err
	}
	if got, want := fi.Mode().Perm(), fs.FileMode(f.Mode); got != want {
		return fmt.Errorf("%w: %s has mode %#o, want %#o", ErrDamaged, f.Path, got, want)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, f.Size+1))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Path, err)
	}
	if n != f.Size || wire.Digest(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s has other content", ErrDamaged, f.Path)
	}
	return nil
}

// Stamp sets the mtime of every file and directory of a release to at, a whole second
// the caller has never used before for this app: servers and caches take equal mtime and
// size for equal content, which made nginx and Caddy answer 304 for other bytes. It is
// not synced; the caller remembers at and stamps again after a crash.
func (s *Store) Stamp(d wire.Digest, at time.Time) error {
	root, err := s.rels.OpenRoot(d.String())
	if err != nil {
		return fmt.Errorf("cannot stamp release %s: %w", d.Short(), err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || isMarker(p) || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return root.Chtimes(p, at, at)
	})
	if err != nil {
		return fmt.Errorf("cannot stamp release %s: %w", d.Short(), Full(err))
	}
	return nil
}
