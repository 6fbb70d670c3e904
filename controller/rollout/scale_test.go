package rollout

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// TestRecordStaysSmall rolls 5,000 agents in 20 regions twice, the second time with every
// other agent failing, and weighs the largest record.
func TestRecordStaysSmall(t *testing.T) {
	f := newFleet(t)
	var regions []wire.Region
	for i := range 20 {
		r := wire.Region(fmt.Sprintf("a-region-with-a-long-name-%02d", i))
		regions = append(regions, r)
		var ids []wire.AgentID
		for j := range 250 {
			ids = append(ids, wire.AgentID(fmt.Sprintf("an-edge-node-with-a-name-of-the-longest-kind-in-%02d-%04d", i, j)))
		}
		f.enrol(r, ids...)
	}
	largest := 0
	f.check = func(before State, e Event, after State, _ []Effect) {
		if after.Revision == before.Revision || after.Revision%200 != 0 {
			return
		}
		data, err := json.Marshal(after.Record)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(data))
	}
	p := DefaultPlan(regions)
	p.MaxUnavailable = Share(50)
	for i := range p.Waves {
		p.Waves[i].Bake = 0
		for j := range p.Waves[i].Steps {
			p.Waves[i].Steps[j].Bake = 0
		}
	}
	for i, v := range []wire.Version{"1.0", "2.0"} {
		if err := Check(f.s, Start{Now: f.now, ID: "r", Seed: "s", Target: bundle(v), Plan: p}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			p.OnFailure = HoldOnly
			for _, r := range regions {
				for j, n := range f.nodes[r] {
					if j%2 == 0 {
						n.trouble[v] = "stage"
					}
				}
			}
		}
		id := fmt.Sprintf("r%d", i)
		f.feed(Start{Now: f.now, ID: id, Seed: id, Target: bundle(v), Plan: p})
		for range 60 {
			if f.run(5e9); f.s.active() == nil {
				break
			}
			if Check(f.s, Resume{Now: f.now, By: "kim"}) == nil {
				f.feed(Resume{Now: f.now, By: "kim"})
			}
		}
		t.Logf("%s: %s, largest record so far %d KiB, %d decisions", v, f.s.Rollout.Status, largest>>10, f.s.Decided)
	}
	if largest > 600<<10 {
		t.Errorf("the record grew to %d KiB", largest>>10)
	}
}
