package rollout

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// The reasons why a command is refused, other than a [wire.FieldError] in it.
var (
	ErrActive    = errors.New("a rollout is under way")
	ErrNotActive = errors.New("no rollout is under way")
	ErrMoved     = errors.New("the app has moved on")
	ErrUndo      = errors.New("nothing to undo")
	ErrStatus    = errors.New("not in this status")

	ErrQuarantine = errors.New("in quarantine")
)

// Check reports why a command ([Start], [Pause], [Resume], [Approve], [Promote],
// [StepBack], [Abort], [Undo]) cannot be taken in s; nil for every other event. Step ignores a command that Check refuses, so ask first.
func Check(s State, e Event) error {
	if c, ok := e.(interface{ of() Of }); ok {
		if err := s.checkOf(e, c.of()); err != nil {
			return err
		}
	}
	ro := s.active()
	switch e := e.(type) {
	case Start:
		return s.checkStart(e)
	case Pause:
		if ro == nil {
			return s.refuse("pause", ErrNotActive, "")
		}
		if ro.Paused || ro.Ending != "" {
			return s.refuse("pause", ErrStatus, fmt.Sprintf("rollout %s is %s", ro.ID, ro.Status))
		}
	case Resume:
		failed := s.failedPurges()
		if ro == nil && len(failed) == 0 {
			return s.refuse("resume", ErrNotActive, "")
		}
		if ro != nil && !ro.Paused && ro.Halt == "" && len(failed) == 0 && !s.missesAny() {
			detail := fmt.Sprintf("rollout %s is %s and waits for no operator", ro.ID, ro.Status)
			if reason, h := s.reason(); h != nil {
				detail = fmt.Sprintf("rollout %s is %s: %s; %s", ro.ID, ro.Status, reason, s.without(h.Kind))
			}
			return s.refuse("resume", ErrStatus, detail)
		}
	case Approve:
		return s.checkApprove(e)
	case Promote:
		return s.checkPromote(e)
	case StepBack:
		return s.checkStepBack()
	case Abort:
		if ro == nil {
			return s.refuse("abort", ErrNotActive, "")
		}
		if ro.Ending != "" {
			return s.refuse("abort", ErrStatus, fmt.Sprintf("rollout %s already goes back", ro.ID))
		}
	case Undo:
		if ro != nil && ro.Ending != "" {
			return s.refuse("undo", ErrActive, fmt.Sprintf("rollout %s already goes back; wait until it has, or supersede it", ro.ID))
		}
		if ro != nil {
			return s.refuse("undo", ErrActive, fmt.Sprintf("rollout %s is %s; abort it first", ro.ID, ro.Status))
		}
		if s.Rollout != nil && s.Rollout.Undoes != "" {
			return s.refuse("undo", ErrUndo, fmt.Sprintf("rollout %s has undone %s already; start the version that is wanted", s.Rollout.ID, s.Rollout.Undoes))
		}
		if len(s.undoable()) == 0 {
			why := "the last rollout left no region on other content than before"
			if s.Rollout != nil && len(s.Rollout.Before) > 0 {
				var regions []string
				for _, r := range wire.Keys(s.Rollout.Before) {
					regions = append(regions, string(r))
				}
				why = strings.Join(regions, ", ") + " ran nothing before: there is no older release to go back to"
			}
			return s.refuse("undo", ErrUndo, why)
		}
		return checkID("undo", e.ID, e.ID)
	}
	return nil
}

// checkOf holds a command against the rollout that it is of. The step and the wave are for
// those to judge who know what waits.
func (s State) checkOf(e Event, of Of) error {
	verb := strings.ReplaceAll(kindOf(e), "-", " ")
	switch e.(type) {
	case Approve, Promote:
	default:
		if of.Wave != 0 || of.Step != 0 {
			return &wire.FieldError{Doc: verb, Field: "step", Reason: "is for approve and promote only, and so is wave"}
		}
	}
	switch ro := s.Rollout; {
	case of.Rollout == "" || ro != nil && ro.ID == of.Rollout:
		return nil
	case ro == nil:
		return s.refuse(verb, ErrMoved, fmt.Sprintf("it has no rollout, and not %s", of.Rollout))
	default:
		return s.refuse(verb, ErrMoved, fmt.Sprintf("its rollout is %s, which is %s, and not %s", ro.ID, ro.Status, of.Rollout))
	}
}

// at returns those of the regions that wait where of says.
func (s State) at(of Of, regions []wire.Region) []wire.Region {
	return slices.DeleteFunc(slices.Clone(regions), func(r wire.Region) bool {
		p := s.place(r)
		return of.Wave != 0 && of.Wave != p.Wave || of.Step != 0 && of.Step != p.Step
	})
}

// place returns the step or, after the last one, the wave at which a region of the current wave
// waits; neither for an emergency that has not begun.
func (s State) place(r wire.Region) Of {
	switch rr := s.Regions[r]; rr.Phase {
	case PhaseActivating:
		return Of{Wave: s.Rollout.Wave + 1, Step: rr.Step + 1}
	case PhaseBaking:
		return Of{Wave: s.Rollout.Wave + 1}
	}
	return Of{}
}

// elsewhere refuses a command because other steps or waves wait than it is of.
func (s State) elsewhere(verb string, of Of, waiting []wire.Region) error {
	var places []string
	for _, r := range waiting {
		places = append(places, s.place(r).String())
	}
	slices.Sort(places)
	return s.refuse(verb, ErrMoved, fmt.Sprintf("what waits is %s, and not %s", strings.Join(slices.Compact(places), " and "), of))
}

// String names the step or the wave.
func (o Of) String() string {
	switch {
	case o.Wave == 0 && o.Step == 0:
		return "the emergency"
	case o.Step == 0:
		return fmt.Sprintf("wave %d", o.Wave)
	case o.Wave == 0:
		return fmt.Sprintf("step %d", o.Step)
	}
	return fmt.Sprintf("step %d of wave %d", o.Step, o.Wave)
}

func (s State) refuse(verb string, why error, detail string) error {
	if detail == "" {
		return fmt.Errorf("cannot %s %s: %w", verb, s.App, why)
	}
	return fmt.Errorf("cannot %s %s: %w: %s", verb, s.App, why, detail)
}

func checkID(doc, id, seed string) error {
	if err := wire.CheckToken(id); err != nil {
		return &wire.FieldError{Doc: doc, Field: "id", Reason: err.Error()}
	}
	if seed == "" || len(seed) > 64 {
		return &wire.FieldError{Doc: doc, Field: "seed", Reason: fmt.Sprintf("is %d bytes long, want 1 to 64", len(seed))}
	}
	return nil
}

func (s State) checkStart(e Start) error {
	if err := s.checkSupersede(e); err != nil {
		return err
	}
	if err := s.checkQuarantine(e); err != nil {
		return err
	}
	if em := e.Emergency; em != nil {
		if err := em.Check(s.Now); err != nil {
			return err
		}
	}
	if e.CheckIndex != nil && *e.CheckIndex != s.Revision {
		return s.refuse("start", ErrMoved, fmt.Sprintf("its index is %d, not %d", s.Revision, *e.CheckIndex))
	}
	if err := checkID("start", e.ID, e.Seed); err != nil {
		return err
	}
	if e.Target.Digest.IsZero() {
		return &wire.FieldError{Doc: "start", Field: "target.digest", Reason: "is missing"}
	}
	if err := e.Target.Version.Check(); err != nil {
		return &wire.FieldError{Doc: "start", Field: "target.version", Reason: err.Error()}
	}
	full := func(p wire.PackRef) bool { return p.Base.IsZero() && !p.Index.IsZero() }
	if !slices.ContainsFunc(e.Target.Packs, full) {
		return &wire.FieldError{Doc: "start", Field: "target.packs", Reason: "offers no full pack"}
	}
	return e.Plan.Validate(wire.Keys(s.View.Members))
}

// undoable returns the regions the last rollout committed that ran something before.
func (s State) undoable() []wire.Region {
	if s.Rollout == nil {
		return nil
	}
	var regions []wire.Region
	for _, r := range wire.Keys(s.Rollout.Before) {
		if !s.Rollout.Before[r].Digest.IsZero() {
			regions = append(regions, r)
		}
	}
	return regions
}

func (s State) failedPurges() []wire.Region {
	var regions []wire.Region
	for _, r := range wire.Keys(s.Regions) {
		if p := s.Regions[r].Purge; p != nil && p.Failed != "" {
			regions = append(regions, r)
		}
	}
	return regions
}

// command takes a command that Check has let pass.
func (t *turn) command(e Event) {
	switch e := e.(type) {
	case Start:
		t.start(e)
	case Undo:
		t.undo(e)
	case Pause:
		t.own().Paused = true
		t.decide(KindPause, "", by(e.By), "paused by %s", e.By)
	case Resume:
		t.resume(e)
	case Approve:
		t.approve(e)
	case Promote:
		t.promote(e)
	case StepBack:
		t.retreat(t.s.steppable(), by(e.By), "asked by "+e.By)
	case Abort:
		committed := "stay"
		if e.All {
			committed = "too"
		}
		t.decide(KindAbort, "", by(e.By), "aborted by %s: regions under way go back, committed ones %s", e.By, committed)
		t.takeBack(StatusAborted, e.All)
	}
}

func by(name string) map[string]string { return map[string]string{"by": name} }

func (t *turn) start(e Start) {
	ro := &Rollout{ID: e.ID, By: e.By, Seed: e.Seed, Source: e.Source, Target: e.Target, Plan: e.Plan, Status: StatusRunning, Started: t.s.Now}
	ro.Target.Epoch, ro.Target.Soak = 0, e.Plan.Soak
	inputs := map[string]string{"by": e.By, "digest": e.Target.Digest.String(), "seed": e.Seed}
	more := ""
	if e.Acknowledge != "" {
		t.release(e.Acknowledge)
		inputs["acknowledges"] = e.Acknowledge
		more += ", who has looked at the failure of " + e.Acknowledge
	}
	if e.Supersede != "" {
		t.supersede()
		inputs["supersedes"] = e.Supersede
		more += ", in the place of " + e.Supersede
	}
	if e.Source != "" {
		inputs["source"] = e.Source
		more += "; the bundle is signed by " + e.Source
	}
	if em := e.Emergency; em != nil {
		ro.Glass = em.Glass()
		inputs["emergency"], inputs["expires"] = em.Reason, ro.Glass.Expires.Format(time.RFC3339)
		more += fmt.Sprintf("; an emergency that wants %d approvals: %s", GlassApprovals, em.Reason)
	}
	t.begin(ro, func(wire.Region) wire.Target { return ro.Target })
	t.decide(KindStart, "", inputs, "rollout %s of %s %s in %s, started by %s%s", e.ID, t.s.App, e.Target.Version, Plural(len(e.Plan.Waves), "wave"), e.By, more)
}

// undo goes through the waves and steps of the last rollout again, without bakes, gates,
// approvals and freezes.
func (t *turn) undo(e Undo) {
	last := t.s.Rollout
	regions := t.s.undoable()
	plan := last.Plan
	plan.Waves = nil
	for _, w := range last.Plan.Waves {
		w.Regions = slices.DeleteFunc(slices.Clone(w.Regions), func(r wire.Region) bool { return !slices.Contains(regions, r) })
		if len(w.Regions) > 0 {
			plan.Waves = append(plan.Waves, w)
		}
	}
	before := last.Before
	ro := &Rollout{
		ID: e.ID, By: e.By, Seed: e.ID, Undoes: last.ID, Target: before[plan.Waves[0].Regions[0]], Plan: plan,
		Status: StatusRunning, Started: t.s.Now, Shown: true,
	}
	ro.Target.Epoch = 0
	t.begin(ro, func(r wire.Region) wire.Target { return before[r] })
	inputs := map[string]string{"by": e.By, "undoes": last.ID, "regions": fmt.Sprint(len(regions))}
	t.decide(KindStart, "", inputs, "rollout %s undoes %s in %s, started by %s", e.ID, last.ID, Plural(len(regions), "region"), e.By)
}

// begin makes ro the active rollout and orders staging in all its regions.
func (t *turn) begin(ro *Rollout, target func(wire.Region) wire.Target) {
	t.rollout, t.s.Rollout, t.dirty = ro, ro, true
	t.rescore()
	for _, r := range wire.Keys(t.s.Regions) {
		rr := t.s.Regions[r]
		rr.Phase = PhaseIdle
		t.set(r, rr)
	}
	for _, w := range ro.Plan.Waves {
		for _, r := range w.Regions {
			rr := t.s.Regions[r]
			rr.LastEpoch = t.s.nextEpoch(r)
			next := target(r)
			next.Epoch = rr.LastEpoch
			rr.Next = &wire.Transit{Target: next, Phase: wire.PhaseStage, Healthy: ro.Plan.Healthy, Cohort: wire.Cohort{Seed: ro.Seed}}
			rr.renew(PhaseStaging)
			rr.Times, rr.Returned = Times{Ordered: t.s.Now}, time.Time{}
			if m := t.s.View.Members[r]; m != nil {
				for _, a := range m.Agents {
					if a.Report != nil && a.Report.Running != nil {
						rr.Served = withServed(rr.Served, a.Report.Running.Digest, a.Report.Running.Epoch)
					}
				}
			}
			t.set(r, rr)
		}
	}
}

// resume acknowledges the failures seen so far, no others, goes on without agents that have vanished,
// while they are not heard of, and asks for failed purges again.
func (t *turn) resume(e Resume) {
	var acked, missed []string
	if ro := t.s.active(); ro != nil {
		for _, w := range ro.Plan.Waves {
			for _, r := range w.Regions {
				rr := t.s.Regions[r]
				tl := t.s.tally(r)
				rr.Acked, acked = passOver(rr.Acked, acked, r, tl.failures)
				rr.Missed, missed = passOver(rr.Missed, missed, r, tl.vanished)
				rr.Readings = slices.Clone(rr.Readings)
				for i := range rr.Readings {
					rr.Readings[i].Bad = 0 // the next bad ones count anew
				}
				t.set(r, rr)
			}
		}
		ro := t.own()
		ro.Paused = false
		ro.unhalt()
		t.release(ro.ID)
	}
	inputs := by(e.By)
	inputs["acknowledged"] = fmt.Sprint(len(acked))
	var does []string
	if len(acked) > 0 {
		does = append(does, fmt.Sprintf("acknowledges %s: %s", Plural(len(acked), "failure"), few(acked)))
		inputs["failed"] = wire.Clip(strings.Join(acked, ", "))
	}
	if len(missed) > 0 {
		does = append(does, fmt.Sprintf("goes on without %s until heard of", few(missed)))
		inputs["missed"] = wire.Clip(strings.Join(missed, ", "))
	}
	t.decide(KindResume, "", inputs, "resumed by %s, who %s", e.By, cmp.Or(strings.Join(does, ", and "), "acknowledges 0 failures"))
	for _, r := range t.s.failedPurges() {
		t.requestPurge(r, "resumed by "+e.By)
	}
}

// passOver adds agents of a region to those that an operator passes over, and to their names.
func passOver(list []wire.AgentID, names []string, r wire.Region, failures []failure) ([]wire.AgentID, []string) {
	list = slices.Clone(list)
	for _, f := range failures {
		list, names = append(list, f.agent), append(names, fmt.Sprintf("%s/%s", r, f.agent))
	}
	slices.Sort(list)
	return slices.Compact(list), names
}

// few joins the first few of some names.
func few(names []string) string {
	const n = 5
	if len(names) > n {
		return strings.Join(names[:n], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
