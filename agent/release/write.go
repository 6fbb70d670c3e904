package release

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

// Writer makes one release. It is invisible under its digest until [Writer.Commit].
type Writer struct {
	s      *Store
	digest wire.Digest
	tmp    string
	root   *os.Root
	files  []wire.File
	where  map[wire.Digest][]int // content → files that have it
	left   map[wire.Digest]bool  // content not put yet
	dirs   map[string]bool       // made, relative; "." included
}

// Write begins a release that holds exactly files, those of a manifest that passed its
// check. The caller must end it with Commit or Abort.
func (s *Store) Write(d wire.Digest, files []wire.File) (*Writer, error) {
	for _, f := range files {
		if err := wire.CheckPath(f.Path); err != nil {
			return nil, fmt.Errorf("cannot write release %s: path %w", d.Short(), err)
		}
	}
	w := &Writer{s: s, digest: d, tmp: tmpPrefix + d.String(), files: files,
		where: make(map[wire.Digest][]int), left: make(map[wire.Digest]bool), dirs: map[string]bool{".": true}}
	err := s.rels.RemoveAll(w.tmp)
	if err == nil {
		err = s.rels.Mkdir(w.tmp, 0o755)
	}
	if err == nil {
		w.root, err = s.rels.OpenRoot(w.tmp)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write release %s: %w", d.Short(), Full(err))
	}
	for i, f := range files {
		w.where[f.SHA256] = append(w.where[f.SHA256], i)
		w.left[f.SHA256] = true
	}
	return w, nil
}

// Wants reports whether the release holds the content and it has not been put yet.
func (w *Writer) Wants(content wire.Digest) bool { return w.left[content] }

// Put writes a content to every file that has it. It reads no more than the declared
// size and one byte, and refuses what has another size or hash.
func (w *Writer) Put(content wire.Digest, r io.Reader) error {
	at := w.where[content]
	if len(at) == 0 {
		return fmt.Errorf("release %s has no content %s", w.digest.Short(), content.Short())
	}
	first := w.files[at[0]]
	if err := w.put(first, r); err != nil {
		return fmt.Errorf("cannot write %s of release %s: %w", first.Path, w.digest.Short(), Full(err))
	}
	for _, i := range at[1:] {
		if err := w.copy(first, w.files[i]); err != nil {
			return fmt.Errorf("cannot write %s of release %s: %w", w.files[i].Path, w.digest.Short(), Full(err))
		}
	}
	delete(w.left, content)
	return nil
}

func (w *Writer) copy(from, to wire.File) error {
	f, err := w.root.Open(from.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.put(to, f)
}

func (w *Writer) put(f wire.File, r io.Reader) (err error) {
	if err := w.mkdir(path.Dir(f.Path)); err != nil {
		return err
	}
	mode := fs.FileMode(wire.ModeRegular)
	if f.Mode&0o111 != 0 {
		mode = fs.FileMode(wire.ModeExecutable)
	}
	out, err := w.root.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(r, f.Size+1))
	switch got := wire.Digest(sum.Sum(nil)); {
	case err != nil:
		return err
	case n != f.Size:
		return fmt.Errorf("%w: content has not the %d bytes declared", wire.ErrInvalid, f.Size)
	case got != f.SHA256:
		return fmt.Errorf("%w: content is %s, want %s", wire.ErrInvalid, got.Short(), f.SHA256.Short())
	}
	return out.Chmod(mode) // whatever the umask
}

func (w *Writer) mkdir(dir string) error {
	if w.dirs[dir] {
		return nil
	}
	if err := w.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	if err := w.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	w.dirs[dir] = true
	return w.root.Chmod(dir, 0o755)
}

// Commit makes the release durable, reads every file back, and gives it its name. A
// damaged release of that name is exchanged for it in one step.
func (w *Writer) Commit() error {
	if err := w.commit(); err != nil {
		w.Abort()
		return fmt.Errorf("cannot commit release %s: %w", w.digest.Short(), Full(err))
	}
	return nil
}

func (w *Writer) commit() error {
	if len(w.left) > 0 {
		return fmt.Errorf("%w: %d contents are missing", wire.ErrInvalid, len(w.left))
	}
	for _, f := range w.files {
		if err := w.settle(f.Path); err != nil {
			return err
		}
	}
	dirs := make([]string, 0, len(w.dirs))
	for dir := range w.dirs {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	slices.Reverse(dirs) // "a/b" comes after "a": deeper ones first, but for "."
	dirs = append(slices.DeleteFunc(dirs, func(d string) bool { return d == "." }), ".")
	for _, dir := range dirs {
		if err := syncDir(w.root, dir); err != nil {
			return err
		}
	}
	if err := verify(w.root, w.files); err != nil {
		return err
	}
	if err := w.s.install(w.tmp, w.digest.String()); err != nil {
		return err
	}
	return w.root.Close()
}

// settle makes one file durable.
func (w *Writer) settle(name string) error {
	if err := w.root.Chtimes(name, unstamped, unstamped); err != nil {
		return err
	}
	f, err := w.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return Sync(f)
}

// install gives a finished directory its name. If the name is taken, by a release that
// turned out to be damaged, the two change places: `current` may name it.
func (s *Store) install(tmp, name string) error {
	d, err := s.rels.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	fd := int(d.Fd())
	err = renameNoReplace(fd, tmp, name)
	if errors.Is(err, fs.ErrExist) {
		err = renameExchange(fd, tmp, name)
	}
	if err != nil {
		return fmt.Errorf("rename %s: %w", name, err)
	}
	if err := Sync(d); err != nil {
		return err
	}
	return s.rels.RemoveAll(tmp)
}

// Abort removes what was written. It does nothing after a Commit.
func (w *Writer) Abort() {
	w.root.Close()
	// What cannot be removed now is swept at the next start.
	_ = w.s.rels.RemoveAll(w.tmp)
}

// isMarker reports whether a path belongs to a data plane and not to the release.
func isMarker(p string) bool { return strings.HasPrefix(path.Base(p), marker) }
