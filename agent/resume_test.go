package agent

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// flaky is a bus that gives so many blobs and then loses the connection.
type flaky struct {
	wire.AgentBus
	mu    sync.Mutex // guards the rest
	left  int
	asked map[wire.Digest]int
}

func (b *flaky) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	b.mu.Lock()
	b.left--
	lost := b.left < 0
	if !lost {
		b.asked[d]++
	}
	b.mu.Unlock()
	if lost {
		return nil, wire.ErrDisconnected
	}
	return b.AgentBus.Blob(ctx, d)
}

// TestFetchingResumes loses the connection in the middle of a bundle of 20 MiB. What was
// stored is not asked for again.
func TestFetchingResumes(t *testing.T) {
	f := newFleet(t)
	_, mem := f.withMemory()
	bus := &flaky{AgentBus: mem, left: 70, asked: make(map[wire.Digest]int)}
	noise := rand.NewChaCha8([32]byte{1})
	c := site("1", "one")
	for _, name := range []string{"a", "b", "c", "d"} {
		var data bytes.Buffer
		for range 5 << 20 / 8 {
			n := noise.Uint64()
			data.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32), byte(n >> 40), byte(n >> 48), byte(n >> 56)})
		}
		c.files[name] = data.String()
	}
	v1 := at(f.publish(c), 1)
	a, _ := run(t, f.config(bus))
	f.order(activate(nil, v1))
	eventually(t, "a lost connection", func() bool {
		n := a.apps[0].report().Next
		return n != nil && n.State == wire.StateStaging && n.Error != ""
	})
	packs, err := a.store.Packs(v1.Digest)
	check(t, err)
	if len(packs) != 1 || packs[0].Chunks < 60 || packs[0].Chunks > 70 {
		t.Fatalf("stored: %+v", packs)
	}
	stored := packs[0].Chunks
	bus.mu.Lock()
	bus.left = 1000
	bus.mu.Unlock()
	eventually(t, "confirmed", runs(a, 1, wire.StateConfirmed))
	again := 0
	for _, n := range bus.asked {
		if n > 1 {
			again++
		}
	}
	// The index and the manifest are read again; of the chunks, at most those in flight.
	if most := 2 + fetchers; again > most {
		t.Errorf("%d blobs were asked for twice, with %d chunks stored; want at most %d", again, stored, most)
	}
}
