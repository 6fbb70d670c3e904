package rollout

import (
	"fmt"
	"slices"

	"github.com/ebbgate/ebbgate/wire"
)

// checkSupersede refuses a start beside an active rollout, unless it takes the place of one
// that waits or goes back: what runs well is not to be overtaken by accident.
func (s State) checkSupersede(e Start) error {
	ro := s.active()
	switch {
	case ro == nil && e.Supersede == "":
		return nil
	case ro == nil || e.Supersede != "" && e.Supersede != ro.ID:
		return s.refuse("start", ErrMoved, fmt.Sprintf("rollout %s, which is to be superseded, is not under way", e.Supersede))
	case e.Supersede == "":
		return s.refuse("start", ErrActive, fmt.Sprintf("rollout %s is %s", ro.ID, ro.Status))
	case ro.Status == StatusRunning:
		return s.refuse("start", ErrActive, fmt.Sprintf("rollout %s is %s; pause or abort it first", ro.ID, ro.Status))
	}
	for _, r := range wire.Keys(s.Regions) {
		if s.Regions[r].underWay() && len(e.Plan.waveOf(r).Regions) == 0 {
			return &wire.FieldError{Doc: "plan", Field: "waves", Reason: fmt.Sprintf("leave out %s, where agents may run what rollout %s has activated", r, ro.ID)}
		}
	}
	return nil
}

// underWay reports whether agents of the region may run what it has not committed.
func (rr RegionRecord) underWay() bool {
	switch rr.Phase {
	case PhaseActivating, PhaseRetreating, PhasePurging, PhaseBaking, PhaseReverting, PhaseRepurging:
		return true
	}
	return rr.Mixed
}

// supersede ends the active rollout where it stands. Regions in which it has activated are
// mixed until the newer one commits or takes them back: their agents keep what they run
// meanwhile, and all of it stays in Served. A purge under way means nothing any more. What was
// committed and is being taken back is no place to go back to: what it ran before is.
func (t *turn) supersede() {
	old := t.s.Rollout
	for _, w := range old.Plan.Waves {
		for _, r := range w.Regions {
			rr := t.s.Regions[r]
			switch {
			case rr.underWay():
				rr.Mixed = true
				rr.Purge, rr.Covered, rr.Late = nil, nil, false
				if before, back := old.Before[r]; back {
					rr.Committed = &before // of an older epoch: nobody switches to it until it is ordered anew
				}
			case rr.Phase == PhaseStaging || rr.Phase == PhaseArming:
				rr.settle()
			default:
				continue
			}
			t.set(r, rr)
		}
	}
}

// Superseded returns how a rollout ended whose place another one has taken.
func Superseded(old Rollout, by Rollout) Rollout {
	if !old.Status.Ended() {
		old.Status, old.Ended, old.Paused, old.Halt = StatusSuperseded, by.Started, false, "superseded by "+by.ID
	}
	return old
}

// maxQuarantine bounds the sources in quarantine; the oldest are let out.
const maxQuarantine = 64

// quarantine remembers whose bundle failed: a source that alternates good bundles and bad
// ones is stopped at its first failure, not let through with every good one.
func (t *turn) quarantine(reason string) {
	ro := t.s.Rollout
	if ro.Source == "" || ro.Undoes != "" {
		return
	}
	list := slices.DeleteFunc(slices.Clone(t.s.Quarantine), func(q Quarantined) bool { return q.Source == ro.Source })
	list = append(list, Quarantined{Source: ro.Source, Rollout: ro.ID, At: t.s.Now, Reason: wire.Clip(reason)})
	t.s.Quarantine = list[max(0, len(list)-maxQuarantine):]
	t.dirty = true
}

// release lets the source of a rollout out: somebody has looked at its failure.
func (t *turn) release(rollout string) {
	t.s.Quarantine = slices.DeleteFunc(slices.Clone(t.s.Quarantine), func(q Quarantined) bool { return q.Rollout == rollout })
}

func (s State) checkQuarantine(e Start) error {
	known := false
	for _, q := range s.Quarantine {
		known = known || q.Rollout == e.Acknowledge
		if q.Source == e.Source && q.Rollout != e.Acknowledge {
			return s.refuse("start", ErrQuarantine, fmt.Sprintf("rollout %s of a bundle of %s failed: %s; look at it, and acknowledge %s to start another one (their other apps are not in quarantine)", q.Rollout, q.Source, q.Reason, q.Rollout))
		}
	}
	if e.Acknowledge != "" && !known {
		return &wire.FieldError{Doc: "start", Field: "acknowledge", Reason: fmt.Sprintf("is %q, not a rollout whose source is in quarantine", e.Acknowledge)}
	}
	return nil
}

// missesAny reports whether a region waits for agents that vanished.
func (s State) missesAny() bool {
	return slices.ContainsFunc(wire.Keys(s.Regions), func(r wire.Region) bool {
		h := s.Regions[r].Hold
		return h != nil && h.Kind == HoldVanished
	})
}
