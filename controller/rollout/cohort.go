package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// steps returns how the region widens: forward by its wave's steps, back in one, which the
// budget alone divides.
func (rr RegionRecord) steps(w Wave) []PlanStep {
	if rr.Phase == PhaseActivating {
		return w.AllSteps()
	}
	return Wave{}.AllSteps()
}

// Budget returns how many agents of the region may be in flight. Without steps it is never
// a whole region, whatever the plan's number is, but where every live agent of a blue-green
// region has armed the release at the epoch ordered; in an emergency it is at most half.
func (s State) Budget(r wire.Region) int {
	ro, rr := s.Rollout, s.Regions[r]
	tl := s.tally(r)
	if rr.Phase != PhaseActivating {
		return ro.Plan.AtOnce(Wave{}, tl.serving, false, ro.Glass != nil)
	}
	return ro.Plan.AtOnce(ro.Plan.waveOf(r), tl.serving, tl.Armed+tl.failed == tl.Live, ro.Glass != nil)
}

// AtOnce is [State.Budget] of a region of the wave with so many serving agents, all of which have
// armed the release or not.
func (p Plan) AtOnce(w Wave, serving int, armed, emergency bool) int {
	n := max(1, p.MaxUnavailable.Floor(serving))
	if len(w.AllSteps()) == 1 {
		n = min(n, max(1, serving-1))
	}
	if armed && w.Strategy == StrategyBlueGreen {
		n = serving
	}
	if emergency {
		n = min(n, max(1, serving/2))
	}
	return n
}

// widen lets more agents of an activating or reverting region switch, as far as step and
// budget allow, and asks for the purge when the last has confirmed.
func (t *turn) widen(r wire.Region, tl tally) {
	ro, rr := t.s.Rollout, t.s.Regions[r]
	steps := rr.steps(ro.Plan.waveOf(r))
	last := rr.Step == len(steps)-1
	most := max(1, tl.serving-1) // a step before the last leaves somebody out, however large its number is
	goal := min(steps[rr.Step].Activate.Ceil(tl.serving), tl.Live, most)
	if last {
		goal = tl.Live
	}
	budget := t.s.Budget(r)
	if rr.Phase == PhaseReverting {
		if astray := t.s.astray(r); len(astray) > 0 {
			if room := min(budget-tl.InFlight, len(astray)); room > 0 && !ro.Paused {
				t.name(r, tl, astray[:room], "%d more of %d agents of %s that run something else go back first: %d in flight, at most %d", room, len(astray), r, tl.InFlight, budget)
			}
			return
		}
	}
	open := last && tl.Silent <= tl.tolerates(ro.Plan) // to whoever comes later
	if tl.InCohort < goal || open && rr.Next.Cohort.CutOff != wire.AllScores {
		if ro.Paused {
			return
		}
		room := min(budget-tl.InFlight, goal-tl.InCohort)
		if room > 0 || tl.InCohort >= goal {
			t.raise(r, tl, room, open, budget)
		}
		return
	}
	if kinds := t.s.uncovered(r); rr.Step == 0 && !last && tl.InCohort < most && len(kinds) > 0 {
		if room := min(budget-tl.InFlight, len(kinds), most-tl.InCohort); room > 0 && !ro.Paused {
			t.cover(r, tl, kinds[:room])
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

const (
	maxKinds = 64   // agents that join a first cohort by name
	maxNamed = 4096 // agents that an order names at all, and as many that it excepts

	// MaxNames is how many bytes the names in a region's order take at most.
	MaxNames = 192 << 10
)

// SizeOfNames returns how many bytes the names in an order take.
func SizeOfNames(o wire.Order) int {
	if o.Next == nil {
		return 0
	}
	return sizeOf(o.Next.Cohort.Named...) + sizeOf(o.Next.Cohort.Except...)
}

func sizeOf(names ...wire.AgentID) (n int) {
	for _, id := range names {
		n += len(id) + len(`"",`)
	}
	return n
}

// room returns how many bytes the names in the region's order may take.
func (s State) room(r wire.Region) int {
	if n, less := s.Room[r]; less {
		return n
	}
	return MaxNames
}

// nameable returns those of the agents, the first ones, that the region's order has room to name.
func (s State) nameable(r wire.Region, agents []*Agent) []*Agent {
	o := s.Regions[r].order()
	room, named := s.room(r)-SizeOfNames(o), len(o.Next.Cohort.Named)
	for i, a := range agents {
		if room -= sizeOf(a.ID); room < 0 || named+i >= maxNamed {
			return agents[:i]
		}
	}
	return agents
}

// uncovered returns an agent, the lowest by score, of each kind that the region's live
// agents are of and none in its cohort is: a kind is a version of the agent and of the data
// plane. What breaks one kind only has to show before the rest of it switches.
func (s State) uncovered(r wire.Region) []*Agent {
	type kind struct{ build, plane string }
	rr := s.Regions[r]
	covered := make(map[kind]bool)
	var others []*Agent
	for _, a := range s.View.Members[r].Agents {
		if a.Drained || s.presence(a) != live {
			continue
		}
		if inCohort(rr, a) {
			covered[kind{a.Build, a.Report.Plane}] = true
		} else {
			others = append(others, a)
		}
	}
	slices.SortFunc(others, byScore)
	var first []*Agent
	for _, a := range others {
		k := kind{a.Build, a.Report.Plane}
		if !covered[k] {
			covered[k] = true
			first = append(first, a)
		}
	}
	return s.nameable(r, first[:min(len(first), max(0, maxKinds-len(rr.Next.Cohort.Named)))])
}

// astray returns the live agents, the lowest by score first, that may not switch yet and run
// something else than the region goes over to. All others of a region that goes back serve what it
// goes back to, only at an older epoch.
func (s State) astray(r wire.Region) []*Agent {
	rr := s.Regions[r]
	var astray []*Agent
	for _, a := range s.View.Members[r].Agents {
		if !a.Drained && s.presence(a) == live && !inCohort(rr, a) && a.Report.Running != nil && a.Report.Running.Digest != rr.Next.Digest {
			astray = append(astray, a)
		}
	}
	slices.SortFunc(astray, byScore)
	return s.nameable(r, astray)
}

// cover lets agents switch by name, each for its kind.
func (t *turn) cover(r wire.Region, tl tally, more []*Agent) {
	var kinds []string
	for _, a := range more {
		kinds = append(kinds, fmt.Sprintf("%s (%s on %s)", a.ID, cmp.Or(a.Build, "an unknown build"), cmp.Or(a.Report.Plane, "an unknown data plane")))
	}
	t.name(r, tl, more, "the first cohort of %s has to cover every kind of agent: %s may switch, too", r, strings.Join(kinds, ", "))
}

// name lets agents switch by name.
func (t *turn) name(r wire.Region, tl tally, more []*Agent, format string, args ...any) {
	rr := t.s.Regions[r]
	next := *rr.Next
	next.Cohort.Named = slices.Clone(next.Cohort.Named)
	var names []string
	for _, a := range more {
		next.Cohort.Named = append(next.Cohort.Named, a.ID)
		names = append(names, string(a.ID))
	}
	slices.Sort(next.Cohort.Named)
	rr.Next, rr.NamedAt, rr.Times.StepDone = &next, t.s.Now, time.Time{}
	t.issue(&rr)
	t.set(r, rr)
	inputs := countInputs(tl)
	inputs["named"] = wire.Clip(strings.Join(names, ", "))
	t.decide(KindWiden, r, inputs, format, args...)
}

// raise lifts the cut-off over the next agents in score order and, with open, past the last
// of them over all, for agents yet to come.
func (t *turn) raise(r wire.Region, tl tally, room int, open bool, budget int) {
	rr := t.s.Regions[r]
	next := *rr.Next
	var out, back []*Agent // live ones outside; those whom the cohort excepts come last
	lowest := wire.AllScores
	for _, a := range t.s.View.Members[r].Agents {
		if a.Drained {
			continue
		}
		_, excepted := slices.BinarySearch(next.Cohort.Except, a.ID)
		switch in := inCohort(rr, a); {
		case in && !confirmed(a, next.Epoch):
			lowest = min(lowest, a.score)
		case in || t.s.presence(a) != live:
		case excepted:
			back = append(back, a)
		default:
			out = append(out, a)
		}
	}
	slices.SortFunc(out, byScore)
	slices.SortFunc(back, byScore)
	out = append(out, back...)
	room = max(0, min(room, len(out)))
	if open && room == len(out) {
		next.Cohort.CutOff, next.Cohort.Except = wire.AllScores, nil
	} else {
		next.Cohort = t.s.View.Members[r].admit(next.Cohort, out[:room], t.s.room(r))
	}
	if room > len(out)-len(back) || next.Cohort.Except == nil && rr.Next.Cohort.Except != nil {
		rr.Returned = t.s.Now // the cut-off passed them long ago
	}
	rr.Next, rr.Times.StepDone = &next, time.Time{} // who joins is confirmed and baked, too
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

// admit lets agents into the cohort, which are the lowest by score of those that are live and
// outside. Whoever else the cut-off passes for that was not counted, being drained or not heard
// of, stays out: nobody knows how many of them come back at once.
func (m *Membership) admit(c wire.Cohort, join []*Agent, room int) wire.Cohort {
	from, joins := c.CutOff, make(map[wire.AgentID]bool)
	for _, a := range join {
		joins[a.ID] = true
		c.CutOff = max(c.CutOff, a.score)
	}
	return m.except(c, func(a *Agent) bool { return a.score > from && !joins[a.ID] }, joins, room)
}

// except leaves those agents out of the cohort whom its cut-off has passed and who are new to
// it, as far as there is room for their names, and lets in whom it left out before and who joins.
func (m *Membership) except(c wire.Cohort, fresh func(*Agent) bool, joins map[wire.AgentID]bool, room int) wire.Cohort {
	var except []wire.AgentID
	room -= sizeOf(c.Named...)
	for _, a := range m.Agents { // by ID
		_, out := slices.BinarySearch(c.Except, a.ID)
		_, named := slices.BinarySearch(c.Named, a.ID)
		if (out && !joins[a.ID] || !named && a.score <= c.CutOff && fresh(a)) && len(except) < maxNamed && room >= sizeOf(a.ID) {
			except = append(except, a.ID)
			room -= sizeOf(a.ID)
		}
	}
	c.Except = except
	return c
}

func byScore(a, b *Agent) int {
	return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.ID, b.ID))
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

// step ends a step once it is confirmed and baked, its gates pass and it is approved.
func (t *turn) step(r wire.Region, tl tally, steps []PlanStep) {
	rr := t.s.Regions[r]
	if rr.Times.StepDone.IsZero() {
		rr.Times.StepDone = t.s.Now
		t.set(r, rr)
		over, _ := t.s.baked(r)
		t.decide(KindStep, r, countInputs(tl), "step %d of %d in %s is confirmed by %s; baking %s", rr.Step+1, len(steps), r, Plural(tl.Confirmed, "agent"), wire.Duration(over.Sub(t.s.Now)))
	}
	if t.s.Rollout.Paused || !t.s.goesOn(r) {
		return
	}
	t.tellGates(r, fmt.Sprintf("step %d", rr.Step+1))
	rr = t.s.Regions[r]
	rr.Step++
	rr.Before, rr.Times.StepDone = rr.Next.Cohort, time.Time{}
	rr.unask()
	t.set(r, rr)
}

// confirm notes that every serving agent confirmed, and asks for the purge. Nothing asks for
// it earlier.
func (t *turn) confirm(r wire.Region, tl tally) {
	rr := t.s.Regions[r]
	rr.Times.Confirmed = t.s.Now
	if rr.Phase == PhaseActivating {
		rr.Phase = PhasePurging
		rr.unask()
	} else {
		rr.Phase = PhaseRepurging
	}
	t.set(r, rr)
	inputs := countInputs(tl)
	if skew, ok := t.s.skew(r); ok {
		inputs["skew"] = skew.String()
	}
	t.decide(KindConfirm, r, inputs, "%d of %d serving agents of %s confirmed %s; left behind: %d silent, %d failed", tl.Confirmed, tl.serving, r, rr.Next.Version, tl.Silent, tl.Failed)
	t.requestPurge(r, "every activation is followed by a purge")
}

// skew returns how far apart, by their own clocks, the first and the last agent switched to
// the region's epoch.
func (s State) skew(r wire.Region) (time.Duration, bool) {
	m := s.View.Members[r]
	if m == nil {
		return 0, false
	}
	var first, last time.Time
	for _, a := range m.Agents {
		if a.Drained || !switched(a, s.Regions[r].epoch()) || a.Report.Running.Since.IsZero() {
			continue
		}
		if at := a.Report.Running.Since; first.IsZero() || at.Before(first) {
			first = at
		}
		last = later(last, a.Report.Running.Since)
	}
	return last.Sub(first).Round(time.Millisecond), !first.IsZero()
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
