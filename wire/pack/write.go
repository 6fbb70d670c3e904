package pack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/wire"
)

// level is how hard a pack is compressed: it is written once and read by every node.
const level = zstd.SpeedBestCompression

// Source is a bundle to be packed.
type Source struct {
	Payload    []byte                                   // of the manifest, as it was signed
	Signatures []wire.Signature                         // over Payload
	Open       func(wire.Digest) (io.ReadCloser, error) // content by digest
}

// Write packs a bundle in full: it puts the chunks, in order, and at last the index, so
// that a stored index means a complete pack. It returns the index and the digest that
// names it. Contents are read once, in the order of [wire.Manifest.Contents], and held
// against the manifest. The same source always gives the same pack; memory does not
// depend on its size.
func Write(ctx context.Context, src Source, put Put) (*Index, wire.Digest, error) {
	m, err := wire.DecodeManifest(src.Payload)
	if err != nil {
		return nil, wire.Digest{}, err
	}
	ix := &Index{Format: 1, Digest: wire.DigestOf(src.Payload), Signatures: src.Signatures}
	ix.Manifest, err = compress(ctx, put, func(w io.Writer) (int64, error) {
		n, err := w.Write(src.Payload)
		return int64(n), err
	})
	if err != nil {
		return nil, wire.Digest{}, err
	}
	ix.Content, err = compress(ctx, put, func(w io.Writer) (size int64, err error) {
		for _, c := range m.Contents() {
			if err := copyContent(ctx, w, c, src.Open); err != nil {
				return size, fmt.Errorf("cannot pack content %s: %w", c.SHA256.Short(), err)
			}
			size += c.Size
		}
		return size, nil
	})
	if err != nil {
		return nil, wire.Digest{}, err
	}
	blob, err := ix.Encode()
	if err != nil {
		return nil, wire.Digest{}, err
	}
	d := wire.DigestOf(blob)
	if err := put(ctx, d, blob); err != nil {
		return nil, wire.Digest{}, fmt.Errorf("cannot store pack index %s: %w", d.Short(), err)
	}
	return ix, d, nil
}

// copyContent copies one content and holds it against its size and digest.
func copyContent(ctx context.Context, w io.Writer, c wire.Content, open func(wire.Digest) (io.ReadCloser, error)) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := open(c.SHA256)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.Close(); err == nil {
			err = cerr
		}
	}()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(r, c.Size+1))
	if err != nil {
		return err
	}
	if n != c.Size {
		return fmt.Errorf("%w: does not have the %d bytes of the manifest", wire.ErrInvalid, c.Size)
	}
	if got := wire.Digest(sum.Sum(nil)); got != c.SHA256 {
		return fmt.Errorf("%w: its digest is %s", wire.ErrInvalid, got.Short())
	}
	return nil
}
