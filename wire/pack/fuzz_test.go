package pack

import (
	"crypto/sha256"
	"io"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

func FuzzDecodeIndex(f *testing.F) {
	ix, _, err := Write(f.Context(), small().source(f), make(blobs).put)
	if err != nil {
		f.Fatal(err)
	}
	b, _ := ix.Encode()
	f.Add(b)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ix, err := DecodeIndex(data)
		if err != nil {
			return
		}
		b, err := ix.Encode()
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		again, err := DecodeIndex(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(ix, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzContents gives arbitrary bytes as a section: whatever they are, no more than the
// manifest declares comes out, and only with the right digests.
func FuzzContents(f *testing.F) {
	store := make(blobs)
	ix, _, err := Write(f.Context(), small().source(f), store.put)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(store[ix.Content.Chunks[0]])
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	m := small().manifest()
	f.Fuzz(func(t *testing.T, packed []byte) {
		store := make(blobs)
		spoilt := *ix
		spoilt.Content = chunked(store, packed, ix.Content.Size)
		var total int64
		err := Reader{&spoilt, store.fetch}.Contents(t.Context(), m, func(c wire.Content, r io.Reader) error {
			sum := sha256.New()
			n, err := io.Copy(sum, r)
			if total += n; total > ix.Content.Size {
				t.Fatalf("%d bytes, declared are %d", total, ix.Content.Size)
			}
			if err == nil && wire.Digest(sum.Sum(nil)) != c.SHA256 {
				t.Fatal("accepted a content with another digest")
			}
			return err
		})
		if err == nil && total != ix.Content.Size {
			t.Fatalf("accepted %d bytes of %d", total, ix.Content.Size)
		}
	})
}
