package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/pack"
)

// archive builds a bundle with more than one chunk and writes it, signed with the keys.
func archive(t testing.TB, keys ...wire.PrivateKey) string {
	t.Helper()
	var big bytes.Buffer
	for i := range 60_000 {
		d := wire.DigestOf([]byte{byte(i), byte(i >> 8)})
		big.Write(d[:6])
	}
	s := build1(t, dir(t, waf(map[string]string{"files/big": big.String()})), Options{})
	src, err := s.Pack(keys...)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "waf-1.2.0.ebb")
	if _, _, err := WriteFile(t.Context(), path, src); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *File {
	t.Helper()
	b, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestFileRoundTrip(t *testing.T) {
	path := archive(t, key(t, 1), key(t, 2))
	b := open(t, path)
	m, err := Verify(t.Context(), b, trust(t))
	if err != nil {
		t.Fatal(err)
	}
	if m.App != "waf" || m.Version != "1.2.0" {
		t.Errorf("bundle %s %s", m.App, m.Version)
	}
	// What a publisher uploads is all that a reader of the bus needs.
	bus := make(map[wire.Digest][]byte)
	for _, d := range b.Blobs() {
		if bus[d], err = b.Blob(d); err != nil || wire.DigestOf(bus[d]) != d {
			t.Fatalf("blob %s: %v", d, err)
		}
	}
	ix, err := pack.DecodeIndex(bus[b.Pack])
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ix.Chunks() {
		if bus[d] == nil {
			t.Errorf("chunk %s is not uploaded", d)
		}
	}
	if last := b.Blobs()[len(bus)-1]; last != b.Pack {
		t.Errorf("the last blob is %s, want the index", last)
	}
	if _, err := b.Blob(wire.Digest{1}); !errors.Is(err, wire.ErrNotFound) {
		t.Errorf("unknown blob: %v, want %v", err, wire.ErrNotFound)
	}
	again, err := os.ReadFile(archive(t, key(t, 1), key(t, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := os.ReadFile(path); !bytes.Equal(first, again) {
		t.Error("the same bundle gave another file")
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	root := dir(t, waf(nil))
	s := build1(t, root, Options{})
	src, err := s.Pack()
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(root, "files/rules/xss.conf"))
	out := t.TempDir()
	if _, _, err := WriteFile(t.Context(), filepath.Join(out, "x.ebb"), src); err == nil {
		t.Fatal("packed a file that is gone")
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("left %s behind", left[0].Name())
	}
}

func TestVerifyRefuses(t *testing.T) {
	two := []wire.PrivateKey{key(t, 1), key(t, 2)}
	for _, tt := range []struct {
		name  string
		keys  []wire.PrivateKey
		spoil func(file []byte) []byte
		want  string
	}{
		{"unsigned", nil, nil, "manifest: signature not accepted: it is not signed"},
		{"one author of two", two[:1], nil, "signature not accepted: 1 good signatures of 3 trusted keys, want 2"},
		{"one author twice", []wire.PrivateKey{two[0], two[0]}, nil, "signature not accepted"},
		{"a stranger", []wire.PrivateKey{two[0], key(t, 7)}, nil, "signature not accepted"},
		{"the controller", []wire.PrivateKey{two[0], key(t, 8)}, nil, "signature not accepted"},
		{"a flipped bit in the manifest", two, func(f []byte) []byte { f[600] ^= 1; return f }, "its content is"},
		{"a flipped bit in the content", two, func(f []byte) []byte { f[300_000] ^= 1; return f }, "its content is"},
		{"a forged signature", two, func(f []byte) []byte {
			i := bytes.Index(f, []byte(`"sig":"`)) + 8
			f[i] = 'A' + (f[i]-'A'+1)%26
			return f
		}, "signature not accepted"},
		{"another digest in the index", two, func(f []byte) []byte {
			i := bytes.LastIndex(f, []byte(`"digest":"`)) + 10
			f[i] = '0' + (f[i]-'0'+1)%8
			return f
		}, "its digest is"},
		{"cut in a chunk", two, func(f []byte) []byte { return f[:300_000] }, "not a bundle file: unexpected EOF"},
		{"cut before the index", two, func(f []byte) []byte {
			return f[:bytes.LastIndex(f, []byte(indexName))]
		}, "cut short"},
		{"data behind", two, func(f []byte) []byte { return append(f, "more"...) }, "data after its end"},
		{"not a bundle file", two, func([]byte) []byte { return []byte("app: waf\n") }, "not a bundle file"},
		{"empty", two, func([]byte) []byte { return nil }, "cut short or no bundle file"},
		{"another encoding of the index", two, retar(func(h *tar.Header, data []byte) []byte {
			if h.Name == indexName {
				return append(data, '\n')
			}
			return data
		}), "not in the one encoding"},
		{"a strange name", two, retar(func(h *tar.Header, data []byte) []byte {
			if h.Name == indexName {
				h.Name = "../index.json"
			}
			return data
		}), `"../index.json" has no place`},
		{"a link", two, retar(func(h *tar.Header, data []byte) []byte {
			if h.Name != indexName {
				h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0
				return nil
			}
			return data
		}), "is not a plain entry"},
		{"a chunk in place of the index", two, retar(func(h *tar.Header, data []byte) []byte {
			if h.Name == indexName {
				h.Name = blobPrefix + strings.Repeat("ab", 32)
			}
			return data
		}), "holds no index.json"},
		{"a chunk too many", two, func(f []byte) []byte {
			var extra bytes.Buffer
			w := tar.NewWriter(&extra)
			w.WriteHeader(&tar.Header{Name: blobPrefix + wire.DigestOf([]byte("x")).String(), Size: 1, Mode: 0o644, Format: tar.FormatUSTAR})
			w.Write([]byte("x"))
			w.Flush()
			return append(extra.Bytes(), f...)
		}, "is not in its index"},
		{"a missing chunk", two, retar(func(h *tar.Header, data []byte) []byte {
			if h.Name != indexName {
				return skip
			}
			return data
		}), "is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := archive(t, tt.keys...)
			if tt.spoil != nil {
				f, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, tt.spoil(f), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := OpenFile(path)
			if err == nil {
				defer b.Close()
				_, err = Verify(t.Context(), b, trust(t))
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want one line with the file and %q", err, tt.want)
			}
		})
	}
}

var skip = []byte("skip this entry")

// retar rewrites a bundle file entry by entry.
func retar(edit func(*tar.Header, []byte) []byte) func([]byte) []byte {
	return func(file []byte) []byte {
		var out bytes.Buffer
		r, w := tar.NewReader(bytes.NewReader(file)), tar.NewWriter(&out)
		for {
			h, err := r.Next()
			if err != nil {
				break
			}
			data, _ := io.ReadAll(r)
			if data = edit(h, data); slices.Equal(data, skip) {
				continue
			}
			h.Size = int64(len(data))
			w.WriteHeader(h)
			w.Write(data)
		}
		w.Close()
		return out.Bytes()
	}
}

func TestUnverifiedManifest(t *testing.T) {
	b := open(t, archive(t))
	m, err := b.Manifest(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := Describe(b, m)
	if !slices.Contains(got, "bundle   waf 1.2.0") || !slices.Contains(got, "signed   by nobody") {
		t.Errorf("description:\n%s", strings.Join(got, "\n"))
	}
	if _, err := b.Manifest(t.Context(), trust(t)); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("unsigned: %v, want %v", err, wire.ErrSignature)
	}
}

func TestDiff(t *testing.T) {
	old := build1(t, dir(t, waf(nil)), Options{})
	root := dir(t, waf(map[string]string{"files/rules/sqli.conf": "", "files/new": "new", "overlays/eu-west/limits.json": `{"rps": 5}`}))
	if err := os.Chmod(filepath.Join(root, "files/rules/xss.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	now := build1(t, root, Options{})
	for r, want := range map[wire.Region][]string{
		"":         {"+ new (3 bytes)", "- rules/sqli.conf (39 bytes)", "~ rules/xss.conf (mode 0644 to 0755)"},
		"eu-west":  {"~ limits.json (11 to 10 bytes)", "+ new (3 bytes)", "- rules/sqli.conf (39 bytes)", "~ rules/xss.conf (mode 0644 to 0755)"},
		"ap-south": {"+ new (3 bytes)", "- rules/sqli.conf (39 bytes)", "~ rules/xss.conf (mode 0644 to 0755)"},
	} {
		if diff := cmp.Diff(want, Diff(old.Manifest, now.Manifest, r)); diff != "" {
			t.Errorf("region %q (-want +got):\n%s", r, diff)
		}
	}
	if got := Diff(nil, now.Manifest, ""); len(got) != 3 {
		t.Errorf("against nothing: %v", got)
	}
}

func FuzzOpenFile(f *testing.F) {
	good, err := os.ReadFile(archive(f, key(f, 1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:2048])
	f.Add(retar(func(h *tar.Header, data []byte) []byte { h.Typeflag = tar.TypeLink; return data })(good))
	path := filepath.Join(f.TempDir(), "x.ebb")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := OpenFile(path)
		if err != nil {
			return
		}
		defer b.Close()
		if m, err := Verify(t.Context(), b, nil); err == nil && m.Validate() != nil {
			t.Fatal("accepted an invalid manifest")
		}
	})
}
