package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/ebbgate/ebbgate/wire"
)

// ErrDelta says that a pack is a delta where a full pack is needed.
var ErrDelta = errors.New("is a delta pack")

// Reader reads a pack. Its zero value is of no use; Index must have been decoded by
// [DecodeIndex].
type Reader struct {
	Index *Index
	Fetch Fetch
}

// Manifest returns the manifest's payload, whose digest is that of the index. It says
// nothing about who signed it: give it to [wire.Trust.OpenManifest].
func (r Reader) Manifest(ctx context.Context) ([]byte, error) {
	if err := r.full(); err != nil {
		return nil, err
	}
	s := &r.Index.Manifest
	if s.Size > wire.MaxManifest {
		return nil, fmt.Errorf("manifest: %w: %d bytes, at most %d", wire.ErrTooLarge, s.Size, wire.MaxManifest)
	}
	z, err := decompress(ctx, s, r.Fetch)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	payload, err := io.ReadAll(io.LimitReader(z, s.Size+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifest of bundle %s: %w", r.Index.Digest.Short(), err)
	}
	if int64(len(payload)) != s.Size {
		return nil, fmt.Errorf("manifest of bundle %s: %w: does not have the %d bytes declared", r.Index.Digest.Short(), wire.ErrInvalid, s.Size)
	}
	if got := wire.DigestOf(payload); got != r.Index.Digest {
		return nil, fmt.Errorf("manifest of bundle %s: %w: its digest is %s, the index says %s", r.Index.Digest.Short(), wire.ErrInvalid, got, r.Index.Digest)
	}
	return payload, nil
}

// Contents calls each with every content of m, in the order of [wire.Manifest.Contents].
// m must come from the payload that [Reader.Manifest] returned.
//
// The reader given to each ends with io.EOF only if size and digest of the content are
// right, otherwise with an error; what each leaves unread is read for it. Contents
// returns nil only if the section held exactly what m declares. It stops at the first
// error of each and returns it, wrapped.
func (r Reader) Contents(ctx context.Context, m *wire.Manifest, each func(wire.Content, io.Reader) error) error {
	if err := r.full(); err != nil {
		return err
	}
	if err := r.Index.Match(m); err != nil {
		return err
	}
	z, err := decompress(ctx, &r.Index.Content, r.Fetch)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, c := range m.Contents() {
		cr := &contentReader{r: z, c: c, rest: c.Size, sum: sha256.New()}
		err := each(c, cr)
		if err == nil {
			_, err = io.Copy(io.Discard, cr)
		}
		if err != nil {
			return fmt.Errorf("content %s of bundle %s: %w", c.SHA256.Short(), r.Index.Digest.Short(), err)
		}
	}
	switch n, err := io.CopyN(io.Discard, z, 1); {
	case n > 0:
		return fmt.Errorf("content of bundle %s: %w: more than the %d bytes declared", r.Index.Digest.Short(), wire.ErrInvalid, r.Index.Content.Size)
	case err != io.EOF:
		return fmt.Errorf("content of bundle %s: %w", r.Index.Digest.Short(), err)
	}
	return nil
}

func (r Reader) full() error {
	if !r.Index.Base.IsZero() {
		return fmt.Errorf("pack of bundle %s %w against %s: only full packs can be read", r.Index.Digest.Short(), ErrDelta, r.Index.Base.Short())
	}
	return nil
}

// contentReader reads one content and proves it at its end.
type contentReader struct {
	r    io.Reader
	c    wire.Content
	rest int64
	sum  hash.Hash
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.rest == 0 {
		if got := wire.Digest(r.sum.Sum(nil)); got != r.c.SHA256 {
			return 0, fmt.Errorf("%w: its digest is %s, the manifest says %s", wire.ErrInvalid, got, r.c.SHA256)
		}
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.rest)])
	r.sum.Write(p[:n])
	r.rest -= int64(n)
	if err == io.EOF && r.rest > 0 {
		return n, fmt.Errorf("%w: %d bytes are missing", wire.ErrInvalid, r.rest)
	}
	if err == io.EOF {
		err = nil // the next call proves the digest
	}
	return n, err
}
