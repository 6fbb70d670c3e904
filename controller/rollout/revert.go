package rollout

import (
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// takeBack turns the rollout round, to end as ending. Regions of the current wave that
// ordered activation go back to what they ran, at a new, higher epoch; with all, so do the
// regions already committed. Regions that only staged drop the order.
func (t *turn) takeBack(ending RolloutStatus, all bool) {
	ro := t.own()
	ro.Ending, ro.Paused = ending, false
	ro.unhalt()
	for _, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			rr := t.s.Regions[r]
			switch rr.Phase {
			case PhaseStaging, PhaseArming:
				if rr.Mixed {
					t.revert(r, rr.base())
					continue
				}
				rr.Phase = PhaseDropped
				rr.settle()
				t.set(r, rr)
			case PhaseActivating, PhaseRetreating, PhasePurging, PhaseBaking:
				t.revert(r, rr.base())
			case PhaseCommitted:
				if all {
					t.revert(r, ro.Before[r])
				}
			case PhaseIdle, PhaseReverting, PhaseRepurging, PhaseReverted, PhaseDropped:
			}
		}
	}
}

// base returns what the region has committed; zero: nothing.
func (rr RegionRecord) base() wire.Target {
	if rr.Committed == nil {
		return wire.Target{}
	}
	return *rr.Committed
}

// renew forgets what belongs to the change before the one that begins.
func (rr *RegionRecord) renew(p RegionPhase) {
	rr.Phase, rr.Step, rr.NamedAt, rr.Ladder, rr.Acked, rr.Hold = p, 0, time.Time{}, nil, nil, nil
	rr.Before, rr.Retreat = wire.Cohort{}, nil
	rr.Readings, rr.Missed = nil, nil
	rr.unask()
}

// unask forgets what people have said at the step or wave that is over.
func (rr *RegionRecord) unask() { rr.Approvals, rr.ApproveBy, rr.Waived = nil, time.Time{}, "" }

// settle ends the change: nothing is under way in the region. What was acknowledged stays so.
func (rr *RegionRecord) settle() {
	acked := rr.Acked
	rr.renew(rr.Phase)
	rr.Next, rr.Mixed, rr.Acked = nil, false, acked
}

// revert orders the old content at a new epoch. A purge under way for the epoch that is
// left means nothing any more.
func (t *turn) revert(r wire.Region, old wire.Target) {
	rr := t.s.Regions[r]
	if old.Digest.IsZero() {
		t.stuck(r)
		return
	}
	bad := rr.epoch()
	rr.LastEpoch = t.s.nextEpoch(r)
	old.Epoch = rr.LastEpoch
	rr.Next = &wire.Transit{
		Target: old, Phase: wire.PhaseActivate, Healthy: t.s.Rollout.Plan.Healthy,
		Cohort: wire.Cohort{Seed: t.s.Rollout.Seed},
	}
	rr.renew(PhaseReverting)
	rr.Purge, rr.Covered, rr.Late = nil, nil, false
	rr.Served = withServed(rr.Served, old.Digest, old.Epoch)
	rr.Times = Times{Ordered: t.s.Now, Activated: t.s.Now}
	t.issue(&rr)
	t.set(r, rr)
	inputs := map[string]string{"bad_epoch": bad.String(), "digest": old.Digest.String()}
	t.decide(KindRevert, r, inputs, "%s goes back to %s at epoch %d", r, old.Version, old.Epoch)
}

// stuck ends what is under way in a region that has nothing to go back to.
func (t *turn) stuck(r wire.Region) {
	rr := t.s.Regions[r]
	t.own().Ending = StatusFailed
	reason := fmt.Sprintf("cannot revert %s: it ran nothing before; agents that switched keep what they run until the next rollout", r)
	if rr.Phase != PhaseCommitted {
		rr.Phase = PhaseDropped
		rr.settle()
		rr.Purge, rr.Covered, rr.Late = nil, nil, false
		t.set(r, rr)
	}
	t.decide(KindRevert, r, nil, "%s", reason)
}

// backward moves every reverting region. There is one attempt: failures on the way back
// make it wait for an operator.
func (t *turn) backward(focus wire.Region) {
	t.judge(focus)
	ro := t.s.Rollout
	done := true
	for _, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			switch t.s.Regions[r].Phase {
			case PhaseReverting, PhaseRepurging:
			default:
				continue
			}
			done = false
			if focus != "" && r != focus {
				continue
			}
			tl := t.s.tally(r)
			t.hold(r, tl)
			if t.s.Regions[r].Phase == PhaseReverting && t.s.Rollout.Halt == "" && tl.known && tl.waiting == 0 && t.s.hears(r) {
				t.widen(r, tl)
			}
		}
	}
	if done {
		t.end(ro.Ending)
	}
}

// hears reports whether any agent of the region was heard of lately. On the way back agents
// that fall silent make room for others; when all do, one after the other, it is rather we
// who hear nothing, and whoever was told to switch may be about to.
func (s State) hears(r wire.Region) bool {
	for _, a := range s.View.Members[r].Agents {
		if a.Report != nil && s.Now.Sub(a.Stored) <= s.lost()/2 {
			return true
		}
	}
	return false
}

// nextEpoch returns an epoch above all that was ever ordered or reported. Reports count
// because a controller may have lost its storage; they are believed within reason.
func (s State) nextEpoch(r wire.Region) wire.Epoch {
	const reason = 1 << 20
	last := s.Regions[r].LastEpoch
	highest := last
	if m := s.View.Members[r]; m != nil {
		for _, a := range m.Agents {
			if a.Report == nil || a.Report.Running == nil {
				continue
			}
			if e := a.Report.Running.Epoch; e > highest && e-last < reason {
				highest = e
			}
		}
	}
	return highest + 1
}
