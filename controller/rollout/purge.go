package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// open reports whether the round is neither verified nor given up.
func (p *PurgeRecord) open() bool { return p.Verified.IsZero() && p.Failed == "" }

// Awaits reports whether the engine waits for the end of a purge. What a region has left behind is
// no concern of anybody's: the purge that followed covers it.
func (s State) Awaits(r wire.Region, e wire.Epoch, round int) bool {
	p := s.Regions[r].Purge
	return p != nil && p.Epoch == e && p.Round == round && p.open()
}

// overdue reports whether the round is open for longer than the plan allows.
func (p *PurgeRecord) overdue(plan Plan, now time.Time) bool {
	return p.open() && now.Sub(p.Requested) >= plan.Deadline.Std()
}

// moving reports whether agents switch, so that a purge follows anyway.
func (p RegionPhase) moving() bool {
	switch p {
	case PhaseActivating, PhaseRetreating, PhaseReverting:
		return true
	}
	return false
}

// requestPurge asks for the next round of the epoch that all agents of the region have just
// confirmed, or had confirmed when late ones followed.
func (t *turn) requestPurge(r wire.Region, why string) {
	rr := t.s.Regions[r]
	epoch, round, to := rr.epoch(), 1, wire.Digest{}
	switch rr.Phase {
	case PhasePurging, PhaseRepurging, PhaseBaking:
		to = rr.Next.Digest
	default:
		epoch, to = rr.Purge.Epoch, rr.Purge.To
	}
	if rr.Purge != nil && rr.Purge.Epoch == epoch {
		round = rr.Purge.Round + 1
	}
	from := rr.ServedBesides(to)
	rr.Purge = &PurgeRecord{Epoch: epoch, Round: round, From: from, To: to, Requested: t.s.Now}
	rr.Covered, rr.Late = t.s.confirmedAt(r, epoch), false
	t.set(r, rr)
	inputs := map[string]string{"epoch": epoch.String(), "round": fmt.Sprint(round), "to": to.String(), "covered": fmt.Sprint(rr.Covered.Len())}
	for i, s := range from {
		inputs[fmt.Sprintf("from%d", i+1)] = s.Digest.String() + "@" + s.Epoch.String()
	}
	t.decide(KindPurge, r, inputs, "purging %s, round %d: %s", r, round, why)
}

// confirmedAt returns the agents, drained ones included, that confirmed the epoch.
func (s State) confirmedAt(r wire.Region, e wire.Epoch) AgentSet {
	var keys []agentKey
	if m := s.View.Members[r]; m != nil {
		for _, a := range m.Agents {
			if confirmed(a, e) {
				keys = append(keys, a.key)
			}
		}
	}
	return newAgentSet(keys)
}

// purgeLate asks for a further round after agents that switched when the region's purge was
// already on its way. During an activation it waits for the purge that will follow anyway.
func (t *turn) purgeLate(r wire.Region) {
	rr := t.s.Regions[r]
	if !rr.Late || rr.Purge == nil || rr.Purge.Verified.IsZero() || rr.Phase.moving() {
		return
	}
	t.requestPurge(r, "an agent switched after the last purge was requested")
}

func (t *turn) purgeVerified(e PurgeVerified) {
	rr := t.s.Regions[e.Region]
	if !t.s.Awaits(e.Region, e.Epoch, e.Round) {
		return
	}
	p := *rr.Purge
	p.Verified, p.Nothing, p.Unseen, p.Stale = t.s.Now, e.Nothing, "", ""
	rr.Purge = &p
	rr.Served = t.s.servedAfter(e.Region, rr)
	phase := rr.Phase
	if phase == PhasePurging {
		rr.Phase = PhaseBaking
	}
	if phase == PhasePurging || phase == PhaseRepurging {
		rr.Times.Barrier = t.s.Now
	}
	t.set(e.Region, rr)
	inputs := map[string]string{"epoch": e.Epoch.String(), "round": fmt.Sprint(e.Round), "took": t.s.Now.Sub(p.Requested).String()}
	switch {
	case e.Nothing != "":
		t.decide(KindBarrier, e.Region, inputs, "no purge to wait for in %s: %s", e.Region, e.Nothing)
	case e.Seen != "":
		inputs["seen"] = wire.Clip(e.Seen)
		t.decide(KindBarrier, e.Region, inputs, "purge round %d of %s is verified: %s", e.Round, e.Region, wire.Clip(e.Seen))
	default:
		t.decide(KindBarrier, e.Region, inputs, "purge round %d of %s is verified", e.Round, e.Region)
	}
	if phase == PhaseRepurging {
		t.commit(e.Region)
	}
}

// servedAfter returns what caches may hold once the region's purge is verified: while any
// agent has not switched, everything it might come back with. What has the new content was
// not purged, but stays cached under the tags of its own, older epochs.
func (s State) servedAfter(r wire.Region, rr RegionRecord) []Served {
	m := s.View.Members[r]
	if m == nil || rr.Phase.moving() {
		return rr.Served
	}
	for _, a := range m.Agents {
		if !rr.Covered.has(a.key) {
			return rr.Served
		}
	}
	same := slices.DeleteFunc(slices.Clone(rr.Served), func(s Served) bool { return s.Digest != rr.Purge.To })
	return withServed(same, rr.Purge.To, rr.Purge.Epoch)
}

// purgeUnverified notes why the purge cannot be verified: its region holds until it can, and no
// longer than the plan allows. What is stale is purged again meanwhile.
func (t *turn) purgeUnverified(e PurgeUnverified) {
	rr := t.s.Regions[e.Region]
	if !t.s.Awaits(e.Region, e.Epoch, e.Round) {
		return
	}
	p := *rr.Purge
	p.Unseen, p.Stale = wire.Clip(e.Reason), ""
	if e.Stale {
		p.Unseen, p.Stale = "", p.Unseen
	}
	rr.Purge = &p
	t.set(e.Region, rr)
}

// purgeReverts reports whether the plan takes the wave back for a purge of the region that
// failed, or is not verified in time.
func (s State) purgeReverts(rr RegionRecord) bool {
	ro := s.active()
	return ro != nil && ro.Ending == "" && ro.Plan.OnPurgeFailure == RevertWave && (rr.Phase == PhasePurging || rr.Phase == PhaseBaking)
}

func (t *turn) purgeFailed(e PurgeFailed) {
	rr := t.s.Regions[e.Region]
	if !t.s.Awaits(e.Region, e.Epoch, e.Round) {
		return
	}
	p := *rr.Purge
	p.Failed, p.Unseen, p.Stale = wire.Clip(cmp.Or(e.Reason, "no reason given")), "", ""
	rr.Purge = &p
	t.set(e.Region, rr)
	inputs := map[string]string{"region": string(e.Region), "epoch": e.Epoch.String(), "round": fmt.Sprint(e.Round)}
	ro := t.s.active()
	if t.s.purgeReverts(rr) {
		t.decide(KindRevert, "", inputs, "taking %s back (%s): purge round %d of %s failed: %s", t.s.what(), ro.Plan.OnPurgeFailure, e.Round, e.Region, p.Failed)
		t.takeBack(StatusReverted, false)
		return
	}
	if ro != nil && ro.Halt == "" && rr.Phase != PhaseIdle {
		t.halt(inputs, "purge round %d of %s failed: %s", e.Round, e.Region, p.Failed)
		return
	}
	t.decide(KindHold, e.Region, inputs, "purge round %d of %s failed, resume to try again: %s", e.Round, e.Region, p.Failed)
}

// ServedBesides returns what the region's caches may hold besides a bundle, ascending: what
// a purge that follows its activation is for. Where that is nothing, it is what was
// committed before, so that a repeated activation purges the same again.
func (rr RegionRecord) ServedBesides(to wire.Digest) []Served {
	from := slices.DeleteFunc(slices.Clone(rr.Served), func(s Served) bool { return s.Digest == to })
	if len(from) == 0 && !rr.Previous.Digest.IsZero() && rr.Previous.Digest != to {
		from = append(from, rr.Previous)
	}
	slices.SortFunc(from, Served.compare)
	return from
}

// sameEpochs returns the epochs before that of the region's purge, ascending, at which it served
// what the purge is to leave. An epoch that an agent reports with another bundle is none of them.
func (rr RegionRecord) sameEpochs() (same []wire.Epoch) {
	p := rr.Purge
	for _, s := range rr.Served {
		other := func(o Served) bool { return o.Epoch == s.Epoch && o.Digest != p.To }
		if s.Digest == p.To && s.Epoch < p.Epoch && !slices.ContainsFunc(rr.Served, other) && !slices.ContainsFunc(p.From, other) {
			same = append(same, s.Epoch)
		}
	}
	slices.Sort(same)
	return same
}

// maxServed bounds what a region's caches are remembered to hold.
const maxServed = 64

// withServed appends a bundle at its epoch, once; the oldest go beyond maxServed.
func withServed(list []Served, d wire.Digest, e wire.Epoch) []Served {
	if d.IsZero() || slices.Contains(list, Served{d, e}) {
		return list
	}
	list = append(slices.Clone(list), Served{d, e})
	return list[max(0, len(list)-maxServed):]
}
