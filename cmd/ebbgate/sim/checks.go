package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// round is a purge round of a region.
type round struct {
	region wire.Region
	epoch  wire.Epoch
	n      int
}

// checks is what the checks remember of the past.
type checks struct {
	sink   sink
	purged map[round]bool          // the cdn has done it, twice
	last   map[wire.Region]content // the newest activation that was ordered active
}

func (c *checks) init() {
	c.purged, c.last = make(map[round]bool), make(map[wire.Region]content)
}

// served: a node serves only what was ordered of it and staged, at epochs that go down
// only on its own way back.
func (w *world) served(n *node) {
	c := n.live
	if c.digest.IsZero() {
		return
	}
	if !n.allowed[c] {
		w.fail("%s serves %s at epoch %d, which was never ordered of it", n.id, c.digest.Short(), c.epoch)
	}
	if !n.releases[c.digest] {
		w.fail("%s serves %s, which is not staged", n.id, c.digest.Short())
	}
}

// journaled: what an agent remembers goes one way.
func (w *world) journaled(n *node, point string, before plan.State) {
	s := n.state
	w.count("journal " + point)
	if s.Switch != nil && s.Back != nil {
		w.fail("%s: a switch and a return at once after %s", n.id, point)
	}
	if s.Floor.Compare(before.Floor) < 0 {
		w.fail("%s: the floor went from %s to %s", n.id, before.Floor, s.Floor)
	}
	if s.Highest.Epoch < before.Highest.Epoch {
		w.fail("%s: the highest epoch went from %d to %d", n.id, before.Highest.Epoch, s.Highest.Epoch)
	}
	if point == "switching" {
		to := s.Switch.To
		if before.Running != nil && to.Epoch < before.Running.Epoch || before.Switch != nil && to.Epoch < before.Switch.To.Epoch {
			w.fail("%s begins epoch %d below what it runs", n.id, to.Epoch)
		}
		if before.Floor.Compare(to.Version) > 0 {
			w.fail("%s begins %s below the floor %s", n.id, to.Version, before.Floor)
		}
		if !n.releases[to.Digest] {
			w.fail("%s begins %s, which is not staged", n.id, to.Version)
		}
		w.inFlight(n)
	}
	if s.Running != nil && before.Running != nil && s.Running.Epoch < before.Running.Epoch && point != "returned" {
		w.fail("%s: running went from epoch %d to %d at %s", n.id, before.Running.Epoch, s.Running.Epoch, point)
	}
	if point == "active" {
		n.confirmed[s.Running.Epoch] = true
		if n.live != (content{s.Running.Digest, s.Running.Epoch}) {
			w.fail("%s confirms epoch %d and serves %d", n.id, s.Running.Epoch, n.live.epoch)
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
	if rr.Phase != rollout.PhaseActivating && rr.Phase != rollout.PhaseReverting || rr.Next.Epoch != began.state.Switch.To.Epoch {
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
		if w.now.Sub(m.stored) > lost {
			excused++ // silent: it may come back in the middle
		}
		if sw := n.state.Switch; sw != nil && sw.To.Epoch == rr.Next.Epoch {
			flying++
		}
	}
	steps := 1
	if rr.Phase == rollout.PhaseActivating {
		for _, wave := range p.Waves {
			if slices.Contains(wave.Regions, began.region) && wave.Strategy == rollout.StrategyCanary {
				steps = len(wave.Steps)
			}
		}
	}
	budget := max(1, p.MaxUnavailable.Floor(serving))
	if steps == 1 {
		budget = min(budget, max(1, serving-1))
	}
	if c.state.View.Since.Add(2*lost).After(w.now) || c.back.Add(lost).After(w.now) {
		return // it has heard too little to be held to what it let go of
	}
	if flying > budget+p.MaxUnreachable.Floor(serving)+excused+w.checks.returned(w, began.region) {
		w.fail("%s: %d agents switch at once, at most %d and %d", began.region, flying, budget, excused)
	}
}

// returned counts agents that were enrolled again or came back lately, and so may switch
// with a cohort that was widened without them.
func (c *checks) returned(w *world, r wire.Region) (count int) {
	for _, n := range w.nodes[r] {
		if n.back.Add(2 * lost).After(w.now) {
			count++
		}
	}
	return count
}

// tidied: what may be served again is still there.
func (w *world) tidied(n *node, had map[wire.Digest]bool) {
	need := []wire.Digest{n.current.digest}
	if !n.current.digest.IsZero() { // else it went back to nothing
		need = append(need, n.live.digest)
	}
	s := n.state
	for _, r := range []*plan.Release{s.Running, s.Previous, s.Serving()} {
		if r != nil {
			need = append(need, r.Digest)
		}
	}
	if s.Switch != nil {
		need = append(need, s.Switch.To.Digest)
	}
	for _, r := range s.Soaked {
		need = append(need, r.Digest)
	}
	for _, d := range need {
		if had[d] && !n.releases[d] {
			w.fail("%s removed %s, which it may have to serve", n.id, d.Short())
		}
	}
}

func (w *world) purgeDone(e rollout.Purge, times int) {
	if times == 2 {
		w.checks.purged[round{e.Region, e.Epoch, e.Round}] = true
	}
}

// decided: what the engine decided, against the truth about the nodes.
func (w *world) decided(c *controller, before, after rollout.State, effects []rollout.Effect) {
	for _, eff := range effects {
		switch e := eff.(type) {
		case rollout.Decide:
			w.count("decision " + string(e.Decision.Kind))
			w.log("%s: %s %s: %s", c.name, e.Decision.Region, e.Decision.Kind, e.Decision.Reason)
			if e.Decision.Kind == rollout.KindBarrier {
				w.barrier(c, after, e.Decision.Region)
			}
		case rollout.Purge:
			w.purgeAsked(c, after, e)
		}
	}
	for _, r := range w.regions {
		was, is := before.Regions[r], after.Regions[r]
		if is.LastEpoch < was.LastEpoch {
			w.fail("%s: epochs went from %d to %d", r, was.LastEpoch, is.LastEpoch)
		}
		w.count("phase " + string(is.Phase))
		o := rollout.OrderFor(after, r)
		if o.Base == nil && o.Next == nil {
			continue
		}
		d := wire.Desired{Fleet: "sim", Region: r, Sequence: 1, Issued: w.now, Apps: map[wire.App]wire.Order{app: o}}
		if err := d.Validate(); err != nil {
			w.fail("%s is ordered what nobody would accept: %v", r, err)
		}
		if o.Next != nil && o.Next.Phase == wire.PhaseActivate && (was.Next == nil || was.Next.Phase != wire.PhaseActivate || was.Next.Epoch != o.Next.Epoch) {
			if is.Phase == rollout.PhaseActivating {
				w.waveBegan(after, r)
			}
		}
		if is.Phase == rollout.PhaseCommitted && was.Phase != rollout.PhaseCommitted {
			w.reached(is, r)
		}
	}
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
}

// waveBegan: every wave before is committed behind a barrier.
func (w *world) waveBegan(s rollout.State, r wire.Region) {
	for _, wave := range s.Rollout.Plan.Waves {
		if slices.Contains(wave.Regions, r) {
			return
		}
		for _, earlier := range wave.Regions {
			rr := s.Regions[earlier]
			if rr.Phase != rollout.PhaseCommitted {
				w.fail("%s begins while %s of the wave before is %s", r, earlier, rr.Phase)
			}
			w.reached(rr, earlier)
		}
	}
}

// reached: the cdn has done the purge that the region's barrier stands on.
func (w *world) reached(rr rollout.RegionRecord, r wire.Region) {
	done := false
	for i := 1; rr.Purge != nil && i <= rr.Purge.Round; i++ {
		done = done || w.checks.purged[round{r, rr.Committed.Epoch, i}]
	}
	if !done {
		w.fail("%s is committed at epoch %d without its purge", r, rr.Committed.Epoch)
	}
}

// purgeAsked: a region's first purge follows the last confirmation of those that are not
// left behind.
func (w *world) purgeAsked(c *controller, s rollout.State, e rollout.Purge) {
	rr := s.Regions[e.Region]
	if e.Round > 1 {
		w.count("late or repeated purge")
		return
	}
	p := s.Rollout.Plan
	serving, open := 0, 0
	for _, n := range w.nodes[e.Region] {
		if n.drained {
			continue
		}
		serving++
		if !n.confirmed[e.Epoch] {
			open++
		}
	}
	if most := p.MaxUnreachable.Floor(serving) + p.MaxFailures + len(rr.Acked); open > most {
		w.fail("%s is purged at epoch %d with %d agents that never confirmed it, at most %d", e.Region, e.Epoch, open, most)
	}
}

// barrier: nothing may be cached that was last served before the purge was asked for.
func (w *world) barrier(c *controller, s rollout.State, r wire.Region) {
	p := s.Regions[r].Purge
	if p == nil || p.Verified.IsZero() {
		return
	}
	if !w.checks.purged[round{r, p.Epoch, p.Round}] {
		w.fail("%s: round %d of epoch %d is verified and was not done", r, p.Round, p.Epoch)
	}
	for _, old := range w.caches[r].stale(p.To) {
		if !w.caches[r].last[old].After(p.Requested) && !w.serves(r, old) {
			w.fail("%s is past its barrier at epoch %d and epoch %d may still be cached", r, p.Epoch, old.epoch)
		}
	}
}

// rest: everything that is well comes to an end, within the time promised, and to the
// same content.
func (w *world) rest() {
	const patience = 10 * time.Minute
	for round := range 3 {
		for waited := time.Duration(0); waited < patience; waited += 20 * time.Second {
			w.run(20 * time.Second)
			if w.quiet() {
				w.run(2 * time.Minute) // late ones converge, and their purges follow
				if w.quiet() {
					w.settled()
					return
				}
			}
			if w.order(rollout.Resume{Now: w.now, By: "kim"}) {
				w.count("resumed at the end")
			}
		}
		w.log("round %d: not at rest", round+1)
		if !w.order(rollout.Abort{Now: w.now, By: "kim"}) {
			break
		}
		w.count("aborted at the end")
	}
	c := w.leader()
	if c == nil {
		w.fail("nobody leads %s after everything has healed", patience)
	}
	sum := rollout.Status(c.state)
	if sum.Rollout != nil {
		w.fail("rollout %s does not come to an end: %s, %s", sum.Rollout.ID, sum.Rollout.Status, sum.Rollout.Reason)
	}
	w.fail("the fleet does not come to rest")
}

// quiet reports whether nothing is under way.
func (w *world) quiet() bool {
	c := w.leader()
	if c == nil || c.state.Rollout != nil && !c.state.Rollout.Status.Ended() {
		return false
	}
	for _, r := range w.regions {
		if p := c.state.Regions[r].Purge; p != nil && p.Verified.IsZero() || c.state.Regions[r].Late {
			return false
		}
	}
	return true
}

// settled: every agent that has no reason of its own not to is at its region's committed
// epoch, and then no cache holds anything else.
func (w *world) settled() {
	c := w.leader()
	if c.state.Rollout != nil {
		w.count("ended " + string(c.state.Rollout.Status))
	}
	for _, r := range w.regions {
		rr := c.state.Regions[r]
		if rr.Committed == nil {
			continue
		}
		whole := true
		for _, n := range w.nodes[r] {
			if n.excused(*rr.Committed) {
				w.count("agent left with a reason")
				whole = false
				continue
			}
			if n.state.Running == nil || n.state.Running.Epoch != rr.Committed.Epoch || n.live != (content{rr.Committed.Digest, rr.Committed.Epoch}) {
				w.fail("%s does not converge: it serves epoch %d, its region is committed to %d", n.id, n.live.epoch, rr.Committed.Epoch)
			}
		}
		if !whole {
			continue
		}
		if old := w.caches[r].stale(rr.Committed.Digest); len(old) > 0 {
			w.fail("%s runs epoch %d everywhere and epoch %d may be cached", r, rr.Committed.Epoch, old[0].epoch)
		}
		w.count("region clean at the end")
	}
}

// excused reports whether the node will not run t whatever is ordered: it is bad there,
// below its floor, or pinned on the node.
func (n *node) excused(t wire.Target) bool {
	_, bad := n.state.Forbids(t)
	return bad || n.state.Floor.Compare(t.Version) > 0 || n.state.Pinned >= t.Epoch
}
