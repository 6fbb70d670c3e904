package pack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

// tree is a bundle in memory.
type tree struct {
	common   map[string]string
	overlays map[wire.Region]map[string]string
}

func (b tree) manifest() *wire.Manifest {
	files := func(m map[string]string) (files []wire.File) {
		for _, p := range wire.Keys(m) {
			files = append(files, wire.File{Path: p, Mode: wire.ModeRegular, Size: int64(len(m[p])), SHA256: wire.DigestOf([]byte(m[p]))})
		}
		return files
	}
	m := &wire.Manifest{Format: 1, App: "waf", Version: "1.2.0", Files: files(b.common)}
	for r, o := range b.overlays {
		if m.Overlays == nil {
			m.Overlays = make(map[wire.Region][]wire.File)
		}
		m.Overlays[r] = files(o)
	}
	return m
}

func (b tree) source(t testing.TB) Source {
	t.Helper()
	payload, err := b.manifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	contents := make(map[wire.Digest]string)
	add := func(m map[string]string) {
		for _, s := range m {
			contents[wire.DigestOf([]byte(s))] = s
		}
	}
	add(b.common)
	for _, o := range b.overlays {
		add(o)
	}
	return Source{Payload: payload, Open: func(d wire.Digest) (io.ReadCloser, error) {
		s, ok := contents[d]
		if !ok {
			return nil, wire.ErrNotFound
		}
		return io.NopCloser(strings.NewReader(s)), nil
	}}
}

// blobs is a store in memory.
type blobs map[wire.Digest][]byte

func (b blobs) put(_ context.Context, d wire.Digest, data []byte) error {
	if wire.DigestOf(data) != d {
		return errors.New("put under a wrong digest")
	}
	b[d] = data
	return nil
}

func (b blobs) fetch(_ context.Context, _ int, d wire.Digest) ([]byte, error) {
	data, ok := b[d]
	if !ok {
		return nil, wire.ErrNotFound
	}
	return data, nil
}

func noise(n int, seed uint64) string {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return string(b)
}

func small() tree {
	return tree{common: map[string]string{"conf/a": "alpha\n", "conf/b": "beta\n", "conf/empty": "", "z": "alpha\n"},
		overlays: map[wire.Region]map[string]string{"eu-west": {"conf/a": "alpha west\n"}, "ap-south": {"conf/c": "gamma\n"}}}
}

func TestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tree   tree
		chunks int // of the content
	}{
		{"small with overlays", small(), 1},
		{"only empty files", tree{common: map[string]string{"a": "", "b": ""}}, 1},
		{"many chunks", tree{common: map[string]string{"a": noise(3*ChunkSize, 1), "b": noise(ChunkSize+1, 2), "c": "x"}}, 5},
		{"compresses well", tree{common: map[string]string{"a": strings.Repeat("listen 8080;\n", 1<<16)}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, src := make(blobs), tt.tree.source(t)
			ix, d, err := Write(t.Context(), src, store.put)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeIndex(store[d])
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(ix, got); diff != "" {
				t.Errorf("index (-written +read):\n%s", diff)
			}
			if len(ix.Content.Chunks) != tt.chunks {
				t.Errorf("content has %d chunks, want %d", len(ix.Content.Chunks), tt.chunks)
			}
			if want := len(store) - 1; len(slices.Compact(slices.SortedFunc(slices.Values(ix.Chunks()), byDigest))) != want {
				t.Errorf("index lists %d chunks, %d are stored", len(ix.Chunks()), want)
			}
			r := Reader{got, store.fetch}
			payload, err := r.Manifest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(payload, src.Payload) {
				t.Error("manifest differs")
			}
			m, err := wire.DecodeManifest(payload)
			if err != nil {
				t.Fatal(err)
			}
			var seen []wire.Content
			err = r.Contents(t.Context(), m, func(c wire.Content, rd io.Reader) error {
				seen = append(seen, c)
				if len(seen)%2 == 0 {
					return nil // what each leaves is read for it
				}
				b, err := io.ReadAll(rd)
				if err == nil && wire.DigestOf(b) != c.SHA256 {
					err = errors.New("content differs")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(m.Contents(), seen); diff != "" {
				t.Errorf("contents (-want +got):\n%s", diff)
			}
		})
	}
}

func byDigest(a, b wire.Digest) int { return slices.Compare(a[:], b[:]) }

func TestWriteIsDeterministic(t *testing.T) {
	b := tree{common: map[string]string{"a": noise(2*ChunkSize, 7), "b": strings.Repeat("rule\n", 99_999)}}
	var first wire.Digest
	for i := range 3 {
		_, d, err := Write(t.Context(), b.source(t), make(blobs).put)
		if err != nil {
			t.Fatal(err)
		}
		if first = cmp.Or(first, d); d != first {
			t.Fatalf("run %d: pack %s, before %s", i, d, first)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	swap := func(content string) func(wire.Digest) (io.ReadCloser, error) {
		return func(wire.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
	}
	one := tree{common: map[string]string{"a": "alpha\n"}}
	for _, tt := range []struct {
		name string
		open func(wire.Digest) (io.ReadCloser, error)
		want string
	}{
		{"other bytes", swap("omega\n"), "its digest is"},
		{"shorter", swap("alp"), "does not have the 6 bytes"},
		{"longer", swap("alpha\nand more"), "does not have the 6 bytes"},
		{"missing", blobOpen(nil), "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := one.source(t)
			src.Open = tt.open
			_, _, err := Write(t.Context(), src, make(blobs).put)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("a store that fails", func(t *testing.T) {
		full := errors.New("disk full")
		_, _, err := Write(t.Context(), one.source(t), func(context.Context, wire.Digest, []byte) error { return full })
		if !errors.Is(err, full) {
			t.Fatalf("error %v, want %v", err, full)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := Write(ctx, one.source(t), make(blobs).put); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want %v", err, context.Canceled)
		}
	})
}

func blobOpen(b blobs) func(wire.Digest) (io.ReadCloser, error) {
	return func(d wire.Digest) (io.ReadCloser, error) {
		data, err := b.fetch(context.Background(), 0, d)
		return io.NopCloser(bytes.NewReader(data)), err
	}
}

// TestMemoryIsBounded packs and reads a content 16 times the size of the
// window, and holds everything allocated on the way against a bound.
func TestMemoryIsBounded(t *testing.T) {
	const size, bound = 128 << 20, 96 << 20
	zeros := func() io.ReadCloser { return io.NopCloser(io.LimitReader(zeroReader{}, size)) }
	sum := sha256.New()
	io.Copy(sum, zeros())
	m := &wire.Manifest{Format: 1, App: "model", Version: "1",
		Files: []wire.File{{Path: "m", Mode: wire.ModeRegular, Size: size, SHA256: wire.Digest(sum.Sum(nil))}}}
	payload, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	store := make(blobs)
	var before, written, read runtime.MemStats
	runtime.ReadMemStats(&before)
	ix, _, err := Write(t.Context(), Source{Payload: payload, Open: func(wire.Digest) (io.ReadCloser, error) { return zeros(), nil }}, store.put)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&written)
	if err := (Reader{ix, store.fetch}).Contents(t.Context(), m, func(wire.Content, io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&read)
	if n := written.TotalAlloc - before.TotalAlloc; n > 2*bound {
		t.Errorf("writing allocated %d MiB, at most %d", n>>20, 2*bound>>20)
	}
	if n := read.TotalAlloc - written.TotalAlloc; n > bound/2 {
		t.Errorf("reading allocated %d MiB, at most %d", n>>20, bound/2>>20)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
