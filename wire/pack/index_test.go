package pack

import (
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenIndex notices when a new version of the compressor gives other bytes: that
// changes the digest of every pack, though of no bundle.
func TestGoldenIndex(t *testing.T) {
	ix, _, err := Write(t.Context(), small().source(t), make(blobs).put)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ix.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/index.json"
	if *update {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(b)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", file, diff)
	}
}

func TestIndexRefuses(t *testing.T) {
	d := wire.DigestOf([]byte("x"))
	good := func() *Index {
		s := Section{Size: 10, Packed: 12, Chunks: []wire.Digest{d}}
		return &Index{Format: 1, Digest: d, Manifest: s, Content: s}
	}
	if _, err := good().Encode(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		field string
		spoil func(*Index)
	}{
		{"format", func(ix *Index) { ix.Format = 2 }},
		{"digest", func(ix *Index) { ix.Digest = wire.Digest{} }},
		{"base", func(ix *Index) { ix.Base = d }},
		{"signatures", func(ix *Index) { ix.Signatures = make([]wire.Signature, 17) }},
		{"manifest.size", func(ix *Index) { ix.Manifest.Size = -1 }},
		{"manifest.size", func(ix *Index) { ix.Manifest.Size = wire.MaxManifest + 1 }},
		{"content.size", func(ix *Index) { ix.Content.Size = wire.MaxBytes + 1 }},
		{"content.packed", func(ix *Index) { ix.Content.Packed = 0 }},
		{"content.packed", func(ix *Index) { ix.Content.Packed = 1000 }},
		{"content.packed", func(ix *Index) { ix.Content.Packed = -1 << 62 }},
		{"content.chunks", func(ix *Index) { ix.Content.Chunks = nil }},
		{"content.chunks", func(ix *Index) { ix.Content.Chunks = []wire.Digest{d, d} }},
		{"content.chunks", func(ix *Index) { ix.Content.Chunks = make([]wire.Digest, MaxChunks) }},
		{"content.chunks[0]", func(ix *Index) { ix.Content.Chunks = make([]wire.Digest, 1) }},
	} {
		ix := good()
		tt.spoil(ix)
		_, err := ix.Encode()
		var fe *wire.FieldError
		if !errors.As(err, &fe) || fe.Field != tt.field {
			t.Errorf("error %v, want field %s", err, tt.field)
		}
	}
}

// TestLargestIndexFitsABlob proves the arithmetic behind MaxChunks.
func TestLargestIndexFitsABlob(t *testing.T) {
	d := wire.DigestOf([]byte("x"))
	ix := &Index{Format: 1, Digest: d, Base: wire.Digest{1}, Manifest: Section{Size: 1, Packed: 1, Chunks: []wire.Digest{d}},
		Content:    Section{Size: wire.MaxBytes, Packed: (MaxChunks - 1) * ChunkSize, Chunks: slices.Repeat([]wire.Digest{d}, MaxChunks-1)},
		Signatures: slices.Repeat([]wire.Signature{{KeyID: strings.Repeat("f", 32), Sig: strings.Repeat("A", 88)}}, maxSignatures)}
	if _, err := ix.Encode(); err != nil {
		t.Fatal(err)
	}
}
