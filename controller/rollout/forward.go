package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// forward moves the regions of the current wave, and the wave.
func (t *turn) forward(focus wire.Region) {
	if t.judge(focus) || t.expire() {
		return
	}
	ro := t.s.Rollout
	for i, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			if i < ro.Wave || focus != "" && r != focus {
				continue
			}
			tl := t.s.tally(r)
			t.markStaged(r, tl)
			if i == ro.Wave {
				t.show(r, tl)
				t.ask(r, tl)
				if t.hold(r, tl); t.s.Rollout.Ending != "" {
					return // its purge was waited for long enough
				}
				t.advance(r, tl)
			}
		}
	}
	t.commitWave()
}

// judge looks for failures, of agents and of gates, and returns whether the rollout has
// turned back.
func (t *turn) judge(focus wire.Region) bool {
	ro := t.s.Rollout
	halts := ro.Ending != "" || ro.Plan.OnFailure == HoldOnly // it can do no more than that
	if halts && ro.Halt != "" || focus != "" && len(t.s.tally(focus).failures) == 0 {
		return false
	}
	f := t.s.failing()
	failed := f.regions
	inputs := map[string]string{
		"failed": fmt.Sprint(len(f.all)), "max_failures": fmt.Sprint(ro.Plan.MaxFailures), "on_failure": string(ro.Plan.OnFailure),
	}
	why, failing := "", f.beyond(ro.Plan)
	if failing {
		why, inputs["first"] = summarise(f.all), wire.Clip(f.all[0])
	} else if r, rd := t.s.failedGate(); r != "" {
		g, _ := ro.Plan.gate(rd.Gate)
		maps.Copy(inputs, gateInputs(g, rd))
		why, failed = fmt.Sprintf("gate %s of %s: %s", rd.Gate, r, rd.Text), []wire.Region{r}
	} else {
		return false
	}
	current := len(failed) > 0
	retreating := slices.ContainsFunc(failed, func(r wire.Region) bool { return t.s.Regions[r].Phase == PhaseRetreating })
	byStep := ro.Plan.OnFailure == RevertStep && current && !retreating // a failure on the way back waits
	if ro.Ending == "" && byStep && !slices.ContainsFunc(failed, func(r wire.Region) bool { return !t.s.suffices(r) }) {
		t.quarantine(why)
		t.retreat(failed, inputs, why)
		return true
	}
	if ro.Ending == "" && (byStep || current && ro.Plan.OnFailure == RevertWave || (current || f.earlier) && ro.Plan.OnFailure == RevertAll) {
		t.decide(KindRevert, "", inputs, "taking %s back (%s): %s", t.s.what(), ro.Plan.OnFailure, why)
		t.quarantine(why)
		t.takeBack(StatusReverted, ro.Plan.OnFailure == RevertAll)
		return true
	}
	if ro.Halt == "" {
		if ro.Ending == "" {
			t.quarantine(why)
		}
		t.halt(inputs, "%s", why)
		t.own().Failing = failing
	}
	return false
}

// failing is the failures of a rollout that nobody has acknowledged.
type failing struct {
	all     []string      // region/agent and how
	regions []wire.Region // those of the current wave
	earlier bool          // one is in a wave before
	whole   bool          // every agent of some region failed
}

// beyond reports whether they are more than the plan tolerates.
func (f failing) beyond(p Plan) bool { return len(f.all) > p.MaxFailures || f.whole }

func (s State) failing() (f failing) {
	ro := s.Rollout
	for i, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			if !s.Regions[r].Phase.judged(ro.Ending != "") {
				continue
			}
			tl := s.tally(r)
			if len(tl.failures) == 0 {
				continue
			}
			f.whole = f.whole || tl.allFailed()
			f.earlier = f.earlier || i < ro.Wave
			if i == ro.Wave {
				f.regions = append(f.regions, r)
			}
			for _, a := range tl.failures {
				f.all = append(f.all, fmt.Sprintf("%s/%s %s", r, a.agent, a.reason))
			}
		}
	}
	return f
}

// what names what is rolled out, and whose it is.
func (s State) what() string {
	name := fmt.Sprintf("%s %s", s.App, s.Rollout.Target.Version)
	if s.Rollout.Source != "" {
		name += " of " + s.Rollout.Source
	}
	return name
}

// judged reports whether failures in the phase count: of a rollout that goes back, only
// those of the way back.
func (p RegionPhase) judged(back bool) bool {
	switch p {
	case PhaseReverting, PhaseRepurging:
		return true
	case PhaseStaging, PhaseArming, PhaseActivating, PhaseRetreating, PhasePurging, PhaseBaking, PhaseCommitted:
		return !back
	case PhaseIdle, PhaseReverted, PhaseDropped:
		return false
	}
	panic("rollout: unknown phase " + string(p))
}

// summarise names the first few failures.
func summarise(failures []string) string {
	const few = 3
	n := len(failures)
	if n > few {
		failures = failures[:few]
	}
	s := fmt.Sprintf("%s failed: %s", Plural(n, "agent"), strings.Join(failures, "; "))
	if n > few {
		s += "; …"
	}
	return s
}

// halt makes the rollout wait for an operator.
func (t *turn) halt(inputs map[string]string, format string, args ...any) {
	ro := t.own()
	ro.Halt, ro.Halted, ro.Overdue, ro.Failing = wire.Clip(fmt.Sprintf(format, args...)), t.s.Now, false, false
	t.decide(KindHold, "", inputs, "waiting for an operator: %s", ro.Halt)
}

func (ro *Rollout) unhalt() {
	ro.Halt, ro.Halted, ro.Overdue, ro.Failing = "", time.Time{}, false, false
}

// halted returns the halt as a hold of the whole rollout, or nil.
func (ro *Rollout) halted() *Hold {
	if ro.Halted.IsZero() {
		return nil
	}
	return &Hold{Kind: HoldOperator, Reason: ro.Halt, Since: ro.Halted, Deadline: ro.Halted.Add(ro.Plan.Deadline.Std()), Overdue: ro.Overdue}
}

// remind tells once that an operator has been waited for too long.
func (t *turn) remind() {
	h := t.s.Rollout.halted()
	if h == nil || h.Overdue || t.s.Now.Before(h.Deadline) {
		return
	}
	t.own().Overdue = true
	t.decide(KindHold, "", nil, "still waiting for an operator after %s: %s", max(0, t.s.Now.Sub(h.Since)).Round(time.Second), t.s.told(h).Reason)
}

func (t *turn) markStaged(r wire.Region, tl tally) {
	rr := t.s.Regions[r]
	if rr.Phase != PhaseStaging || !rr.Times.Staged.IsZero() || !tl.allStaged(t.s.Rollout.Plan) {
		return
	}
	rr.Times.Staged = t.s.Now
	t.set(r, rr)
	t.decide(KindStage, r, countInputs(tl), "%d of %d live agents of %s have %s staged, %d failed", tl.Staged, tl.Live, r, rr.Next.Version, tl.failed)
}

// allStaged reports whether every agent has it staged but for those that may be left behind.
func (tl tally) allStaged(p Plan) bool {
	return tl.known && tl.waiting == 0 && tl.Silent <= tl.tolerates(p) && tl.Staged+tl.failed == tl.Live
}

func countInputs(tl tally) map[string]string {
	return map[string]string{
		"serving": fmt.Sprint(tl.serving), "live": fmt.Sprint(tl.Live), "silent": fmt.Sprint(tl.Silent),
		"staged": fmt.Sprint(tl.Staged), "confirmed": fmt.Sprint(tl.Confirmed), "failed": fmt.Sprint(tl.Failed),
		"in_cohort": fmt.Sprint(tl.InCohort), "in_flight": fmt.Sprint(tl.InFlight),
	}
}

// nobody reports whether no agent in service is in the region's cohort, heard of or not.
func (s State) nobody(r wire.Region) bool {
	rr := s.Regions[r]
	return !slices.ContainsFunc(s.View.Members[r].Agents, func(a *Agent) bool { return !a.Drained && inCohort(rr, a) })
}

// advance moves a region of the current wave.
func (t *turn) advance(r wire.Region, tl tally) {
	ro, rr := t.s.Rollout, t.s.Regions[r]
	if !tl.known || tl.waiting > 0 {
		return
	}
	if rr.Phase == PhaseRetreating { // a way back: neither a hold nor what waits for an operator stops it
		if t.s.hears(r) {
			t.fallBack(r, tl)
		}
		return
	}
	if rr.Phase == PhaseActivating && !rr.Times.StepDone.IsZero() && tl.Live > 0 && t.s.nobody(r) {
		rr.Times.StepDone = time.Time{} // all were drained when it was done; now somebody is back in service
		t.set(r, rr)
	}
	if ro.Halt != "" || rr.Hold != nil {
		return
	}
	switch rr.Phase {
	case PhaseStaging:
		switch {
		case ro.Paused || !tl.allStaged(ro.Plan) || !t.slot(ro):
		case ro.Plan.waveOf(r).Strategy == StrategyBlueGreen:
			t.arm(r, tl)
		default:
			t.activate(r, tl)
		}
	case PhaseArming:
		if !ro.Paused && tl.Silent <= tl.tolerates(ro.Plan) && tl.Armed+tl.failed == tl.Live {
			t.activate(r, tl)
		}
	case PhaseActivating:
		t.widen(r, tl)
	}
}

// show notes that an agent has confirmed what the rollout brings.
func (t *turn) show(r wire.Region, tl tally) {
	if !t.s.Rollout.Shown && tl.Confirmed > 0 && t.s.Regions[r].Phase != PhaseRetreating {
		t.own().Shown = true
	}
}

// slot reports whether one more region of the wave may activate. Until somebody has confirmed
// the release, that is one.
func (t *turn) slot(ro *Rollout) bool {
	w, busy := ro.Plan.Waves[ro.Wave], 0
	for _, r := range w.Regions {
		switch t.s.Regions[r].Phase {
		case PhaseArming, PhaseActivating, PhaseRetreating, PhasePurging:
			busy++
		}
	}
	return busy == 0 || ro.Shown && (w.MaxParallel == 0 || busy < w.MaxParallel)
}

// arm lets every agent of the region preload the target. Nothing switches yet.
func (t *turn) arm(r wire.Region, tl tally) {
	rr := t.s.Regions[r]
	next := *rr.Next
	next.Cohort.CutOff = wire.AllScores
	rr.Next, rr.Phase, rr.Issued = &next, PhaseArming, t.s.Now
	t.set(r, rr)
	t.decide(KindArm, r, countInputs(tl), "arming %s in %s: wave %d is current and %d live agents have it staged", next.Version, r, t.s.Rollout.Wave+1, tl.Staged)
}

func (t *turn) activate(r wire.Region, tl tally) {
	rr := t.s.Regions[r]
	next := *rr.Next
	next.Phase, next.Cohort.CutOff = wire.PhaseActivate, 0
	why := fmt.Sprintf("%d live agents have it staged", tl.Staged)
	if rr.Phase == PhaseArming {
		rr.Times.Armed = t.s.Now
		why = fmt.Sprintf("%d live agents have it armed", tl.Armed)
	}
	rr.Next, rr.Phase, rr.Step = &next, PhaseActivating, 0
	rr.unask() // of an emergency
	rr.Served = withServed(rr.Served, next.Digest, next.Epoch)
	rr.Times.Activated = t.s.Now
	t.issue(&rr)
	t.set(r, rr)
	t.decide(KindActivate, r, countInputs(tl), "activating %s in %s: wave %d is current and %s", next.Version, r, t.s.Rollout.Wave+1, why)
}

// commitWave ends the wave when all its regions are past barrier and bake. What holds a
// region is looked at again: a report lets only its own region's hold follow.
func (t *turn) commitWave() {
	ro := t.s.Rollout
	w := ro.Plan.Waves[ro.Wave]
	if ro.Paused || ro.Halt != "" {
		return
	}
	for _, r := range w.Regions {
		rr := t.s.Regions[r]
		if rr.Phase != PhaseBaking || rr.Hold != nil || rr.Late || rr.Purge == nil || rr.Purge.Verified.IsZero() || !t.s.goesOn(r) {
			return
		}
		tl := t.s.tally(r)
		if kind, _, _ := t.s.cause(r, tl); kind != "" || !tl.known || tl.waiting > 0 {
			return
		}
	}
	for _, r := range w.Regions {
		t.tellGates(r, fmt.Sprintf("wave %d", ro.Wave+1))
		t.commit(r)
	}
	if ro.Wave+1 == len(ro.Plan.Waves) {
		t.end(StatusDone)
		return
	}
	bake := w.Bake
	if t.s.hurries() {
		bake = 0
	}
	t.decide(KindPromote, "", map[string]string{"bake": bake.String()}, "wave %d is committed after its barriers and a bake of %s; wave %d is current", ro.Wave+1, bake, ro.Wave+2)
	t.own().Wave++
}

// commit makes the region's target its base.
func (t *turn) commit(r wire.Region) {
	rr := t.s.Regions[r]
	before := wire.Target{}
	if rr.Committed != nil {
		before, rr.Previous = *rr.Committed, Served{rr.Committed.Digest, rr.Committed.Epoch}
	}
	target := rr.Next.Target
	rr.Committed = &target
	rr.settle()
	rr.Times.Committed = t.s.Now
	ro := t.own()
	if ro.Before == nil {
		ro.Before = make(map[wire.Region]wire.Target)
	}
	if rr.Phase == PhaseRepurging {
		rr.Phase = PhaseReverted
		delete(ro.Before, r)
	} else {
		rr.Phase = PhaseCommitted
		ro.Before[r] = before
	}
	t.set(r, rr)
	inputs := map[string]string{"digest": target.Digest.String(), "before": before.Digest.String(), "purge_round": fmt.Sprint(rr.Purge.Round)}
	if rr.Purge.Nothing != "" {
		t.decide(KindCommit, r, inputs, "%s runs %s: confirmed and committed; no purge to wait for: %s", r, target.Version, rr.Purge.Nothing)
		return
	}
	t.decide(KindCommit, r, inputs, "%s runs %s: confirmed, purged and committed", r, target.Version)
}

func (t *turn) end(status RolloutStatus) {
	ro := t.own()
	ro.Status, ro.Ended, ro.Paused = status, t.s.Now, false
	ro.unhalt()
	took := ro.Ended.Sub(ro.Started).Round(time.Second)
	t.decide(KindDone, "", map[string]string{"status": string(status)}, "rollout %s is %s after %s", ro.ID, status, took)
}
