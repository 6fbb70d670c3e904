package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Approval is a person's word that the rollout may go on.
type Approval struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Glass is an emergency under way, see [Emergency].
type Glass struct {
	Reason    string     `json:"reason"`
	Expires   time.Time  `json:"expires"`
	Approvals []Approval `json:"approvals,omitempty"`
	Over      bool       `json:"over,omitempty"` // it was approved, and has expired
}

const (
	// GlassApprovals is how many people approve an emergency; who started it may be one.
	GlassApprovals = 2
	// MaxGlass is the longest an emergency may last.
	MaxGlass = 4 * time.Hour

	maxApprovals = 10
)

func (g *Glass) approved() bool { return len(g.Approvals) >= GlassApprovals }

// hurries reports whether the rollout passes over the bakes, gates, approvals and freezes of
// its plan: the way back does, and an approved emergency until it expires.
func (s State) hurries() bool {
	ro := s.Rollout
	return ro.Undoes != "" || ro.Ending != "" || ro.Glass != nil && ro.Glass.approved() && s.Now.Before(ro.Glass.Expires)
}

// baked returns when the bake of the region's step or wave is over, if it is baking.
func (s State) baked(r wire.Region) (over time.Time, baking bool) {
	rr, w := s.Regions[r], s.Rollout.Plan.waveOf(r)
	var bake wire.Duration
	switch {
	case rr.Phase == PhaseActivating && !rr.Times.StepDone.IsZero():
		over, bake = later(rr.Times.StepDone, rr.Times.Baking), w.AllSteps()[rr.Step].Bake
	case rr.Phase == PhaseBaking:
		over, bake = later(rr.Times.Barrier, rr.Times.Baking), w.Bake
	default:
		return time.Time{}, false
	}
	if !s.hurries() {
		over = over.Add(bake.Std())
	}
	return over, true
}

// approvers returns how many approvals the region's step or wave wants.
func (s State) approvers(r wire.Region) int {
	rr, w := s.Regions[r], s.Rollout.Plan.waveOf(r)
	switch {
	case s.hurries():
		return 0
	case rr.Phase == PhaseActivating:
		return w.AllSteps()[rr.Step].Approve
	}
	return w.Approve
}

// goesOn reports whether bake, gates and approvals let the region go on, and nothing is
// frozen that would begin now.
func (s State) goesOn(r wire.Region) bool {
	over, baking := s.baked(r)
	if !baking || s.Now.Before(over) {
		return false
	}
	wait, _, _ := s.waits(r)
	return wait == "" && s.passed(r, over)
}

// waits returns what other than its agents and purges the region waits for, why, and how
// long it may.
func (s State) waits(r wire.Region) (HoldKind, string, time.Duration) {
	ro, rr := s.Rollout, s.Regions[r]
	plan := ro.Plan
	over, baking := s.baked(r)
	begins := rr.Phase == PhaseStaging || rr.Phase == PhaseArming
	if ro.Ending != "" || !begins && !baking {
		return "", "", 0
	}
	if g := ro.Glass; g != nil && begins && !g.approved() {
		return HoldApproval, fmt.Sprintf("the emergency wants %s%s: %s", Plural(GlassApprovals-len(g.Approvals), "more approval"), names(g.Approvals), g.Reason), max(0, g.Expires.Sub(s.Now))
	}
	if until, why := plan.Frozen(s.Now); (begins || rr.Phase == PhaseActivating) && !until.IsZero() && !s.hurries() {
		if why != "" {
			why = ": " + why
		}
		return HoldFreeze, fmt.Sprintf("nothing new begins until %s%s", until.UTC().Format(time.RFC3339), why), until.Sub(s.Now)
	}
	if !baking || s.Now.Before(over) {
		return "", "", 0
	}
	if reading, ok := s.unknown(r, over); ok {
		return HoldGate, fmt.Sprintf("gate %s: %s", reading.Gate, reading.Text), plan.Deadline.Std()
	}
	held := rr.Hold != nil && rr.Hold.Kind == HoldApproval // a gate that is late meanwhile does not end it
	if n := s.approvers(r) - len(rr.Approvals); n > 0 && (s.passed(r, over) || held && s.passedLast(r)) {
		what := fmt.Sprintf("step %d", rr.Step+1)
		if rr.Phase == PhaseBaking {
			what = fmt.Sprintf("wave %d", ro.Wave+1)
		}
		return HoldApproval, fmt.Sprintf("%s wants %s%s, not of %s", what, Plural(n, "more approval"), names(rr.Approvals), ro.By), plan.ApproveWithin.Std()
	}
	return "", "", 0
}

// without says how a rollout goes on that holds, without being resumed.
func (s State) without(k HoldKind) string {
	how := "it goes on by itself when that ends"
	switch k {
	case HoldNobody:
		return how // its reason says what to do
	case HoldBehind:
		how += "; drain takes agents out of service"
	case HoldGate:
		how += "; promote passes over the gate"
	case HoldApproval:
		how = "approve lets it go on"
	}
	if s.Rollout.Ending == "" {
		how += "; abort takes it back"
	}
	return how
}

func names(approvals []Approval) string {
	if len(approvals) == 0 {
		return ""
	}
	s := " beside"
	for i, a := range approvals {
		if i > 0 {
			s += ","
		}
		s += " " + a.By
	}
	return s
}

// approvable returns the regions of the current wave that wait for approval.
func (s State) approvable() []wire.Region {
	ro := s.Rollout
	return slices.DeleteFunc(slices.Clone(ro.Plan.Waves[ro.Wave].Regions), func(r wire.Region) bool {
		h := s.Regions[r].Hold
		return h == nil || h.Kind != HoldApproval
	})
}

func approvedBy(approvals []Approval, by string) bool {
	return slices.ContainsFunc(approvals, func(a Approval) bool { return a.By == by })
}

func (s State) checkApprove(e Approve) error {
	ro := s.active()
	if ro == nil {
		return s.refuse("approve", ErrNotActive, "")
	}
	all := s.approvable()
	waiting := s.at(e.Of, all)
	switch {
	case len(all) == 0:
		return s.refuse("approve", ErrStatus, fmt.Sprintf("rollout %s waits for no approval", ro.ID))
	case len(waiting) == 0:
		return s.elsewhere("approve", e.Of, all)
	case e.By == "":
		return &wire.FieldError{Doc: "approve", Field: "by", Reason: "is missing"}
	case ro.Glass != nil && !ro.Glass.approved():
		if approvedBy(ro.Glass.Approvals, e.By) {
			return s.refuse("approve", ErrStatus, fmt.Sprintf("%s has approved already; somebody else has to", e.By))
		}
		return nil
	case e.By == ro.By:
		return s.refuse("approve", ErrStatus, fmt.Sprintf("%s started rollout %s; somebody else has to approve", e.By, ro.ID))
	case !slices.ContainsFunc(waiting, func(r wire.Region) bool { return !approvedBy(s.Regions[r].Approvals, e.By) }):
		return s.refuse("approve", ErrStatus, fmt.Sprintf("%s has approved already; somebody else has to", e.By))
	}
	return nil
}

func (t *turn) approve(e Approve) {
	a := Approval{e.By, t.s.Now}
	if g := t.s.Rollout.Glass; g != nil && !g.approved() {
		next := *g
		next.Approvals = append(slices.Clone(g.Approvals), a)
		t.own().Glass = &next
		t.decide(KindApprove, "", by(e.By), "%s approves the emergency, %d of %d: %s", e.By, len(next.Approvals), GlassApprovals, g.Reason)
		return
	}
	for _, r := range t.s.at(e.Of, t.s.approvable()) {
		rr := t.s.Regions[r]
		if approvedBy(rr.Approvals, e.By) {
			continue
		}
		rr.Approvals = append(slices.Clone(rr.Approvals), a)
		t.set(r, rr)
		t.decide(KindApprove, r, by(e.By), "%s approves, %d of %d: %s", e.By, len(rr.Approvals), t.s.approvers(r), rr.Hold.Reason)
	}
}

// expire ends an emergency. Of one that was not approved in time nothing has been activated yet.
func (t *turn) expire() bool {
	ro := t.s.Rollout
	g := ro.Glass
	if g == nil || g.Over || t.s.Now.Before(g.Expires) {
		return false
	}
	inputs := map[string]string{"approvals": fmt.Sprint(len(g.Approvals)), "expires": g.Expires.Format(time.RFC3339)}
	if g.approved() {
		over := *g
		over.Over = true
		t.own().Glass = &over
		t.decide(KindHold, "", inputs, "the emergency has expired: bakes, gates, approvals and freezes of the plan count again")
		return false
	}
	t.decide(KindAbort, "", inputs, "the emergency expired with %d of %d approvals", len(g.Approvals), GlassApprovals)
	t.takeBack(StatusAborted, false)
	return true
}
