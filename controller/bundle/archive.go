package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

const (
	indexName  = "index.json"
	blobPrefix = "blobs/"
)

// WriteFile packs a bundle into a file at path, which appears whole or not at all, and
// returns the pack's index and its digest. The same source gives the same file. A regular
// file at path is replaced; anything else there is [ErrRefused].
func WriteFile(ctx context.Context, path string, src pack.Source) (*pack.Index, wire.Digest, error) {
	var ix *pack.Index
	var d wire.Digest
	err := replace(path, func(w io.Writer) (err error) {
		ix, d, err = write(ctx, w, src)
		return err
	})
	if err != nil {
		return nil, wire.Digest{}, fmt.Errorf("cannot write %s: %w", path, err)
	}
	return ix, d, nil
}

// replace puts a new file at path: written beside it, synced, then renamed.
// What is there and is not a regular file (a device, a pipe, a link) was not made by
// WriteFile, and stays.
func replace(path string, write func(io.Writer) error) (err error) {
	if old, err := os.Lstat(path); err == nil && !old.Mode().IsRegular() {
		return fmt.Errorf("%w: it is %s and not a regular file", ErrRefused, kind(old.Mode()))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// write writes the blobs as pack.Write puts them, the index last, each once.
func write(ctx context.Context, w io.Writer, src pack.Source) (*pack.Index, wire.Digest, error) {
	t := tar.NewWriter(w)
	var last struct {
		digest wire.Digest
		data   []byte
	}
	written := make(map[wire.Digest]bool)
	add := func(name string, data []byte) error {
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = t.Write(data)
		}
		return err
	}
	// One blob is held back: only when nothing follows is it known to be the index.
	flush := func() error {
		if last.data == nil || written[last.digest] {
			return nil
		}
		written[last.digest] = true
		return add(blobPrefix+last.digest.String(), last.data)
	}
	ix, d, err := pack.Write(ctx, src, func(_ context.Context, d wire.Digest, data []byte) error {
		err := flush()
		last.digest, last.data = d, data
		return err
	})
	if err != nil {
		return nil, wire.Digest{}, err
	}
	if err := add(indexName, last.data); err != nil {
		return nil, wire.Digest{}, err
	}
	return ix, d, t.Close()
}

// File is a bundle file that is open for reading. It is safe for concurrent use.
type File struct {
	Index *pack.Index
	Pack  wire.Digest // names the index

	f     *os.File
	name  string
	blobs map[wire.Digest]span
	order []wire.Digest // the chunks as they lie in the file, then the index
}

// span is where a blob lies in the file.
type span struct{ at, size int64 }

// OpenFile opens a bundle file and checks its shape: that it holds an index and the
// chunks it lists, each once, of the right size, and nothing else. It reads no content
// and trusts nobody: see [File.Manifest] and [Verify].
func OpenFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open bundle: %w", err)
	}
	b := &File{f: f, name: path, blobs: make(map[wire.Digest]span)}
	if err := b.scan(); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open bundle %s: %w", path, err)
	}
	return b, nil
}

func (b *File) scan() error {
	t := tar.NewReader(b.f)
	var index []byte
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: not a bundle file: %v", wire.ErrInvalid, err)
		}
		if index != nil {
			return fmt.Errorf("%w: %.80q follows the index", wire.ErrInvalid, h.Name)
		}
		if h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
			return fmt.Errorf("%w: %.80q is not a plain entry", wire.ErrInvalid, h.Name)
		}
		if h.Name == indexName {
			if h.Size > wire.MaxBlob {
				return fmt.Errorf("%s: %w: %d bytes, at most %d", indexName, wire.ErrTooLarge, h.Size, wire.MaxBlob)
			}
			if index, err = io.ReadAll(t); err != nil {
				return err
			}
			continue
		}
		d, err := blobName(h.Name)
		if err != nil {
			return err
		}
		if _, twice := b.blobs[d]; twice {
			return fmt.Errorf("%w: chunk %s is there twice", wire.ErrInvalid, d.Short())
		}
		if len(b.blobs) == pack.MaxChunks {
			return fmt.Errorf("%w: more than %d chunks", wire.ErrTooLarge, pack.MaxChunks)
		}
		// The reader skips content by seeking and reads no further than a header: the
		// file's offset is where the content begins.
		at, err := b.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		b.blobs[d] = span{at, h.Size}
		b.order = append(b.order, d)
	}
	end, err := b.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if info, err := b.f.Stat(); err != nil || info.Size() != end {
		return cmp.Or(err, fmt.Errorf("%w: data after its end", wire.ErrInvalid))
	}
	if index == nil {
		return fmt.Errorf("%w: it holds no %s: it is cut short or no bundle file", wire.ErrInvalid, indexName)
	}
	return b.take(index)
}

// take holds what the file has against its index.
func (b *File) take(index []byte) (err error) {
	if b.Index, err = pack.DecodeIndex(index); err != nil {
		return err
	}
	listed := make(map[wire.Digest]bool)
	for _, s := range []*pack.Section{&b.Index.Manifest, &b.Index.Content} {
		for i, d := range s.Chunks {
			listed[d] = true
			switch blob, found := b.blobs[d]; {
			case !found:
				return fmt.Errorf("%w: chunk %s is missing", wire.ErrInvalid, d.Short())
			case blob.size != int64(s.ChunkLen(i)):
				return fmt.Errorf("%w: chunk %s has %d bytes, want %d", wire.ErrInvalid, d.Short(), blob.size, s.ChunkLen(i))
			}
		}
	}
	for _, d := range b.order {
		if !listed[d] {
			return fmt.Errorf("%w: chunk %s is not in its index", wire.ErrInvalid, d.Short())
		}
	}
	// The index read back is the index as written, or its digest would be another.
	again, err := b.Index.Encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(again, index) {
		return fmt.Errorf("%w: %s is not in the one encoding", wire.ErrInvalid, indexName)
	}
	b.Pack = wire.DigestOf(index)
	b.order = append(b.order, b.Pack)
	return nil
}

func blobName(name string) (wire.Digest, error) {
	hex, ok := strings.CutPrefix(name, blobPrefix)
	d, err := wire.ParseDigest(hex)
	if !ok || err != nil || d.IsZero() {
		return wire.Digest{}, fmt.Errorf("%w: %.80q has no place in a bundle file", wire.ErrInvalid, name)
	}
	return d, nil
}

// Blobs returns the digests of everything to be uploaded, the pack's index last.
func (b *File) Blobs() []wire.Digest { return slices.Clone(b.order) }

// Blob returns a blob, whose digest it has verified, or [wire.ErrNotFound].
func (b *File) Blob(d wire.Digest) ([]byte, error) {
	if d == b.Pack {
		return b.Index.Encode()
	}
	s, ok := b.blobs[d]
	if !ok {
		return nil, fmt.Errorf("chunk %s of %s: %w", d.Short(), b.name, wire.ErrNotFound)
	}
	data := make([]byte, s.size)
	if _, err := b.f.ReadAt(data, s.at); err != nil {
		return nil, fmt.Errorf("cannot read chunk %s of %s: %w", d.Short(), b.name, err)
	}
	if err := pack.VerifyChunk(d, data); err != nil {
		return nil, fmt.Errorf("%s: %w", b.name, err)
	}
	return data, nil
}

// Manifest returns the manifest: verified against trust or, if that is nil, whoever
// signed it, which is enough to look at it.
func (b *File) Manifest(ctx context.Context, trust *wire.Trust) (*wire.Manifest, error) {
	m, err := b.manifest(ctx, trust)
	if err != nil {
		return nil, fmt.Errorf("cannot accept bundle %s: %w", b.name, err)
	}
	return m, nil
}

func (b *File) manifest(ctx context.Context, trust *wire.Trust) (*wire.Manifest, error) {
	payload, err := b.reader().Manifest(ctx)
	if err != nil {
		return nil, err
	}
	if trust == nil {
		return wire.DecodeManifest(payload)
	}
	m, _, err := trust.OpenManifest(payload, b.Index.Signatures)
	return m, err
}

func (b *File) reader() pack.Reader {
	return pack.Reader{Index: b.Index, Fetch: func(_ context.Context, _ int, d wire.Digest) ([]byte, error) { return b.Blob(d) }}
}

// Close closes the file.
func (b *File) Close() error { return b.f.Close() }
