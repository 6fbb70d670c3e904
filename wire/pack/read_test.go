package pack

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/wire"
)

// section compresses raw without regard to any rule, and names its chunks truthfully.
func section(t testing.TB, store blobs, raw []byte, opts ...zstd.EOption) Section {
	t.Helper()
	z, err := zstd.NewWriter(nil, append(opts, zstd.WithZeroFrames(true))...)
	if err != nil {
		t.Fatal(err)
	}
	return chunked(store, z.EncodeAll(raw, nil), int64(len(raw)))
}

func chunked(store blobs, packed []byte, size int64) Section {
	s := Section{Size: size, Packed: int64(len(packed))}
	for c := range slices.Chunk(packed, ChunkSize) {
		d := wire.DigestOf(c)
		store[d], s.Chunks = c, append(s.Chunks, d)
	}
	return s
}

func TestReadRefuses(t *testing.T) {
	content := noise(ChunkSize, 3) + noise(ChunkSize, 4)
	bundle := tree{common: map[string]string{"a": content[:ChunkSize], "b": content[ChunkSize:]}}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, ix *Index, store blobs)
		want  string
	}{
		{"flipped bit", func(_ *testing.T, ix *Index, store blobs) {
			d := ix.Content.Chunks[1]
			store[d] = slices.Clone(store[d])
			store[d][9] ^= 1
		}, "its content is"},
		{"short chunk", func(_ *testing.T, ix *Index, store blobs) {
			d := ix.Content.Chunks[0]
			store[d] = store[d][:9]
		}, "9 bytes, want 262144"},
		{"missing chunk", func(_ *testing.T, ix *Index, store blobs) {
			delete(store, ix.Content.Chunks[1])
		}, "not found"},
		{"contents in another order", func(t *testing.T, ix *Index, store blobs) {
			ix.Content = section(t, store, []byte(content[ChunkSize:]+content[:ChunkSize]))
		}, "its digest is"},
		{"less than declared", func(t *testing.T, ix *Index, store blobs) {
			ix.Content = section(t, store, []byte(content[:2*ChunkSize-5]))
			ix.Content.Size = 2 * ChunkSize
		}, "5 bytes are missing"},
		{"more than declared", func(t *testing.T, ix *Index, store blobs) {
			ix.Content = section(t, store, []byte(content+"x"))
			ix.Content.Size = 2 * ChunkSize
		}, "more than the 524288 bytes"},
		{"a second stream behind", func(t *testing.T, ix *Index, store blobs) {
			z, _ := zstd.NewWriter(nil)
			ix.Content = chunked(store, z.EncodeAll([]byte("tail"), z.EncodeAll([]byte(content), nil)), 2*ChunkSize)
		}, "more than the 524288 bytes"},
		{"garbage behind", func(t *testing.T, ix *Index, store blobs) {
			z, _ := zstd.NewWriter(nil)
			ix.Content = chunked(store, append(z.EncodeAll([]byte(content), nil), "garbage"...), 2*ChunkSize)
		}, "magic number mismatch"},
		{"not zstd", func(_ *testing.T, ix *Index, store blobs) {
			ix.Content = chunked(store, []byte(strings.Repeat("y", 1000)), 2*ChunkSize)
		}, "magic number mismatch"},
		{"window beyond the bound", func(t *testing.T, ix *Index, store blobs) {
			var b bytes.Buffer
			z, _ := zstd.NewWriter(&b, zstd.WithWindowSize(2*window), zstd.WithSingleSegment(false))
			io.Copy(z, strings.NewReader(content))
			z.Flush()
			z.Close()
			ix.Content = chunked(store, b.Bytes(), 2*ChunkSize)
		}, "window size exceeded"},
		{"another size than the manifest", func(_ *testing.T, ix *Index, _ blobs) {
			ix.Content.Size++
		}, "content.size: is 524289"},
		{"delta", func(_ *testing.T, ix *Index, _ blobs) {
			ix.Base = wire.Digest{1}
		}, "is a delta pack against"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := make(blobs)
			ix, _, err := Write(t.Context(), bundle.source(t), store.put)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, ix, store)
			err = Reader{ix, store.fetch}.Contents(t.Context(), bundle.manifest(), func(_ wire.Content, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestManifestRefuses(t *testing.T) {
	src := small().source(t)
	other := wire.DigestOf(src.Payload) // another in the digits that a short one leaves out
	other[31] ^= 1
	for _, tt := range []struct {
		name  string
		spoil func(ix *Index, store blobs)
		want  string
	}{
		{"of another bundle", func(ix *Index, _ blobs) { ix.Digest = other }, ", the index says " + other.String()},
		{"longer than declared", func(ix *Index, _ blobs) { ix.Manifest.Size-- }, "bytes declared"},
		{"shorter than declared", func(ix *Index, _ blobs) { ix.Manifest.Size++ }, "bytes declared"},
		{"too large", func(ix *Index, _ blobs) { ix.Manifest.Size = wire.MaxManifest + 1 }, "document too large"},
		{"delta", func(ix *Index, _ blobs) { ix.Base = wire.Digest{1} }, "is a delta pack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := make(blobs)
			ix, _, err := Write(t.Context(), src, store.put)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(ix, store)
			_, err = Reader{ix, store.fetch}.Manifest(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestManifestBombCostsLittle: what a section hides behind its declared size is not read.
func TestManifestBombCostsLittle(t *testing.T) {
	store := make(blobs)
	ix, _, err := Write(t.Context(), small().source(t), store.put)
	if err != nil {
		t.Fatal(err)
	}
	size := ix.Manifest.Size
	ix.Manifest = section(t, store, make([]byte, 128<<20))
	ix.Manifest.Size = size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := (Reader{ix, store.fetch}).Manifest(t.Context()); !errors.Is(err, wire.ErrInvalid) {
		t.Fatalf("error %v, want %v", err, wire.ErrInvalid)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 48<<20 {
		t.Errorf("reading allocated %d MiB, at most 48", n>>20)
	}
}

func TestEachStopsTheReading(t *testing.T) {
	store := make(blobs)
	ix, _, err := Write(t.Context(), small().source(t), store.put)
	if err != nil {
		t.Fatal(err)
	}
	full, calls := errors.New("disk full"), 0
	err = Reader{ix, store.fetch}.Contents(t.Context(), small().manifest(), func(wire.Content, io.Reader) error {
		calls++
		return full
	})
	if !errors.Is(err, full) || calls != 1 {
		t.Fatalf("error %v after %d calls, want %v after 1", err, calls, full)
	}
}
