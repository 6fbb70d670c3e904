package pack

import (
	"fmt"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	// ChunkSize is the size in bytes of every chunk of a section but its last.
	ChunkSize = 256 << 10

	// MaxChunks bounds the chunks of a pack, so that its index fits a blob: a pack has
	// at most 3.6 GiB after compression.
	MaxChunks = 15_000

	maxSignatures = 16
)

// Index lists what a pack is made of. Its encoding is a blob; the digest of that blob
// names the pack.
type Index struct {
	Format int         `json:"format"`        // 1
	Digest wire.Digest `json:"digest"`        // the bundle
	Base   wire.Digest `json:"base,omitzero"` // the bundle a delta applies to; zero: a full pack
	// Signatures are those over the manifest's payload; none: the bundle is not signed.
	Signatures []wire.Signature `json:"signatures,omitempty"`
	Manifest   Section          `json:"manifest"` // the manifest's payload
	Content    Section          `json:"content"`  // every content, in the order of [wire.Manifest.Contents]
}

// Section is one zstd stream and the chunks it is cut into.
type Section struct {
	Size   int64         `json:"size"`   // bytes after decompression
	Packed int64         `json:"packed"` // bytes before it
	Chunks []wire.Digest `json:"chunks"` // of ChunkSize bytes each but the last
}

// Encode validates ix and returns its blob.
func (ix *Index) Encode() ([]byte, error) {
	if err := ix.Validate(); err != nil {
		return nil, err
	}
	b, err := wire.EncodeJSON(ix)
	if err != nil {
		return nil, err
	}
	if len(b) > wire.MaxBlob {
		return nil, fmt.Errorf("pack index: %w: %d bytes, at most %d", wire.ErrTooLarge, len(b), wire.MaxBlob)
	}
	return b, nil
}

// DecodeIndex decodes an index strictly.
func DecodeIndex(blob []byte) (*Index, error) {
	ix := new(Index)
	if err := wire.DecodeJSON("pack index", wire.MaxBlob, blob, ix); err != nil {
		return nil, err
	}
	if err := ix.Validate(); err != nil {
		return nil, err
	}
	return ix, nil
}

// Chunks returns the digests of all chunks: the manifest's, then the content's.
func (ix *Index) Chunks() []wire.Digest {
	return append(append(make([]wire.Digest, 0, len(ix.Manifest.Chunks)+len(ix.Content.Chunks)),
		ix.Manifest.Chunks...), ix.Content.Chunks...)
}

// Validate reports the first field that is wrong as a [*wire.FieldError].
func (ix *Index) Validate() error {
	switch {
	case ix.Format != 1:
		return refuse("format", "is %d, want 1", ix.Format)
	case ix.Digest.IsZero():
		return refuse("digest", "is missing")
	case ix.Base == ix.Digest:
		return refuse("base", "is the bundle itself")
	case len(ix.Signatures) > maxSignatures:
		return refuse("signatures", "are %d, at most %d are allowed", len(ix.Signatures), maxSignatures)
	case len(ix.Manifest.Chunks)+len(ix.Content.Chunks) > MaxChunks:
		return refuse("content.chunks", "are more than %d", MaxChunks)
	}
	if err := ix.Manifest.check("manifest", wire.MaxManifest); err != nil {
		return err
	}
	return ix.Content.check("content", wire.MaxBytes)
}

// Match reports why ix cannot be a pack of the manifest m: call it with the verified
// manifest before any chunk of the content is fetched or stored.
func (ix *Index) Match(m *wire.Manifest) error {
	var size int64
	for _, c := range m.Contents() {
		size += c.Size
	}
	if size != ix.Content.Size {
		return refuse("content.size", "is %d, the manifest's files hold %d", ix.Content.Size, size)
	}
	return nil
}

// ChunkLen returns the size of chunk i in bytes.
func (s *Section) ChunkLen(i int) int {
	return int(min(ChunkSize, s.Packed-int64(i)*ChunkSize))
}

func (s *Section) check(field string, most int64) error {
	if s.Size < 0 || s.Size > most {
		return refuse(field+".size", "is %d, at most %d is allowed", s.Size, most)
	}
	// Incompressible data costs zstd 3 bytes in 128 KiB and a header.
	if limit := s.Size + s.Size/1024 + 64; s.Packed < 1 || s.Packed > limit {
		return refuse(field+".packed", "is %d for a size of %d", s.Packed, s.Size)
	}
	if want := (s.Packed + ChunkSize - 1) / ChunkSize; int64(len(s.Chunks)) != want {
		return refuse(field+".chunks", "are %d, want %d", len(s.Chunks), want)
	}
	for i, d := range s.Chunks {
		if d.IsZero() {
			return refuse(fmt.Sprintf("%s.chunks[%d]", field, i), "is missing")
		}
	}
	return nil
}

func refuse(field, format string, args ...any) error {
	return &wire.FieldError{Doc: "pack index", Field: field, Reason: fmt.Sprintf(format, args...)}
}
