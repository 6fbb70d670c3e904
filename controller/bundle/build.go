package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// ErrRefused says that something in a directory cannot be part of a bundle.
var ErrRefused = errors.New("refused")

// Options of [Build].
type Options struct {
	// Previous is the bundle this one follows: its version must be lower, and its limits
	// and the growth since bind this one, see [wire.Manifest.Follows]. Nil: there is none.
	Previous *wire.Manifest
}

// Source is a bundle in its directory. It is safe for concurrent use.
type Source struct {
	Manifest *wire.Manifest
	Payload  []byte      // the manifest's, to be signed
	Digest   wire.Digest // of Payload

	root  *os.Root
	where map[wire.Digest]string
}

// Build reads the directory of a bundle. The same files always give the same digest.
// Close the source when it is packed.
func Build(dir string, opt Options) (*Source, error) {
	s, err := build(dir, opt)
	if err != nil {
		return nil, fmt.Errorf("cannot build a bundle from %s: %w", dir, err)
	}
	return s, nil
}

func build(dir string, opt Options) (_ *Source, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			root.Close()
		}
	}()
	spec, err := readSpec(root)
	if err != nil {
		return nil, err
	}
	m := spec.manifest()
	w := &walker{root: root, limits: m.Limits, where: make(map[wire.Digest]string)}
	if w.schemas, err = loadSchemas(root, spec.Schemas); err != nil {
		return nil, err
	}
	if err := w.top(); err != nil {
		return nil, err
	}
	if m.Files, err = w.tree("files"); err != nil {
		return nil, err
	}
	if m.Overlays, err = w.overlays(); err != nil {
		return nil, err
	}
	if err := w.schemas.unmatched(); err != nil {
		return nil, err
	}
	payload, err := m.Encode()
	if err != nil {
		return nil, spec.at(err)
	}
	if len(payload) > wire.MaxManifest {
		return nil, fmt.Errorf("manifest: %w: %d bytes, at most %d", wire.ErrTooLarge, len(payload), wire.MaxManifest)
	}
	s := &Source{Manifest: m, Payload: payload, Digest: wire.DigestOf(payload), root: root, where: w.where}
	if opt.Previous != nil {
		if err := follows(m, opt.Previous, s.Digest); err != nil {
			return nil, spec.at(err)
		}
	}
	return s, nil
}

// Open returns a content of the bundle. Its reader fails at the end, naming the file,
// if the file is no longer what it was when the bundle was built.
func (s *Source) Open(d wire.Digest) (io.ReadCloser, error) {
	name, ok := s.where[d]
	if !ok {
		return nil, fmt.Errorf("content %s: %w", d.Short(), wire.ErrNotFound)
	}
	f, _, err := openRegular(s.root, name)
	if err != nil {
		return nil, err
	}
	return &unchanged{f: f, sum: sha256.New(), want: d, name: name}, nil
}

// Pack returns the bundle as [pack.Write] takes it, signed with the keys.
func (s *Source) Pack(keys ...wire.PrivateKey) (pack.Source, error) {
	src := pack.Source{Payload: s.Payload, Open: s.Open}
	if len(keys) > 0 {
		var err error
		if src.Signatures, err = wire.Sign(wire.TypeManifest, s.Payload, keys...); err != nil {
			return pack.Source{}, err
		}
	}
	return src, nil
}

// Close lets go of the directory. It is idempotent.
func (s *Source) Close() error { return s.root.Close() }

// unchanged reads a file that must still have the digest it was built with.
type unchanged struct {
	f    *os.File
	sum  hash.Hash
	want wire.Digest
	name string
}

func (u *unchanged) Read(p []byte) (int, error) {
	n, err := u.f.Read(p)
	u.sum.Write(p[:n])
	if err == io.EOF && wire.Digest(u.sum.Sum(nil)) != u.want {
		err = refuse(u.name, "changed after it was read")
	}
	return n, err
}

func (u *unchanged) Close() error { return u.f.Close() }

func readSpec(root *os.Root) (*Spec, error) {
	f, _, err := openRegular(root, specFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return nil, err
	}
	return ParseSpec(data)
}

// top refuses what has no place beside bundle.yaml.
func (w *walker) top() error {
	entries, err := w.entries(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == specFile, name == "files", name == "overlays", name == schemaDir:
		case strings.HasPrefix(name, "."), strings.HasSuffix(name, ".md"):
		default:
			return refuse(name, "has no place beside %s: want files/, overlays/<region>/ or schemas/", specFile)
		}
	}
	return nil
}

// overlays returns the files of every region that has its own.
func (w *walker) overlays() (map[wire.Region][]wire.File, error) {
	if _, err := w.root.Lstat("overlays"); os.IsNotExist(err) {
		return nil, nil
	}
	entries, err := w.entries("overlays")
	if err != nil {
		return nil, err
	}
	over := make(map[wire.Region][]wire.File)
	for _, e := range entries {
		dir := path.Join("overlays", e.Name())
		if !e.IsDir() {
			return nil, refuse(dir, "is a file, want overlays/<region>/…")
		}
		if err := wire.CheckToken(e.Name()); err != nil {
			return nil, refuse(dir, "is not named like a region: %v", err)
		}
		files, err := w.tree(dir)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			over[wire.Region(e.Name())] = files
		}
	}
	return over, nil
}

// follows reports why m cannot be published after old.
func follows(m, old *wire.Manifest, digest wire.Digest) error {
	if m.App != old.App {
		return fmt.Errorf("app %s does not follow app %s", m.App, old.App)
	}
	payload, err := old.Encode()
	if err != nil {
		return fmt.Errorf("the previous bundle: %w", err)
	}
	if m.Version.Compare(old.Version) <= 0 && wire.DigestOf(payload) != digest {
		return fmt.Errorf("version %s is not above %s, which is published with other content", m.Version, old.Version)
	}
	return m.Follows(old)
}
