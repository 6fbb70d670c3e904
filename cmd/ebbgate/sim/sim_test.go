package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Int("seeds", 200, "how many seeds")
)

// enough is how many seeds see every transition that there is.
const enough = 200

// required returns the transitions that a run of enough seeds has to see, besides every
// fault: the kinds of decision and of step, the phases of a region, the ends of a rollout
// and the ways around.
func required() (all []string) {
	for _, k := range []rollout.Kind{
		rollout.KindStart, rollout.KindStage, rollout.KindActivate, rollout.KindWiden, rollout.KindStep, rollout.KindConfirm,
		rollout.KindHold, rollout.KindUnhold, rollout.KindPurge, rollout.KindBarrier, rollout.KindCommit, rollout.KindPromote,
		rollout.KindRevert, rollout.KindPause, rollout.KindResume, rollout.KindAbort, rollout.KindDone,
	} {
		all = append(all, "decision "+string(k))
	}
	// Not plan.Arm: the engine names no cohort before it orders the activation, and so a
	// node arms as part of that.
	for _, k := range []plan.Kind{plan.Stage, plan.Activate, plan.Repair, plan.Commit, plan.Revert, plan.Wait, plan.Refuse} {
		all = append(all, "step "+string(k))
	}
	for _, p := range []rollout.RegionPhase{
		rollout.PhaseIdle, rollout.PhaseStaging, rollout.PhaseActivating, rollout.PhasePurging, rollout.PhaseBaking, rollout.PhaseCommitted,
		rollout.PhaseReverting, rollout.PhaseRepurging, rollout.PhaseReverted, rollout.PhaseDropped,
	} {
		all = append(all, "phase "+string(p))
	}
	for _, s := range []rollout.RolloutStatus{rollout.StatusDone, rollout.StatusReverted, rollout.StatusAborted} {
		all = append(all, "ended "+string(s))
	}
	for _, f := range allFaults {
		all = append(all, "fault "+string(f))
	}
	return append(all, "undo", "activation superseded", "late or repeated purge", "lease taken over",
		"order refused as a replay", "write under an old fence refused", "region clean at the end", "resumed at the end")
}

func TestSeeds(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 60)
	}
	total := make(map[string]int)
	began, events := time.Now(), 0
	for s := *firstSeed; s < *firstSeed+uint64(*seeds); s++ {
		res := Run(s)
		if res.Err != nil {
			t.Fatalf("seed %d: %v\n%s\nreplay: make sim SEED=%d N=1", s, res.Err, strings.Join(res.Trace, "\n"), s)
		}
		for what, times := range res.Counts {
			total[what] += times
		}
		events += res.Events
	}
	took := time.Since(began)
	for _, what := range required() {
		if total[what] == 0 && *seeds >= enough {
			t.Errorf("%d seeds never saw: %s", *seeds, what)
		}
	}
	var table strings.Builder
	names := make([]string, 0, len(total))
	for what := range total {
		names = append(names, what)
	}
	slices.Sort(names)
	for _, what := range names {
		fmt.Fprintf(&table, "%9d  %s\n", total[what], what)
	}
	t.Logf("%d seeds, %d events, %.0f events/s, %.0f seeds/min\n%s", *seeds, events,
		float64(events)/took.Seconds(), float64(*seeds)/took.Minutes(), table.String())
}

// TestSameSeedSameHistory holds that a failure can be replayed.
func TestSameSeedSameHistory(t *testing.T) {
	hashes := make(map[uint64]uint64)
	for s := uint64(1); s <= 20; s++ {
		a, b := Run(s), Run(s)
		if a.Hash != b.Hash || a.Events != b.Events {
			t.Errorf("seed %d: two histories: %x of %d events, %x of %d", s, a.Hash, a.Events, b.Hash, b.Events)
		}
		hashes[a.Hash] = s
	}
	if len(hashes) != 20 {
		t.Errorf("20 seeds make %d histories", len(hashes))
	}
}
