package controller_test

import (
	"fmt"
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
