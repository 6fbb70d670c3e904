package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/wire"
)

// An approved emergency waits for exactly what it would with the plan that Hurried makes of its
// own, and expired for what its own says.
func TestHurried(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hour := wire.Duration(time.Hour)
	text := `{freeze: [{days: [mon], from: "11:00", until: "18:00"}], gates: [{name: g, webhook: w}], waves: [
		{regions: [a], steps: [{activate: 1, bake: 1h, gates: [g], approve: 2}, {activate: 100%}], bake: 1h, gates: [g], approve: 1},
		{regions: [b], growth: {linear: 25%, bake: 1h}, bake: 1h}, {regions: [c], bake: 1h, approve: 3}]}`
	plan, err := ParsePlan("p", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	type held struct {
		Over      time.Time
		Baking    bool
		Approvers int
		Gates     []Gate
		Wait      HoldKind
	}
	look := func(p Plan, g *Glass, r wire.Region, phase RegionPhase) held {
		rr := RegionRecord{Phase: phase}
		rr.Times.StepDone, rr.Times.Barrier = now, now
		s := State{View: View{Now: now}, Record: Record{Rollout: &Rollout{Plan: p, Glass: g}, Regions: map[wire.Region]RegionRecord{r: rr}}}
		h := held{Approvers: s.approvers(r), Gates: append([]Gate{}, s.gates(r)...)}
		h.Over, h.Baking = s.baked(r)
		h.Wait, _, _ = s.waits(r)
		return h
	}
	approvals := []Approval{{By: "kim"}, {By: "lee"}}
	for _, r := range []wire.Region{"a", "b", "c"} {
		for _, phase := range []RegionPhase{PhaseStaging, PhaseActivating, PhaseBaking} {
			glass := &Glass{Expires: now.Add(hour.Std()), Approvals: approvals}
			if diff := cmp.Diff(look(plan.Hurried(), nil, r, phase), look(plan, glass, r, phase)); diff != "" {
				t.Errorf("%s %s in an emergency (-hurried plan +engine):\n%s", r, phase, diff)
			}
			expired := &Glass{Expires: now, Approvals: approvals, Over: true}
			if diff := cmp.Diff(look(plan, nil, r, phase), look(plan, expired, r, phase)); diff != "" {
				t.Errorf("%s %s after an emergency (-plan +engine):\n%s", r, phase, diff)
			}
		}
	}
	if w := plan.Waves; len(plan.Gates)+len(plan.Freeze) != 2 || w[0].Steps[0].Bake != hour || w[0].Approve != 1 || w[1].Growth.Bake != hour || w[2].Bake != hour {
		t.Errorf("the plan has changed to %+v", plan)
	}
}
