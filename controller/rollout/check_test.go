package rollout

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func running(t *testing.T) *fleet {
	f := newFleet(t)
	f.enrol("eu", "eu-1", "eu-2")
	if err := f.command([]string{"given", "1.0"}, ""); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStartOnMovedBase(t *testing.T) {
	f := running(t)
	index := f.s.Revision
	start := Start{Now: f.now, ID: "r1", Seed: "s", Target: bundle("2.0"), Plan: DefaultPlan([]wire.Region{"eu"}), CheckIndex: &index}
	if err := Check(f.s, start); err != nil {
		t.Fatal(err)
	}
	f.enrol("eu", "eu-3") // its late activation is purged: the record moves
	f.run(20 * time.Second)
	if err := Check(f.s, start); !errors.Is(err, ErrMoved) {
		t.Errorf("got %v, want %v", err, ErrMoved)
	}
	if after, effects := Step(f.s, start); after.Revision != f.s.Revision || len(effects) > 0 {
		t.Errorf("Step took a start that Check refuses: %v", effects)
	}
}

// What a region served of the bundle that its purge leaves is named by epoch, but for an epoch
// that somebody says was another bundle's.
func TestPurgeNamesTheSame(t *testing.T) {
	good, bad := bundle("1.0").Digest, bundle("2.0").Digest
	rr := RegionRecord{
		Purge:  &PurgeRecord{Epoch: 10, Round: 1, To: good, From: []Served{{bad, 9}, {bad, 6}}},
		Served: []Served{{good, 8}, {good, 4}, {bad, 9}, {good, 9}, {good, 6}, {good, 10}, {good, 12}},
	}
	if got, want := purgeOf("edge", "eu", rr).Same, []wire.Epoch{4, 8}; !slices.Equal(got, want) {
		t.Errorf("the same at %v, want %v", got, want)
	}
}

// An agent that reports contents nobody ordered must not make the controller forget which
// contents its region may serve.
func TestReportsCannotFloodServed(t *testing.T) {
	f := running(t)
	ordered := Served{bundle("1.0").Digest, 1}
	for i := range 200 {
		lie := wire.AppReport{Running: &wire.Running{Epoch: 1, Digest: wire.DigestOf(fmt.Append(nil, i)), Version: "9", State: wire.StateActive}}
		f.feed(Reported{Now: f.now, Region: "eu", Agent: "eu-1", Stored: f.now, Incarnation: 2, Sequence: uint64(i + 1), Report: lie})
	}
	served := f.s.Regions["eu"].Served
	if len(served) > maxServed || !slices.Contains(served, ordered) {
		t.Errorf("%d contents remembered, the ordered one among them: %v", len(served), slices.Contains(served, ordered))
	}
}
