package sim

import (
	"slices"
	"time"

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
	purged map[round]bool          // the cdn has done it, twice
	asked  map[round]time.Time     // when it was decided
	last   map[wire.Region]content // the newest activation that was ordered active
}

func (c *checks) init() {
	c.purged, c.asked, c.last = make(map[round]bool), make(map[round]time.Time), make(map[wire.Region]content)
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
		if max(w.now.Sub(m.stored), c.clock().Sub(m.stored)) > lost {
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
	if c.state.View.Since.Add(2*lost).After(c.clock()) || c.back.Add(lost).After(w.now) || c.jumped.Add(2*lost).After(w.now) {
		return // it has heard too little, or at the wrong time, to be held to what it let go of
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
			if e.Decision.Kind == rollout.KindBarrier && c.holds() {
				w.barrier(after, e.Decision.Region)
			}
		case rollout.Purge:
			if c.holds() { // else it comes to nothing
				w.purgeAsked(after, e)
			}
		}
	}
	for _, r := range w.regions {
		was, is := before.Regions[r], after.Regions[r]
		w.count("phase " + phaseName(is.Phase))
		if is.LastEpoch < was.LastEpoch {
			w.fail("%s: epochs went from %d to %d", r, was.LastEpoch, is.LastEpoch)
		}
		o := rollout.OrderFor(after, r)
		d := wire.Desired{Fleet: "sim", Region: r, Sequence: 1, Issued: w.now, Apps: map[wire.App]wire.Order{app: o}}
		if err := d.Validate(); err != nil && (o.Base != nil || o.Next != nil) {
			w.fail("%s is ordered what nobody would accept: %v", r, err)
		}
		if !c.holds() {
			continue
		}
		w.phase[r] = is.Phase
		if is.Phase == rollout.PhaseActivating && was.Phase != is.Phase {
			w.waveBegan(after, r)
		}
		if is.Phase == rollout.PhaseCommitted && was.Phase != is.Phase {
			w.reached(is, r)
		}
	}
}

// took: a new leader goes on from what it knows.
func (w *world) took(c *controller) {
	for _, r := range w.regions {
		w.phase[r] = c.state.Regions[r].Phase
	}
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
	if o := d.order; o.Next != nil && o.Next.Epoch > known || o.Base != nil && o.Base.Epoch > known {
		w.fail("%s orders of %s what its record, which is at epoch %d, does not know: %+v", c.name, r, known, o)
	}
	w.ordered(r, d.order)
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

// heard: the leader knows that a node serves what it says.
func (w *world) heard(c *controller, m message) {
	if run := m.report.Running; run != nil && c == w.leader() {
		delete(w.caches[w.byID[m.agent].region].untold[content{run.Digest, run.Epoch}], turn{m.agent, m.turn})
	}
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
func (w *world) purgeAsked(s rollout.State, e rollout.Purge) {
	rr := s.Regions[e.Region]
	w.checks.asked[round{e.Region, e.Epoch, e.Round}] = w.now
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
func (w *world) barrier(s rollout.State, r wire.Region) {
	p := s.Regions[r].Purge
	if p == nil || p.Verified.IsZero() {
		return
	}
	if !w.checks.purged[round{r, p.Epoch, p.Round}] {
		w.fail("%s: round %d of epoch %d is verified and was not done", r, p.Round, p.Epoch)
	}
	for _, old := range w.caches[r].stale(p.To) {
		if w.caches[r].secret(old) && !slices.Contains(p.From, rollout.Served{Digest: old.digest, Epoch: old.epoch}) {
			w.count("served and never told")
			continue
		}
		if !w.caches[r].last[old].After(w.checks.asked[round{r, p.Epoch, p.Round}]) && !w.serves(r, old) {
			w.fail("%s is past its barrier at epoch %d and epoch %d may still be cached", r, p.Epoch, old.epoch)
		}
	}
}
