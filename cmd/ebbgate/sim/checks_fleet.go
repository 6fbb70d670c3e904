package sim

import (
	"regexp"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// admission is an agent in the cohort of an epoch.
type admission struct {
	agent wire.AgentID
	epoch wire.Epoch
}

// published: what agents are told is never ahead of the journal, and goes on from what
// they were told last.
func (w *world) published(c *controller, r wire.Region, d *document) {
	if v, ok := w.bus.journal["want."+string(r)].value.(want); !ok || v.sequence() < d.sequence {
		w.fail("%s orders document %d of %s, which its journal on the bus lacks", c.name, d.sequence, r)
	}
	old := w.bus.wants[r]
	if old != nil && (d.sequence < old.sequence || d.sequence == old.sequence && d != old) {
		w.fail("%s puts document %d of %s after %d", c.name, d.sequence, r, old.sequence)
	}
	known := c.state.Regions[r].LastEpoch
	for _, t := range targets(d.order) {
		if t.Epoch > known {
			w.fail("%s orders epoch %d of %s, and its record knows of none above %d", c.name, t.Epoch, r, known)
		}
	}
	w.ordered(r, d.order)
}

func targets(o wire.Order) (all []wire.Target) {
	if o.Base != nil {
		all = append(all, *o.Base)
	}
	if o.Next != nil {
		all = append(all, o.Next.Target)
	}
	return all
}

// ordered: an activation is of a new epoch, and an epoch names one bundle.
func (w *world) ordered(r wire.Region, o wire.Order) {
	next := o.Next
	if next == nil || next.Phase != wire.PhaseActivate {
		return
	}
	last := w.checks.last[r]
	if next.Epoch < last.epoch || next.Epoch == last.epoch && next.Digest != last.digest {
		w.fail("%s is ordered %s at epoch %d after %s at %d", r, next.Digest.Short(), next.Epoch, last.digest.Short(), last.epoch)
	}
	w.checks.last[r] = content{next.Digest, next.Epoch}
	for _, n := range w.nodes[r] {
		a := admission{n.id, next.Epoch}
		if _, known := w.checks.let[a]; !known && next.Cohort.Has(n.id) {
			w.checks.let[a] = w.now
		}
	}
}

// passed: a cut-off that is raised lets in nobody who is drained or not heard of, and so not
// counted, before it is raised over all.
func (w *world) passed(after rollout.State, r wire.Region, was, is *wire.Transit) {
	if is == nil || is.Phase != wire.PhaseActivate || is.Cohort.CutOff == wire.AllScores || after.View.Members[r] == nil {
		return
	}
	for _, a := range after.View.Members[r].Agents {
		if was != nil && was.Phase == is.Phase && was.Epoch == is.Epoch && was.Cohort.Has(a.ID) || !is.Cohort.Has(a.ID) {
			continue
		}
		if a.Drained || a.Report == nil || after.Now.Sub(a.Stored) > lost {
			w.fail("%s may switch at epoch %d of %s, and is drained or was not heard of when it was let in", a.ID, is.Epoch, r)
		}
	}
}

// inFlight: of the agents that the controller hears, no more than the budget switch at a
// time, but for those that were let go of.
func (w *world) inFlight(began *node) {
	c := w.leader()
	if c == nil {
		return
	}
	rr := c.state.Regions[began.region]
	if rr.Phase != rollout.PhaseActivating && rr.Phase != rollout.PhaseRetreating && rr.Phase != rollout.PhaseReverting || rr.Next.Epoch != began.state.Switch.To.Epoch {
		return
	}
	p := c.state.Rollout.Plan
	serving, flying, excused := 0, 0, p.MaxFailures+len(rr.Acked)
	for _, n := range w.nodes[began.region] {
		if n.drained {
			continue
		}
		serving++
		m := w.bus.reports[n.id]
		if max(w.now.Sub(m.stored), c.clock().Sub(m.stored)) > lost {
			excused++ // silent: it may come back in the middle
		}
		if sw := n.state.Switch; sw != nil && sw.To.Epoch == rr.Next.Epoch {
			flying++
		}
	}
	budget := w.budget(c.state, began.region, serving)
	if c.state.View.Since.Add(2*lost).After(c.clock()) || c.back.Add(lost).After(w.now) || c.jumped.Add(2*lost).After(w.now) {
		return // it has heard too little, or at the wrong time, to be held to what it let go of
	}
	if flying > budget+p.MaxUnreachable.Floor(serving)+excused+w.checks.returned(w, began.region) {
		w.fail("%s: %d agents switch at once, at most %d and %d", began.region, flying, budget, excused)
	}
}

// budget is how many agents of a region may be in flight, counted from the plan.
func (w *world) budget(s rollout.State, r wire.Region, serving int) int {
	ro := s.Rollout
	steps, blueGreen := 1, false
	if s.Regions[r].Phase == rollout.PhaseActivating {
		for _, wave := range ro.Plan.Waves {
			if slices.Contains(wave.Regions, r) {
				steps, blueGreen = len(wave.AllSteps()), wave.Strategy == rollout.StrategyBlueGreen
			}
		}
	}
	budget := max(1, ro.Plan.MaxUnavailable.Floor(serving))
	switch {
	case blueGreen:
		budget = serving
	case steps == 1:
		budget = min(budget, max(1, serving-1))
	}
	if ro.Glass != nil {
		budget = min(budget, max(1, serving/2))
	}
	return budget
}

// returned counts agents that were drained, enrolled again or came back lately: they may
// switch with a cohort that was widened without them, or the budget was made with them.
func (c *checks) returned(w *world, r wire.Region) (count int) {
	for _, n := range w.nodes[r] {
		if n.back.Add(2 * lost).After(w.now) {
			count++
		}
	}
	return count
}

var tooSlow = regexp.MustCompile(`^\S+/(\S+) did not (stage|confirm) within `)

// blamed: an agent is not called too slow that was away, or that could not know what was
// wanted of it, for most of the time that it had.
func (w *world) blamed(c *controller, before rollout.State, d rollout.Decision) {
	found := tooSlow.FindStringSubmatch(d.Inputs["first"])
	if found == nil {
		return
	}
	n, deadline := w.byID[wire.AgentID(found[1])], c.state.Rollout.Plan.Deadline.Std()
	since := c.clock().Sub(c.state.View.Since)
	if w.now.Sub(c.jumped) < 2*deadline || w.now.Sub(c.back) < 2*deadline || since < 2*deadline {
		return
	}
	if had := w.now.Sub(n.returned); had < deadline-5*time.Second {
		w.fail("%s came back %s ago and is called too slow after %s: %s", n.id, had, deadline, d.Reason)
	}
	next := before.Regions[n.region].Next
	if found[2] == "stage" || next == nil {
		return
	}
	run := n.state.Running
	if ran := w.now.Sub(n.started); run != nil && run.Epoch == next.Epoch && n.state.Back == nil && ran < deadline-5*time.Second {
		w.fail("%s had confirmed, its agent started %s ago, and it is called too slow after %s: %s", n.id, ran, deadline, d.Reason)
	}
	if let, ok := w.checks.let[admission{n.id, next.Epoch}]; !ok || w.now.Sub(let) < deadline-lost-5*time.Second {
		w.fail("%s may switch since %s and is called too slow after %s: %s", n.id, let.Format("15:04:05"), deadline, d.Reason)
	}
}
