package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Retreat is a region's way back from its last step: the agents that the step let switch
// go back, those of the steps before stay, and then the region waits at the step before.
type Retreat struct {
	Onward wire.Target `json:"onward"`          // what the region goes on to afterwards
	Stay   wire.Cohort `json:"stay"`            // who does not go back
	Waits  bool        `json:"waits,omitempty"` // for an operator, with all back that were heard of
}

// hasStep reports whether the region widens past its first step, and so has one to take back.
func (s State) hasStep(r wire.Region) bool {
	rr := s.Regions[r]
	return rr.Phase == PhaseActivating && rr.Step > 0 && rr.Committed != nil
}

// suffices reports whether taking the last step back is enough: only agents that it let
// switch, or a gate, have failed.
func (s State) suffices(r wire.Region) bool {
	rr := s.Regions[r]
	if !s.hasStep(r) {
		return false
	}
	for _, f := range s.tally(r).failures {
		if a := s.View.Members[r].find(f.agent); rr.Before.Holds(a.ID, a.score) {
			return false
		}
	}
	return true
}

// retreat takes the last step of the regions back.
func (t *turn) retreat(regions []wire.Region, inputs map[string]string, why string) {
	for _, r := range regions {
		rr := t.s.Regions[r]
		old := rr.base()
		t.decide(KindRevert, r, inputs, "taking step %d of %s in %s back: %s", rr.Step+1, t.s.what(), r, why)
		onward, before, step := rr.Next.Target, rr.Before, rr.Step
		rr.LastEpoch = t.s.nextEpoch(r)
		old.Epoch = rr.LastEpoch
		rr.Next = &wire.Transit{
			Target: old, Phase: wire.PhaseActivate, Healthy: t.s.Rollout.Plan.Healthy,
			Cohort: wire.Cohort{Seed: t.s.Rollout.Seed},
		}
		rr.renew(PhaseRetreating)
		rr.Retreat, rr.Step = &Retreat{Onward: onward, Stay: before}, step
		rr.Served = withServed(rr.Served, old.Digest, old.Epoch)
		rr.Times.StepDone = time.Time{}
		t.issue(&rr)
		t.set(r, rr)
	}
}

// steppable returns the regions of the current wave that have a step to take back.
func (s State) steppable() []wire.Region {
	ro := s.Rollout
	return slices.DeleteFunc(slices.Clone(ro.Plan.Waves[ro.Wave].Regions), func(r wire.Region) bool { return !s.hasStep(r) })
}

func (s State) checkStepBack() error {
	ro := s.active()
	switch {
	case ro == nil:
		return s.refuse("step back", ErrNotActive, "")
	case ro.Ending != "":
		return s.refuse("step back", ErrStatus, fmt.Sprintf("rollout %s already goes back", ro.ID))
	case len(s.steppable()) == 0:
		return s.refuse("step back", ErrStatus, fmt.Sprintf("rollout %s widens no region past its first step; abort takes the wave back", ro.ID))
	}
	return nil
}

// fallBack lets more agents of a retreating region go back, by name and within the budget.
// When none is left the region is at the step before, and the rollout waits for an operator;
// so it does when the order can name no more, since a cut-off holds those of the steps before.
// Meanwhile the region goes on retreating: agents that were silent follow when they are back.
func (t *turn) fallBack(r wire.Region, tl tally) {
	ro, rr := t.s.Rollout, t.s.Regions[r]
	var left []*Agent
	for _, a := range t.s.View.Members[r].Agents {
		if !a.Drained && t.s.presence(a) == live && !inCohort(rr, a) && !rr.Retreat.Stay.Holds(a.ID, a.score) && rr.keeps(a) {
			left = append(left, a)
		}
	}
	slices.SortFunc(left, byScore)
	budget := t.s.Budget(r)
	nameable := t.s.nameable(r, left)
	room := min(len(nameable), budget-tl.InFlight)
	switch {
	case room > 0 && len(tl.failures) <= ro.Plan.MaxFailures:
		t.name(r, tl, left[:room], "%d more of %d agents of the step in %s go back: %d in flight, at most %d", room, len(left), r, tl.InFlight, budget)
	case len(left) > 0 && len(nameable) == 0 && tl.InFlight == 0 && ro.Halt == "":
		named := len(rr.Next.Cohort.Named)
		t.halt(map[string]string{"step": fmt.Sprint(rr.Step), "named": fmt.Sprint(named)}, "step %d of %s is taken back on %s, and %d more run it whom the order cannot name any more: abort takes the wave back", rr.Step+1, r, Plural(named, "agent"), len(left))
	case len(left) > 0 || tl.InFlight > 0 || rr.Hold != nil || ro.Halt != "":
	case !rr.Retreat.Waits:
		retreat := *rr.Retreat
		retreat.Waits = true
		rr.Retreat = &retreat
		t.set(r, rr)
		t.halt(map[string]string{"step": fmt.Sprint(rr.Step)}, "step %d of %s was taken back; resuming repeats step %d", rr.Step+1, r, rr.Step)
	default: // somebody has resumed
		t.onward(r)
	}
}

// keeps reports whether the agent serves the release that the region goes back from, at the
// epoch that was left or, in a step that was repeated, at one before.
func (rr RegionRecord) keeps(a *Agent) bool {
	return a.ran() > rr.base().Epoch && a.Report.Running.Digest == rr.Retreat.Onward.Digest
}

// onward orders the release again, at a new epoch and with nobody in its cohort: the agents of
// the steps before run it already, and are the first to switch to the new epoch.
func (t *turn) onward(r wire.Region) {
	rr := t.s.Regions[r]
	step, again := rr.Step, rr.Retreat.Onward
	rr.LastEpoch = t.s.nextEpoch(r)
	again.Epoch = rr.LastEpoch
	rr.Next = &wire.Transit{
		Target: again, Phase: wire.PhaseActivate, Healthy: t.s.Rollout.Plan.Healthy,
		Cohort: wire.Cohort{Seed: t.s.Rollout.Seed, Except: rr.Retreat.Stay.Except},
	}
	rr.renew(PhaseActivating)
	rr.Retreat, rr.Step, rr.Before = nil, step-1, wire.Cohort{}
	rr.Served = withServed(rr.Served, again.Digest, again.Epoch)
	t.issue(&rr)
	t.set(r, rr)
}
