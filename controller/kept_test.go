package controller_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

// A controller keeps the manifests that it may need, and no others: after the loss of the
// bus it still knows what an activation has to purge.
func TestKeptManifests(t *testing.T) {
	t.Parallel()
	f := newFleet(t, spec{regions: one("a1")})
	d := f.drive()
	first := f.publish(d, site(edge, "1", "a", "b"))
	f.roll(d, first, plan([]wire.Region{ams}), "done")
	var all []controller.BundleInfo
	for i := range controller.KeptBundles + 2 {
		all = append(all, f.publish(d, site(edge, wire.Version(fmt.Sprint(i+2)), "a", "b")))
	}
	must(t, d.KeepAll(t.Context()))
	d = f.bounce(d, f.dir, func() { f.bus = newFleet(t, spec{}).bus })
	for i, b := range append(all, first) {
		_, err := d.Manifest(t.Context(), b.Digest)
		if i < 2 {
			wantErr(t, "the manifest of an old bundle that nobody runs", err, wire.ErrNotFound)
		} else if err != nil {
			t.Errorf("the manifest of version %s: %v", b.Version, err)
		}
	}
	must(t, d.KeepAll(t.Context())) // what is gone is gone
}

// blobs calls a function before every read of a blob.
type blobs struct {
	wire.ControllerBus
	read func(wire.Digest)
}

func (b blobs) Blob(ctx context.Context, d wire.Digest) ([]byte, error) {
	b.read(d)
	return b.ControllerBus.Blob(ctx, d)
}

// The manifest of a bundle that is just being published is not taken for one that nobody
// needs.
func TestKeptWhilePublished(t *testing.T) {
	t.Parallel()
	var read atomic.Pointer[func(wire.Digest)]
	f := newFleet(t, spec{regions: one(), config: func(cfg *controller.Config) {
		cfg.Bus = blobs{cfg.Bus, func(d wire.Digest) {
			if f := read.Load(); f != nil {
				(*f)(d)
			}
		}}
	}})
	d := f.drive()
	index := site(edge, "1", "a", "b").pack(t, d.PutBlob, f.author)
	stalled := make(chan func(), 1)
	reads := 0
	stall := func(blob wire.Digest) {
		if blob == index {
			if reads++; reads == 2 { // first to be checked, then to be kept
				stalled <- d.Stall()
			}
		}
	}
	read.Store(&stall)
	published := make(chan error, 1)
	go func() {
		_, err := d.Publish(context.Background(), index, "op")
		published <- err
	}()
	resume := <-stalled
	eventually(t, func() error {
		kept, err := d.Kept(index)
		must(t, err)
		if !kept {
			return errors.New("the manifest is not kept")
		}
		return nil
	})
	must(t, d.KeepAll(t.Context()))
	resume()
	must(t, <-published)
	if kept, err := d.Kept(index); err != nil || !kept {
		t.Errorf("once the bundle is published its manifest is kept: %v, %v", kept, err)
	}
}
