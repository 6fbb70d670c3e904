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
	let    map[admission]time.Time // since when an agent may switch
	// answers is the last that the metrics server said of each activation.
	answers map[measured]rollout.Measured
	waived  map[measured]bool            // since then
	people  map[measured]map[string]bool // who has approved since the region's agents had confirmed
}

// measured is an activation that gates are asked about.
type measured struct {
	region wire.Region
	epoch  wire.Epoch
}

func (c *checks) init() {
	c.purged, c.asked = make(map[round]bool), make(map[round]time.Time)
	c.last, c.let = make(map[wire.Region]content), make(map[admission]time.Time)
	c.waived = make(map[measured]bool)
	c.answers, c.people = make(map[measured]rollout.Measured), make(map[measured]map[string]bool)
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
			w.approvedBy(e.Decision)
			w.log("%s: %s %s: %s", c.name, e.Decision.Region, e.Decision.Kind, e.Decision.Reason)
			if c.holds() {
				w.judged(c, before, after, e.Decision)
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
		if w.phase[r] = is.Phase; is.Phase != was.Phase && is.Phase == w.quest.phase {
			w.found(r)
		}
		if is.Phase == rollout.PhaseActivating && (was.Phase == rollout.PhaseStaging || was.Phase == rollout.PhaseArming) {
			w.unfrozen(c, after, r)
			w.waveBegan(after, r)
			w.parallel(after, r)
		}
		w.passed(after, r, was.Next, is.Next)
		if is.Phase == rollout.PhaseCommitted && was.Phase != is.Phase {
			w.reached(is, r)
			w.gated(before, r)
		}
		if is.Phase == rollout.PhasePurging && was.Phase != is.Phase {
			delete(w.checks.people, measured{r, is.Next.Epoch}) // of its steps
			delete(w.checks.waived, measured{r, is.Next.Epoch})
		}
	}
}

// judged: single decisions.
func (w *world) judged(c *controller, before, after rollout.State, d rollout.Decision) {
	switch d.Kind {
	case rollout.KindBarrier:
		w.barrier(after, d.Region)
	case rollout.KindActivate, rollout.KindWiden, rollout.KindPromote:
		if was := before.Rollout; was != nil && was.Paused && was.ID == after.Rollout.ID && after.Rollout.Paused && after.Regions[d.Region].Phase != rollout.PhaseRetreating {
			w.fail("%s: %s: %s, although the rollout is paused", d.Region, d.Kind, d.Reason)
		}
	case rollout.KindRevert, rollout.KindHold:
		w.blamed(c, before, d)
	case rollout.KindDone:
		w.undone(after)
	}
}

// undone: a rollout that takes all of itself back leaves nothing.
func (w *world) undone(s rollout.State) {
	ro := s.Rollout
	if ro.Status != rollout.StatusReverted || ro.Plan.OnFailure != rollout.RevertAll || ro.Plan.OnPurgeFailure == rollout.RevertWave {
		return
	}
	for _, r := range w.regions {
		if s.Regions[r].Phase == rollout.PhaseCommitted {
			w.fail("rollout %s is reverted as a whole and %s is committed", ro.ID, r)
		}
	}
}

// took: a new leader goes on from what it knows.
func (w *world) took(c *controller) {
	for _, r := range w.regions {
		w.phase[r] = c.state.Regions[r].Phase
	}
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

// parallel: no more regions of a wave change at the same time than the plan lets.
func (w *world) parallel(s rollout.State, r wire.Region) {
	for _, wave := range s.Rollout.Plan.Waves {
		if !slices.Contains(wave.Regions, r) || wave.MaxParallel == 0 {
			continue
		}
		busy := 0
		for _, other := range wave.Regions {
			if p := s.Regions[other].Phase; p == rollout.PhaseActivating || p == rollout.PhasePurging {
				busy++
			}
		}
		if busy > wave.MaxParallel {
			w.fail("%s activates as one of %d, at most %d", r, busy, wave.MaxParallel)
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
