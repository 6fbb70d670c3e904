package bundle

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
	"syscall"

	"github.com/ebbgate/ebbgate/wire"
)

// walker reads a bundle's directory through an [os.Root], so that nothing outside of it
// can be read whatever changes meanwhile.
type walker struct {
	root    *os.Root
	limits  wire.Limits
	files   int
	schemas *schemas
	where   map[wire.Digest]string // content → a file that has it, relative to root
}

// tree returns the files below dir in ascending order of path. A directory that does
// not exist has none.
func (w *walker) tree(dir string) ([]wire.File, error) {
	if _, err := w.root.Lstat(dir); os.IsNotExist(err) {
		return nil, nil
	}
	var files []wire.File
	if err := w.walk(dir, "", &files); err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b wire.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

func (w *walker) walk(dir, below string, files *[]wire.File) error {
	entries, err := w.entries(path.Join(dir, below))
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := path.Join(below, e.Name())
		if err := wire.CheckPath(rel); err != nil {
			return refuse(path.Join(dir, rel), "its name cannot be part of a bundle: %v", err)
		}
		if e.IsDir() {
			if err := w.walk(dir, rel, files); err != nil {
				return err
			}
			continue
		}
		f, err := w.file(dir, rel)
		if err != nil {
			return err
		}
		*files = append(*files, f)
		if w.files++; w.files > wire.MaxFiles {
			return fmt.Errorf("%w: more than %d files", wire.ErrTooLarge, wire.MaxFiles)
		}
	}
	return nil
}

// entries returns what a directory holds, and refuses what is neither a regular file
// nor a directory.
func (w *walker) entries(dir string) ([]fs.DirEntry, error) {
	info, err := w.root.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, refuse(dir, "is %s, want a directory", kind(info.Mode()))
	}
	f, err := w.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if !e.IsDir() && !e.Type().IsRegular() {
			return nil, refuse(path.Join(dir, e.Name()), "is %s, only regular files and directories can be in a bundle", kind(e.Type()))
		}
	}
	return entries, nil
}

// file reads one file: its digest, and whether it may be in a bundle.
func (w *walker) file(dir, rel string) (wire.File, error) {
	name := path.Join(dir, rel)
	f, info, err := openRegular(w.root, name)
	if err != nil {
		return wire.File{}, err
	}
	defer f.Close()
	if most := w.limits.File; most > 0 && info.Size() > most {
		return wire.File{}, refuse(name, "has %d bytes, limits.file allows %d", info.Size(), most)
	}
	if info.Size() > wire.MaxBytes {
		return wire.File{}, refuse(name, "has %d bytes, at most %d are allowed", info.Size(), int64(wire.MaxBytes))
	}
	sum, secret := sha256.New(), new(secretScanner)
	n, err := io.Copy(io.MultiWriter(sum, secret), io.LimitReader(f, info.Size()+1))
	if err != nil {
		return wire.File{}, err
	}
	if secret.Close(); secret.Found != "" {
		return wire.File{}, refuse(name, "holds %s", secret.Found)
	}
	after, err := f.Stat()
	if err != nil {
		return wire.File{}, err
	}
	if n != info.Size() || after.Size() != n || !after.ModTime().Equal(info.ModTime()) {
		return wire.File{}, refuse(name, "changed while it was read")
	}
	if err := w.schemas.check(rel, name, f); err != nil {
		return wire.File{}, err
	}
	d := wire.Digest(sum.Sum(nil))
	if _, seen := w.where[d]; !seen {
		w.where[d] = name
	}
	return wire.File{Path: rel, Mode: mode(info.Mode()), Size: n, SHA256: d}, nil
}

// openRegular opens a file without following a link at its end and without waiting for
// the other end of a pipe.
func openRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	before, err := root.Lstat(name)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = fmt.Errorf("%s: %w", name, pe.Err) // without the name of the system call
	}
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, refuse(name, "is %s, only regular files and directories can be in a bundle", kind(before.Mode()))
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = refuse(name, "was replaced while it was read")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// mode keeps whether the owner may execute the file and nothing else.
func mode(m fs.FileMode) wire.Mode {
	if m&0o100 != 0 {
		return wire.ModeExecutable
	}
	return wire.ModeRegular
}

func kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	default:
		return "a device"
	}
}

// refuse names a file and why it cannot be in a bundle.
func refuse(file, format string, args ...any) error {
	return fmt.Errorf("%w: %q %s", ErrRefused, file, fmt.Sprintf(format, args...))
}
