package sim

import (
	"fmt"
	"slices"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

var phases = []rollout.RegionPhase{
	rollout.PhaseIdle, rollout.PhaseStaging, rollout.PhaseArming, rollout.PhaseActivating, rollout.PhaseRetreating, rollout.PhasePurging, rollout.PhaseBaking, rollout.PhaseCommitted,
	rollout.PhaseReverting, rollout.PhaseRepurging, rollout.PhaseReverted, rollout.PhaseDropped,
}

// asked reports whether a run has to see the fault in the phase as often as everything
// else. The others are counted in the table and not asked for: retreating is a moment of
// few rollouts, nothing is switched or purged while a region arms, and a gate is read
// while a region activates, purges or bakes.
func asked(f fault, p rollout.RegionPhase) bool {
	switch {
	case p == rollout.PhaseRetreating:
		return false
	case f == faultMetrics || f == faultNumber:
		return p == rollout.PhaseActivating || p == rollout.PhasePurging || p == rollout.PhaseBaking
	case p == rollout.PhaseArming:
		return !slices.Contains(switches, f)
	}
	return !slices.Contains(seldom, pair(f, p))
}

// switches are the faults of a switch, of a purge and of what is served.
var switches = []fault{
	faultPoint, faultActivate, faultLie, faultSick, faultLater, faultCDNSlow, faultCDNFail, faultCDNRefuse, faultRollback, faultFloor,
}

// seldom are the pairs that are seen, and less often than asked for: a region that has
// gone back seldom stages anew, and a purge seldom goes while a region activates.
var seldom = []string{
	pair(faultStage, rollout.PhaseReverted), pair(faultLie, rollout.PhaseReverted), pair(faultFloor, rollout.PhaseReverted),
	pair(faultCDNFail, rollout.PhaseActivating), pair(faultCDNRefuse, rollout.PhaseActivating),
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

// missed returns what a run should have seen and has not: of enough seeds everything a
// hundred times in 20,000, each fault in each phase, too; of fewer every transition once.
func missed(s Sweep) (all []string) {
	const often, in, enough, some = 100, 20_000, 2000, 200
	least := 1
	want := transitions()
	switch {
	case s.Seeds < some:
		return nil
	case s.Seeds >= enough:
		least = often * s.Seeds / in
		for _, f := range allFaults {
			for _, p := range phases {
				if asked(f, p) {
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
