package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// steps returns how the region widens: a revert and a rolling wave in one step, which the
// budget alone divides.
func (rr RegionRecord) steps(w Wave) []PlanStep {
	if rr.Phase == PhaseActivating && w.Strategy == StrategyCanary {
		return w.Steps
	}
	return []PlanStep{{Activate: Share(100)}}
}

// budget is how many agents may be in flight. Without steps it is never a whole region,
// whatever the plan's number is.
func (p Plan) budget(steps, serving int) int {
	n := max(1, p.MaxUnavailable.Floor(serving))
	if steps == 1 {
		n = min(n, max(1, serving-1))
	}
	return n
}

// widen lets more agents of an activating or reverting region switch, as far as step and
// budget allow, and asks for the purge when the last has confirmed.
func (t *turn) widen(r wire.Region, tl tally) {
	ro, rr := t.s.Rollout, t.s.Regions[r]
	w := ro.Plan.waveOf(r)
	steps := rr.steps(w)
	last := rr.Step == len(steps)-1
	goal := min(steps[rr.Step].Activate.Ceil(tl.serving), tl.Live)
	if last {
		goal = tl.Live
	}
	open := last && tl.Silent <= tl.tolerates(ro.Plan) // to whoever comes later
	if tl.InCohort < goal || open && rr.Next.Cohort.CutOff != wire.AllScores {
		if ro.Paused {
			return
		}
		budget := ro.Plan.budget(len(steps), tl.serving)
		room := min(budget-tl.InFlight, goal-tl.InCohort)
		if room > 0 || tl.InCohort >= goal {
			t.raise(r, tl, room, open, budget)
		}
		return
	}
	if tl.InFlight > 0 {
		return
	}
	if last {
		if open && tl.waiting == 0 {
			t.confirm(r, tl)
		}
		return
	}
	t.step(r, tl, steps)
}

// raise lifts the cut-off over the next agents in score order and, with open, past the last
// of them over all, for agents yet to come.
func (t *turn) raise(r wire.Region, tl tally, room int, open bool, budget int) {
	rr := t.s.Regions[r]
	next := *rr.Next
	var out []wire.Score // of live agents outside, ascending
	lowest := wire.AllScores
	for _, a := range t.s.View.Members[r].Agents {
		if a.Drained {
			continue
		}
		if in := inCohort(rr, a); !in && t.s.presence(a) == live {
			out = append(out, a.score)
		} else if in && !confirmed(a, next.Epoch) {
			lowest = min(lowest, a.score)
		}
	}
	slices.Sort(out)
	room = max(0, min(room, len(out)))
	if room > 0 {
		next.Cohort.CutOff = max(next.Cohort.CutOff, out[room-1])
	}
	if open && room == len(out) {
		next.Cohort.CutOff = wire.AllScores
	}
	rr.Next = &next
	rr.Ladder = climb(rr.Ladder, lowest, Rung{next.Cohort.CutOff, t.s.Now})
	t.issue(&rr)
	t.set(r, rr)
	inputs := countInputs(tl)
	inputs["cutoff"], inputs["budget"], inputs["step"] = next.Cohort.CutOff.String(), fmt.Sprint(budget), fmt.Sprint(rr.Step+1)
	if room == 0 {
		t.decide(KindWiden, r, inputs, "all live agents of %s may switch, and whoever comes later", r)
		return
	}
	t.decide(KindWiden, r, inputs, "%d more of %d live agents of %s may switch: %d in flight, at most %d", room, tl.Live, r, tl.InFlight, budget)
}

// maxRungs bounds the ladder. Beyond it an agent gets more time, never less.
const maxRungs = 64

// climb adds a rung, and drops those below the lowest agent somebody still waits for.
func climb(ladder []Rung, lowest wire.Score, rung Rung) []Rung {
	ladder = slices.DeleteFunc(slices.Clone(ladder), func(r Rung) bool { return r.CutOff < lowest })
	if len(ladder) >= maxRungs {
		ladder = ladder[:maxRungs-1]
	}
	i, known := slices.BinarySearchFunc(ladder, rung.CutOff, func(r Rung, s wire.Score) int { return cmp.Compare(r.CutOff, s) })
	if !known {
		ladder = slices.Insert(ladder, i, rung)
	}
	return ladder
}

// step ends a step of a canary once it is confirmed and baked.
func (t *turn) step(r wire.Region, tl tally, steps []PlanStep) {
	rr := t.s.Regions[r]
	bake := steps[rr.Step].Bake
	if rr.Times.StepDone.IsZero() {
		rr.Times.StepDone = t.s.Now
		t.set(r, rr)
		t.decide(KindStep, r, countInputs(tl), "step %d of %d in %s is confirmed by %d agents; baking %s", rr.Step+1, len(steps), r, tl.Confirmed, bake)
	}
	if t.s.Rollout.Paused || t.s.Now.Before(rr.Times.StepDone.Add(bake.Std())) {
		return
	}
	rr.Step++
	rr.Times.StepDone = time.Time{}
	t.set(r, rr)
}

// confirm notes that every serving agent confirmed, and asks for the purge. Nothing asks for
// it earlier.
func (t *turn) confirm(r wire.Region, tl tally) {
	rr := t.s.Regions[r]
	rr.Times.Confirmed = t.s.Now
	if rr.Phase == PhaseActivating {
		rr.Phase = PhasePurging
	} else {
		rr.Phase = PhaseRepurging
	}
	t.set(r, rr)
	inputs := countInputs(tl)
	t.decide(KindConfirm, r, inputs, "%d of %d serving agents of %s confirmed %s; left behind: %d silent, %d failed", tl.Confirmed, tl.serving, r, rr.Next.Version, tl.Silent, tl.Failed)
	t.requestPurge(r, "every activation is followed by a purge")
}

// issue stamps an activation order: it is valid for two deadlines.
func (t *turn) issue(rr *RegionRecord) {
	rr.Issued = t.s.Now
	rr.Next.Expires = t.s.Now.Add(2 * t.s.Rollout.Plan.Deadline.Std())
}

// refresh issues an activation order again when half its time is gone. If it has run out
// meanwhile, nobody was able to act on it, and deadlines begin anew.
func (t *turn) refresh(r wire.Region) {
	rr := t.s.Regions[r]
	ro := t.s.active()
	if ro == nil || rr.Next == nil || rr.Next.Phase != wire.PhaseActivate || t.s.Now.Sub(rr.Issued) < ro.Plan.Deadline.Std() {
		return
	}
	if t.s.Now.After(rr.Next.Expires) {
		rr.Returned = t.s.Now
	}
	next := *rr.Next
	rr.Next = &next
	t.issue(&rr)
	t.set(r, rr)
}

// waveOf returns the wave of the region.
func (p Plan) waveOf(r wire.Region) Wave {
	for _, w := range p.Waves {
		if slices.Contains(w.Regions, r) {
			return w
		}
	}
	return Wave{}
}
