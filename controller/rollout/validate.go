package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func badPlan(field, format string, args ...any) error {
	return &wire.FieldError{Doc: "plan", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Validate reports the first thing that is wrong with the plan. known is the regions of the
// fleet.
func (p Plan) Validate(known []wire.Region) error {
	if len(p.Waves) == 0 || len(p.Waves) > maxWaves {
		return badPlan("waves", "are %d, want 1 to %d", len(p.Waves), maxWaves)
	}
	if p.MaxUnavailable.N < 1 {
		return badPlan("max_unavailable", "is %s, want at least 1", p.MaxUnavailable)
	}
	if p.MaxUnreachable.N < 0 || p.MaxUnreachable.All() {
		return badPlan("max_unreachable", "is %s, want less than 100%%", p.MaxUnreachable)
	}
	if p.MaxFailures < 0 {
		return badPlan("max_failures", "is negative")
	}
	if p.Healthy < 0 || p.Soak < 0 {
		return badPlan("healthy", "and soak cannot be negative")
	}
	if p.Deadline.Std() < time.Second || p.Deadline.Std() > 24*time.Hour {
		return badPlan("deadline", "is %s, want 1s to 24h", p.Deadline)
	}
	if w := p.ApproveWithin.Std(); w < time.Minute || w > 30*24*time.Hour {
		return badPlan("approve_within", "is %s, want 1m to 720h", p.ApproveWithin)
	}
	if p.Healthy >= p.Deadline {
		return badPlan("healthy", "is %s, not below the deadline of %s", p.Healthy, p.Deadline)
	}
	switch p.OnFailure {
	case RevertStep, RevertWave, RevertAll, HoldOnly:
	default:
		return badPlan("on_failure", "is %q, want revert-step, revert-wave, revert-all or hold", p.OnFailure)
	}
	if p.OnPurgeFailure != HoldOnly && p.OnPurgeFailure != RevertWave {
		return badPlan("on_purge_failure", "is %q, want hold or revert-wave", p.OnPurgeFailure)
	}
	if err := p.checkGates(); err != nil {
		return err
	}
	if len(p.Freeze) > maxWindows {
		return badPlan("freeze", "has %d windows, at most %d are allowed", len(p.Freeze), maxWindows)
	}
	for i, w := range p.Freeze {
		if field, reason := w.check(); reason != "" {
			return badPlan(fmt.Sprintf("freeze[%d].%s", i, field), "%s", reason)
		}
	}
	if p.endless() {
		return badPlan("freeze", "leaves no moment of the week free: nothing would ever begin")
	}
	if err := p.checkWaves(known); err != nil {
		return err
	}
	if stored, err := wire.EncodeJSON(p); err != nil || len(stored) > maxPlan {
		return badPlan("waves", "make a plan of %d bytes with all defaults spelled out, at most %d are allowed", len(stored), maxPlan)
	}
	return nil
}

func (p Plan) checkWaves(known []wire.Region) error {
	in := make(map[wire.Region]int)
	for i, w := range p.Waves {
		field := fmt.Sprintf("waves[%d]", i)
		if len(w.Regions) == 0 {
			return badPlan(field+".regions", "are missing")
		}
		for j, r := range w.Regions {
			field := fmt.Sprintf("%s.regions[%d]", field, j)
			if !slices.Contains(known, r) {
				return badPlan(field, "is %q, not a region of the fleet", r)
			}
			if first, twice := in[r]; twice {
				return badPlan(field, "is %q, already in waves[%d]", r, first)
			}
			in[r] = i
		}
		if len(in) > maxRegions {
			return badPlan(field+".regions", "are more than %d in the plan", maxRegions)
		}
		if w.MaxParallel < 0 {
			return badPlan(field+".max_parallel", "is negative")
		}
		if w.Bake < 0 {
			return badPlan(field+".bake", "is negative")
		}
		if err := p.checkHeld(field, w.Gates, w.Approve); err != nil {
			return err
		}
		if err := p.checkSteps(field, w, len(known)); err != nil {
			return err
		}
	}
	return nil
}

// checkHeld checks what a step or wave is held to.
func (p Plan) checkHeld(field string, gates []string, approve int) error {
	for i, name := range gates {
		if _, ok := p.gate(name); !ok {
			return badPlan(fmt.Sprintf("%s.gates[%d]", field, i), "is %q, not one of the plan's gates", name)
		}
	}
	if approve < 0 || approve > maxApprovals {
		return badPlan(field+".approve", "is %d, want 0 to %d", approve, maxApprovals)
	}
	return nil
}

// checkSteps holds that neither a region nor the fleet ever changes all at once. A
// blue-green region may, if it is not the whole fleet.
func (p Plan) checkSteps(field string, w Wave, fleet int) error {
	if len(w.Steps) > 0 && w.Growth != nil {
		return badPlan(field+".growth", "is given beside steps")
	}
	steps := w.Steps
	switch {
	case w.Growth != nil:
		if err := w.Growth.check(field + ".growth"); err != nil {
			return err
		}
		steps = w.Growth.steps()
	case w.Strategy == StrategyBlueGreen && len(w.Steps) == 0 && len(w.Regions) == fleet:
		return badPlan(field+".steps", "are missing: %s switches the whole fleet at once; begin with a smaller step or fewer regions", w.Strategy)
	case w.Strategy == StrategyBlueGreen && len(w.Steps) == 0:
		return nil
	}
	switch w.Strategy {
	case StrategyRolling:
		if len(steps) > 0 {
			return badPlan(field+".steps", "need strategy canary or blue-green")
		}
		if p.MaxUnavailable.All() {
			return badPlan("max_unavailable", "is 100%% and %s is rolling: all agents would switch at once; use canary steps", field)
		}
		return nil
	case StrategyCanary, StrategyBlueGreen:
	default:
		return badPlan(field+".strategy", "is %q, want rolling, canary or blue-green", w.Strategy)
	}
	if len(steps) == 0 || len(steps) > maxSteps {
		return badPlan(field+".steps", "are %d, %s wants 1 to %d", len(steps), w.Strategy, maxSteps)
	}
	for i, s := range steps {
		field := fmt.Sprintf("%s.steps[%d]", field, i)
		last := i == len(steps)-1
		switch {
		case s.Activate.N < 1:
			return badPlan(field+".activate", "is %s, want at least 1", s.Activate)
		case s.Bake < 0:
			return badPlan(field+".bake", "is negative")
		case last && !s.Activate.All():
			return badPlan(field+".activate", "is %s, the last step has to be 100%%", s.Activate)
		case last && (s.Bake > 0 || s.Approve > 0 || len(s.Gates) > 0):
			return badPlan(field, "is the last step: bake, gates and approve of the wave follow it")
		case last && i == 0 && (w.Strategy == StrategyBlueGreen && len(w.Regions) == fleet || w.Strategy == StrategyCanary && p.MaxUnavailable.All()):
			return badPlan(field+".activate", "is 100%% in one step")
		case !last && s.Activate.All():
			return badPlan(field+".activate", "is 100%% before the last step")
		}
		if i > 0 && s.Activate.Percent == steps[i-1].Activate.Percent && s.Activate.N <= steps[i-1].Activate.N {
			return badPlan(field+".activate", "is %s, not above the step before", s.Activate)
		}
		if err := p.checkHeld(field, s.Gates, s.Approve); err != nil {
			return err
		}
	}
	return nil
}

func (g Growth) check(field string) error {
	by := g.Linear
	if by.N == 0 {
		by = g.Exponential
	}
	switch {
	case (g.Linear.N == 0) == (g.Exponential.N == 0):
		return badPlan(field, "wants linear or exponential, a share like 10%%")
	case !by.Percent || by.N > 50:
		return badPlan(field, "is by %s, want 1%% to 50%%", by)
	case g.Factor != 0 && g.Linear.N > 0:
		return badPlan(field+".factor", "is given beside linear, which has none")
	case g.Factor != 0 && (g.Factor < 2 || g.Factor > 100):
		return badPlan(field+".factor", "is %d, want 2 to 100", g.Factor)
	case g.Bake < 0:
		return badPlan(field+".bake", "is negative")
	}
	return nil
}

func (p Plan) checkGates() error {
	if len(p.Gates) > maxGates {
		return badPlan("gates", "are %d, at most %d are allowed", len(p.Gates), maxGates)
	}
	for i, g := range p.Gates {
		at := fmt.Sprintf("gates[%d]", i)
		if field, reason := g.check(); reason != "" {
			return badPlan(at+"."+field, "%s", reason)
		}
		if first := slices.IndexFunc(p.Gates, func(o Gate) bool { return o.Name == g.Name }); first < i {
			return badPlan(at+".name", "is %q, already that of gates[%d]", g.Name, first)
		}
	}
	return nil
}
