package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

var phases = []rollout.RegionPhase{
	rollout.PhaseIdle, rollout.PhaseStaging, rollout.PhaseArming, rollout.PhaseActivating, rollout.PhaseRetreating, rollout.PhasePurging, rollout.PhaseBaking, rollout.PhaseCommitted,
	rollout.PhaseReverting, rollout.PhaseRepurging, rollout.PhaseReverted, rollout.PhaseDropped,
}

// transitions returns what has to happen besides faults: the kinds of decision and of
// step, the phases of a region, the ends of a rollout and the ways around.
func transitions() (all []string) {
	for _, k := range []rollout.Kind{
		rollout.KindStart, rollout.KindStage, rollout.KindActivate, rollout.KindWiden, rollout.KindStep, rollout.KindConfirm,
		rollout.KindHold, rollout.KindUnhold, rollout.KindPurge, rollout.KindBarrier, rollout.KindCommit, rollout.KindPromote,
		rollout.KindRevert, rollout.KindPause, rollout.KindResume, rollout.KindAbort, rollout.KindDone,
		rollout.KindArm, rollout.KindGate, rollout.KindApprove,
	} {
		all = append(all, "decision "+string(k))
	}
	for _, k := range []plan.Kind{plan.Stage, plan.Arm, plan.Activate, plan.Repair, plan.Commit, plan.Revert, plan.Wait, plan.Refuse} {
		all = append(all, "step "+string(k))
	}
	for _, p := range phases {
		all = append(all, "phase "+phaseName(p))
	}
	for _, s := range []rollout.RolloutStatus{rollout.StatusDone, rollout.StatusReverted, rollout.StatusAborted, rollout.StatusFailed} {
		all = append(all, "ended "+string(s))
	}
	for _, f := range allFaults {
		all = append(all, "fault "+string(f))
	}
	return append(all, "undo", "activation superseded", "late or repeated purge", "lease taken over", "record copied by a standby",
		"order refused as a replay", "lease taken again after a loss", "orders put again after a loss", "orders signed above an agent's",
		"command taken without the bus",
		"emergency", "gate passed", "write under an old fence refused", "region clean at the end", "resumed at the end")
}

// gated are the phases in which a gate is read; the others never see what is wrong with it,
// but for an answer that comes late.
var gated = []rollout.RegionPhase{rollout.PhaseActivating, rollout.PhasePurging, rollout.PhaseBaking}

// possible reports whether a fault can strike in a phase.
func possible(f fault, p rollout.RegionPhase) bool {
	return f != faultMetrics && f != faultNumber || slices.Contains(gated, p)
}

// missed returns what a run should have seen and has not: everything a hundred times in
// 20,000 seeds, each fault in each phase, too, and in fewer seeds as often as three standard
// deviations less than that; of very few seeds every transition once.
func missed(s Sweep) (all []string) {
	const often, in, enough, some = 100, 20_000, 2000, 200
	least := 1
	want := transitions()
	switch {
	case s.Seeds < some:
		return nil
	case s.Seeds >= enough:
		least = often * s.Seeds / in
		if s.Seeds < in {
			least = max(1, least-int(3*math.Sqrt(float64(least))))
		}
		for _, f := range allFaults {
			for _, p := range phases {
				if possible(f, p) {
					want = append(want, pair(f, p))
				}
			}
		}
	}
	for _, what := range want {
		if n := s.Counts[what]; n < least {
			all = append(all, fmt.Sprintf("%d seeds saw it %d times, want %d: %s", s.Seeds, n, least, what))
		}
	}
	return all
}
