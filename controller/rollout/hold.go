package rollout

import (
	"cmp"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// hold begins or ends the hold of a region. What is unknown stops a region; it neither fails
// it nor lets it go on. A hold ends by itself, with one decision, when its cause does.
func (t *turn) hold(r wire.Region, tl tally) {
	ro, rr := t.s.Rollout, t.s.Regions[r]
	kind, reason, within := t.s.cause(r, tl)
	inputs := countInputs(tl)
	inputs["max_unreachable"], inputs["lost"] = ro.Plan.MaxUnreachable.String(), t.s.lost().String()
	switch {
	case rr.Hold == nil && kind == "":
	case rr.Hold != nil && kind != rr.Hold.Kind && (!tl.known || tl.waiting > 0):
		// After a start nobody has been heard of yet: no reason to think otherwise.
	case kind == HoldPurge && rr.Purge.overdue(ro.Plan, t.s.Now) && t.s.purgeReverts(rr):
		t.decide(KindRevert, "", inputs, "taking %s back (%s): %s: %s", t.s.what(), ro.Plan.OnPurgeFailure, r, reason)
		t.takeBack(StatusReverted, false)
	case rr.Hold == nil:
		rr.begin(Hold{Kind: kind, Reason: reason, Since: t.s.Now, Deadline: t.s.Now.Add(within)})
		t.set(r, rr)
		t.decide(KindHold, r, inputs, "holding %s: %s", r, reason)
	case kind == "":
		held := max(0, t.s.Now.Sub(rr.Hold.Since)).Round(time.Second)
		rr.seen(t.s.Now)
		if rr.Hold.Kind != HoldBehind && rr.Hold.Kind != HoldNobody { // the deadline that ends such a hold does not begin anew with its end
			rr.Returned = t.s.Now
		}
		rr.Hold = nil
		t.set(r, rr)
		t.decide(KindUnhold, r, inputs, "%s goes on after %s: the cause of the hold is gone", r, held)
	case kind != rr.Hold.Kind:
		if !kind.unseen() {
			rr.seen(t.s.Now)
		}
		rr.begin(Hold{Kind: kind, Reason: reason, Since: rr.Hold.Since, Deadline: t.s.Now.Add(within)})
		t.set(r, rr)
		t.decide(KindHold, r, inputs, "still holding %s: %s", r, reason)
	case !rr.Hold.Overdue && !t.s.Now.Before(rr.Hold.Deadline):
		h := *rr.Hold
		h.Overdue = true
		rr.Hold = &h
		t.set(r, rr)
		t.decide(KindHold, r, inputs, "still holding %s after %s, an operator has to decide: %s", r, max(0, t.s.Now.Sub(h.Since)).Round(time.Second), reason)
	case reason != rr.Hold.Reason && rr.Hold.Kind.tells():
		h := *rr.Hold
		h.Reason = reason
		rr.Hold = &h
		t.set(r, rr)
	}
}

// begin begins a hold. People who are asked to approve have until the same deadline, whatever
// held the region between.
func (rr *RegionRecord) begin(h Hold) {
	if h.Kind == HoldApproval {
		if rr.ApproveBy.IsZero() {
			rr.ApproveBy = h.Deadline
		}
		h.Deadline = rr.ApproveBy
	}
	rr.Hold = &h
}

// told returns a hold as people are told of it: of one that waits for an operator with whoever
// has failed by now, and of silence with what to do about it, unless nobody could be heard.
func (s State) told(h *Hold) *Hold {
	if h == nil {
		return nil
	}
	c := *h
	switch {
	case h.Kind == HoldSilent && !s.Deaf:
		c.Reason += "; drain or remove what is gone for good"
	case h.Kind == HoldOperator:
		f := s.failing()
		switch {
		case s.Rollout.Failing && len(f.all) > 0:
			c.Reason = wire.Clip(summarise(f.all))
		case !s.Rollout.Failing && f.beyond(s.Rollout.Plan):
			c.Reason = wire.Clip(h.Reason + "; " + summarise(f.all))
		}
	}
	return &c
}

// seen has a bake begin anew that was not seen until now.
func (rr *RegionRecord) seen(now time.Time) {
	if rr.Hold.Kind.unseen() {
		rr.Times.Baking = now
	}
}

// unseen reports whether a hold is of time in which the release was not seen at work in the
// region: no bake counts it, and begins anew after it.
func (k HoldKind) unseen() bool {
	return k == HoldSilent || k == HoldVanished || k == HoldMembers || k == HoldNobody
}

// tells reports whether the reason of such a hold changes while it lasts.
func (k HoldKind) tells() bool { return k == HoldGate || k == HoldApproval || k == HoldPurge }

// cause returns what the region has to wait for, or "", and how long it may.
func (s State) cause(r wire.Region, tl tally) (HoldKind, string, time.Duration) {
	plan, rr := s.Rollout.Plan, s.Regions[r]
	within := plan.Deadline.Std()
	switch rr.Phase {
	case PhaseStaging, PhaseArming, PhaseActivating, PhaseRetreating, PhasePurging, PhaseBaking, PhaseReverting, PhaseRepurging:
	case PhaseIdle, PhaseCommitted, PhaseReverted, PhaseDropped:
		return "", "", 0
	}
	if !tl.known {
		if s.Now.Sub(s.Since) <= s.lost() {
			return "", "", 0
		}
		return HoldMembers, "its list of agents is not known", within
	}
	beyond, held := tl.Silent > tl.tolerates(plan), rr.Hold != nil && rr.Hold.Kind == HoldVanished
	if n := len(tl.vanished); n > plan.MaxFailures && (held || !beyond) {
		return HoldVanished, fmt.Sprintf("%s vanished: %s %s", Plural(n, "agent"), tl.vanished[0].agent, tl.vanished[0].reason), within
	}
	if beyond {
		return HoldSilent, fmt.Sprintf("%s not heard of for %s, %d may be left behind: %s", Plural(tl.Silent, "agent"), s.lost(), tl.tolerates(plan), s.silentNames(r)), within
	}
	if p := rr.Purge; p != nil && p.overdue(plan, s.Now) {
		reason := fmt.Sprintf("purge round %d of epoch %d is not verified after %s", p.Round, p.Epoch, plan.Deadline)
		if why := cmp.Or(p.Unseen, p.Stale); why != "" {
			reason += ": " + why
		}
		return HoldPurge, reason, within
	} else if p != nil && p.open() && p.Unseen != "" {
		return HoldPurge, fmt.Sprintf("purge round %d of epoch %d cannot be verified: %s", p.Round, p.Epoch, p.Unseen), p.Requested.Add(within).Sub(s.Now)
	}
	if rr.Phase.onward() && tl.waiting == 0 && tl.Live > 0 && tl.failed == tl.Live { // whoever has acknowledged the failures
		return HoldNobody, fmt.Sprintf("nobody in %s runs %s, all that are heard of have failed: abort, or mend the nodes", r, rr.Next.Version), within
	}
	if n := tl.Live - tl.failed - tl.Confirmed; rr.Phase == PhaseBaking && n > 0 {
		return HoldBehind, fmt.Sprintf("%s not confirmed at epoch %d", Plural(n, "agent"), rr.epoch()), within
	}
	return s.waits(r)
}

// onward reports whether the region is on its way to what the rollout brings.
func (p RegionPhase) onward() bool {
	switch p {
	case PhaseStaging, PhaseArming, PhaseActivating, PhasePurging, PhaseBaking:
		return true
	}
	return false
}

// silentNames names the first few silent agents.
func (s State) silentNames(r wire.Region) string {
	names, n := "", 0
	for _, a := range s.View.Members[r].Agents {
		if a.Drained || s.presence(a) != silent {
			continue
		}
		if n++; n > 5 {
			return names + ", …"
		}
		if n > 1 {
			names += ", "
		}
		names += string(a.ID)
	}
	return names
}
