package stage

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/internal/disktest"
	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// TestPowerCuts cuts the power while the database is made and written. It must open
// again, hold everything that was acknowledged, and no chunk that was not written whole.
func TestPowerCuts(t *testing.T) {
	d := disktest.New(t)
	for cycle := range 12 {
		path := filepath.Join(d.Dir, string(rune('a'+cycle)), "state.db")
		acked := make(chan uint64, 100000)
		ended := make(chan struct{})
		chunks := chunksOf("p", 1000, 10000)
		p := Pack{Digest: digest("pack"), Bundle: digest("bundle"), Index: []byte("index")}
		go func() {
			defer close(ended)
			s, err := Open(path)
			if err != nil {
				return
			}
			defer s.Close()
			if _, err := s.AddPack(p, Manifest{Payload: []byte("m")}); err != nil {
				return
			}
			for n := uint64(1); n < uint64(len(chunks)); n++ {
				if s.SetDesired([]byte("order"), n) != nil || s.SetApp("web", plan.State{Pinned: wire.Epoch(n)}) != nil ||
					s.AddChunks(p.Digest, int(n)-1, chunks[n-1:n]) != nil {
					return
				}
				acked <- n
			}
		}()
		time.Sleep(rand.N(100 * time.Millisecond)) // anywhere, also while it is made
		d.Cut()
		<-ended
		d.Restore()
		var last uint64
		for len(acked) > 0 {
			last = <-acked
		}
		s, err := Open(path)
		check(t, err)
		_, seq, err := s.Desired()
		check(t, err)
		st, err := s.App("web")
		check(t, err)
		if seq < last || uint64(st.Pinned) < last {
			t.Fatalf("acknowledged %d, holds order %d and state %d", last, seq, st.Pinned)
		}
		packs, err := s.Packs(p.Bundle)
		check(t, err)
		if last > 0 && (len(packs) != 1 || packs[0].Chunks < int(last)) {
			t.Fatalf("acknowledged %d chunks, holds %+v", last, packs)
		}
		for _, pk := range packs {
			for i := range pk.Chunks {
				if c, err := s.ChunkAt(p.Digest, i); err != nil || !bytes.Equal(c, chunks[i]) {
					t.Fatalf("chunk %d: %v", i, err)
				}
			}
		}
		check(t, s.Close())
	}
}
