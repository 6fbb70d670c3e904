package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/agent/release"
	"github.com/ebbgate/ebbgate/wire"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func digest(s string) wire.Digest { return wire.DigestOf([]byte(s)) }

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "state.db")
	openAt(t, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second open: %v", err)
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Fatalf("left behind: %v", names)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", fi.Mode(), err)
	}
}

func TestOpenAfterACreationCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	check(t, os.WriteFile(path+".new-1", []byte("half"), 0o600))
	openAt(t, path)
	if _, err := os.Stat(path + ".new-1"); !os.IsNotExist(err) {
		t.Fatal("the half database is still there")
	}
	other := filepath.Join(t.TempDir(), "state.db")
	check(t, os.WriteFile(other, bytes.Repeat([]byte("garbage"), 4096), 0o600))
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), other) {
		t.Fatalf("a damaged database: %v", err)
	}
}

func TestBeginEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	var before uint64
	for i, want := range []struct{ clean, end bool }{{true, true}, {true, false}, {false, false}, {false, true}, {true, true}} {
		s, err := Open(path)
		check(t, err)
		n, clean, err := s.Begin()
		check(t, err)
		if n <= before || clean != want.clean {
			t.Fatalf("start %d: incarnation %d after %d, clean %v", i, n, before, clean)
		}
		before = n
		if want.end {
			check(t, s.End())
		}
		check(t, s.Close())
	}
}

// A node that was reinstalled is newer than it was, and one whose clock went back is too.
func TestBeginAnew(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "state.db"))
	old, _, err := s.Begin()
	check(t, err)
	for uint64(time.Now().UnixMilli()) <= old { // an incarnation is a time in milliseconds
		time.Sleep(time.Millisecond)
	}
	anew, clean, err := openAt(t, filepath.Join(t.TempDir(), "state.db")).Begin()
	check(t, err)
	if anew <= old || !clean {
		t.Errorf("a fresh state begins with incarnation %d after %d, clean %v", anew, old, clean)
	}
	future := uint64(time.Now().Add(time.Hour).UnixMilli())
	check(t, s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketAgent).Put(keyIncarnation, bigEndian(future)) }))
	if n, _, err := s.Begin(); err != nil || n != future+1 {
		t.Errorf("after the clock went back: incarnation %d, %v, want %d", n, err, future+1)
	}
}

// What is not a whole database of ours is refused, not run into.
func TestOpenNotOurs(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.db")
	check(t, os.WriteFile(empty, nil, 0o600))
	if _, err := Open(empty); err == nil || !strings.HasSuffix(err.Error(), "it is not an agent's database") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestDesiredNeverGoesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	check(t, s.SetDesired([]byte("seven"), 7))
	for _, n := range []uint64{7, 6, 0} {
		if err := s.SetDesired([]byte("older"), n); !errors.Is(err, wire.ErrReplay) {
			t.Errorf("sequence %d: %v", n, err)
		}
	}
	check(t, s.Close())
	env, n, err := openAt(t, path).Desired()
	if err != nil || n != 7 || string(env) != "seven" {
		t.Fatalf("%q, %d, %v", env, n, err)
	}
}

func TestApp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	if st, err := s.App("web"); err != nil || !cmp.Equal(st, plan.State{}) {
		t.Fatalf("%+v, %v", st, err)
	}
	now := time.Now().UTC()
	var st plan.State
	st.Begin(plan.Release{Epoch: 3, Digest: digest("b"), Version: "1.2"}, now)
	st.Switched(now)
	st.Confirm(now)
	st.Commit()
	st.Begin(plan.Release{Epoch: 4, Digest: digest("c"), Version: "1.3", Floor: "1"}, now)
	check(t, s.SetApp("web", st))
	check(t, s.Close())
	got, err := openAt(t, path).App("web")
	check(t, err)
	if d := cmp.Diff(st, got); d != "" {
		t.Fatalf("the state did not survive:\n%s", d)
	}
}

// chunksOf returns n chunks that differ.
func chunksOf(name string, n, size int) (chunks [][]byte) {
	for i := range n {
		chunks = append(chunks, bytes.Repeat([]byte(fmt.Sprintf("%s%d.", name, i)), size)[:size])
	}
	return chunks
}

func TestPackResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	p := Pack{Digest: digest("pack"), Bundle: digest("bundle"), Index: []byte("index")}
	m := Manifest{Payload: []byte("manifest"), Signatures: []wire.Signature{{KeyID: "k", Sig: "s"}}}
	if have, err := s.AddPack(p, m); err != nil || have != 0 {
		t.Fatalf("%d, %v", have, err)
	}
	chunks := chunksOf("x", 10, 1000)
	check(t, s.AddChunks(p.Digest, 0, chunks[:4]))
	for _, first := range []int{0, 3, 5} {
		if err := s.AddChunks(p.Digest, first, chunks[:1]); err == nil {
			t.Errorf("chunk %d was taken after 4", first)
		}
	}
	check(t, s.Close())
	s = openAt(t, path)
	have, err := s.AddPack(p, m)
	if err != nil || have != 4 {
		t.Fatalf("resumes at %d, %v", have, err)
	}
	check(t, s.AddChunks(p.Digest, have, chunks[have:]))
	for i, want := range chunks {
		if got, err := s.ChunkAt(p.Digest, i); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("chunk %d: %v", i, err)
		}
		if got, err := s.Chunk(wire.DigestOf(want)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("chunk %d by name: %v", i, err)
		}
	}
	if _, err := s.ChunkAt(p.Digest, 10); !errors.Is(err, wire.ErrNotFound) {
		t.Fatalf("chunk 10: %v", err)
	}
	if _, err := s.ChunkAt(digest("none"), 0); !errors.Is(err, wire.ErrNotFound) {
		t.Fatalf("chunk of no pack: %v", err)
	}
	got, err := s.Manifest(p.Bundle)
	check(t, err)
	if d := cmp.Diff(m, got); d != "" {
		t.Fatal(d)
	}
	packs, err := s.Packs(p.Bundle)
	check(t, err)
	p.Chunks = 10
	if d := cmp.Diff([]Pack{p}, packs); d != "" {
		t.Fatal(d)
	}
}

func TestRetain(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "state.db"))
	for _, name := range []string{"a", "b"} {
		p := Pack{Digest: digest("pack " + name), Bundle: digest(name), Index: []byte(name)}
		_, err := s.AddPack(p, Manifest{Payload: []byte(name)})
		check(t, err)
		check(t, s.AddChunks(p.Digest, 0, chunksOf(name, 3, 100)))
	}
	check(t, s.Retain(map[wire.Digest]bool{digest("b"): true}))
	if _, err := s.Manifest(digest("a")); !errors.Is(err, wire.ErrNotFound) {
		t.Fatalf("manifest of a: %v", err)
	}
	if _, err := s.Chunk(wire.DigestOf(chunksOf("a", 3, 100)[1])); !errors.Is(err, wire.ErrNotFound) {
		t.Fatalf("chunk of a: %v", err)
	}
	if _, err := s.Chunk(wire.DigestOf(chunksOf("b", 3, 100)[1])); err != nil {
		t.Fatalf("chunk of b: %v", err)
	}
	check(t, s.Forget(digest("pack b")))
	if packs, err := s.Packs(digest("b")); err != nil || len(packs) != 0 {
		t.Fatalf("packs of b: %v, %v", packs, err)
	}
	if _, err := s.Manifest(digest("b")); err != nil {
		t.Fatalf("manifest of b: %v", err)
	}
}

// TestWriteAmplification holds the layout to its reason: what a bundle of 16 MiB costs
// in bytes of the file.
func TestWriteAmplification(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	p := Pack{Digest: digest("pack"), Bundle: digest("bundle"), Index: []byte("index")}
	_, err := s.AddPack(p, Manifest{Payload: []byte("m")})
	check(t, err)
	const n, size = 64, 256 << 10
	check(t, s.AddChunks(p.Digest, 0, chunksOf("z", n, size)))
	var used int64
	check(t, s.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }))
	if most := int64(n*size) * 105 / 100; used > most {
		t.Fatalf("%d bytes for %d, want at most %d", used, n*size, most)
	}
}

// TestFullDisk fills a file system of 2 MiB. What was stored stays, and the journal of a
// change that is under way can still be read.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
			t.Fatalf("cannot mount a small file system: %v", err)
		}
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path := filepath.Join(dir, "state.db")
	s, err := Open(path)
	check(t, err)
	st := plan.State{Floor: "1"}
	check(t, s.SetApp("web", st))
	p := Pack{Digest: digest("pack"), Bundle: digest("bundle"), Index: []byte("index")}
	_, err = s.AddPack(p, Manifest{Payload: []byte("m")})
	check(t, err)
	chunks := chunksOf("f", 16, 256<<10)
	have := 0
	for ; have < len(chunks) && err == nil; have++ {
		err = s.AddChunks(p.Digest, have, chunks[have:have+1])
	}
	if !errors.Is(err, release.ErrFull) || errors.Is(err, release.ErrSync) {
		t.Fatalf("after %d chunks: %v", have, err)
	}
	check(t, s.Close())
	s, err = Open(path)
	check(t, err)
	defer s.Close()
	got, err := s.App("web")
	if err != nil || got.Floor != "1" {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range have - 1 {
		if c, err := s.ChunkAt(p.Digest, i); err != nil || !bytes.Equal(c, chunks[i]) {
			t.Fatalf("chunk %d: %v", i, err)
		}
	}
	// Making room helps.
	check(t, s.Retain(nil))
	check(t, s.SetApp("web", plan.State{Floor: "2"}))
}
