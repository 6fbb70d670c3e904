package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Strategy says how the cohort of a region widens.
type Strategy string

// The strategies.
const (
	StrategyRolling Strategy = "rolling" // by MaxUnavailable agents at a time, without a stop
	StrategyCanary  Strategy = "canary"  // through explicit steps, each with a bake
)

// OnFailure says what more than MaxFailures failed agents lead to.
type OnFailure string

// What a failure leads to.
const (
	RevertWave OnFailure = "revert-wave" // take the regions of the current wave back
	RevertAll  OnFailure = "revert-all"  // take every region of the rollout back
	HoldOnly   OnFailure = "hold"        // stop and wait for an operator
)

// Plan says how a rollout moves through the fleet.
type Plan struct {
	Waves          []Wave        `json:"waves"`           // one after the other
	MaxUnavailable Amount        `json:"max_unavailable"` // per region: agents that may switch at the same time; default 1
	MaxUnreachable Amount        `json:"max_unreachable"` // per region: silent agents that may be left behind, never all of them; default 0
	MaxFailures    int           `json:"max_failures"`    // over the rollout: failed agents that are tolerated; default 0
	Healthy        wire.Duration `json:"healthy"`         // how long an agent passes its probes before it confirms; default 10s
	Soak           wire.Duration `json:"soak"`            // how long it is confirmed before it is last known good; default 5m
	Deadline       wire.Duration `json:"deadline"`        // of each wait: staging, activation, purge; default 10m
	OnFailure      OnFailure     `json:"on_failure"`      // default revert-wave
}

// Wave is a set of regions that change together.
type Wave struct {
	Regions     []wire.Region `json:"regions"`
	Strategy    Strategy      `json:"strategy"`        // default rolling
	Steps       []PlanStep    `json:"steps,omitempty"` // of a canary; the last one is 100%
	MaxParallel int           `json:"max_parallel"`    // regions that activate at the same time; 0: all
	Bake        wire.Duration `json:"bake"`            // after the barrier, before the next wave
}

// PlanStep is one widening of a canary.
type PlanStep struct {
	Activate Amount        `json:"activate"` // of the region's serving agents, in total
	Bake     wire.Duration `json:"bake"`     // after the step is confirmed, before the next
}

const (
	maxPlan    = 256 << 10
	maxWaves   = 100
	maxRegions = 1000
	maxSteps   = 20
)

// basePlan holds the defaults.
func basePlan() Plan {
	return Plan{
		MaxUnavailable: Count(1),
		Healthy:        wire.Duration(10 * time.Second),
		Soak:           wire.Duration(5 * time.Minute),
		Deadline:       wire.Duration(10 * time.Minute),
		OnFailure:      RevertWave,
	}
}

// DefaultPlan takes the first region alone through steps of 1 agent, 10%, 50% and 100%,
// and then the others, two at a time.
func DefaultPlan(regions []wire.Region) Plan {
	p := basePlan()
	if len(regions) == 0 {
		return p
	}
	bake := wire.Duration(time.Minute)
	p.Waves = []Wave{{
		Regions:  []wire.Region{regions[0]},
		Strategy: StrategyCanary,
		Steps:    []PlanStep{{Count(1), bake}, {Share(10), bake}, {Share(50), bake}, {Share(100), 0}},
		Bake:     5 * bake,
	}}
	for pair := range slices.Chunk(regions[1:], 2) {
		p.Waves = append(p.Waves, Wave{Regions: slices.Clone(pair), Strategy: StrategyRolling, Bake: bake})
	}
	return p
}

// Validate reports the first thing that is wrong with the plan. known is the regions of the
// fleet.
func (p Plan) Validate(known []wire.Region) error {
	bad := func(field, format string, args ...any) error {
		return &wire.FieldError{Doc: "plan", Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if len(p.Waves) == 0 || len(p.Waves) > maxWaves {
		return bad("waves", "are %d, want 1 to %d", len(p.Waves), maxWaves)
	}
	if p.MaxUnavailable.N < 1 {
		return bad("max_unavailable", "is %s, want at least 1", p.MaxUnavailable)
	}
	if p.MaxUnreachable.N < 0 || p.MaxUnreachable.All() {
		return bad("max_unreachable", "is %s, want less than 100%%", p.MaxUnreachable)
	}
	if p.MaxFailures < 0 {
		return bad("max_failures", "is negative")
	}
	if p.Healthy < 0 || p.Soak < 0 {
		return bad("healthy", "and soak cannot be negative")
	}
	if p.Deadline.Std() < time.Second || p.Deadline.Std() > 24*time.Hour {
		return bad("deadline", "is %s, want 1s to 24h", p.Deadline)
	}
	if p.Healthy >= p.Deadline {
		return bad("healthy", "is %s, not below the deadline of %s", p.Healthy, p.Deadline)
	}
	switch p.OnFailure {
	case RevertWave, RevertAll, HoldOnly:
	default:
		return bad("on_failure", "is %q, want revert-wave, revert-all or hold", p.OnFailure)
	}
	in := make(map[wire.Region]int)
	for i, w := range p.Waves {
		field := fmt.Sprintf("waves[%d]", i)
		if len(w.Regions) == 0 {
			return bad(field+".regions", "are missing")
		}
		for j, r := range w.Regions {
			field := fmt.Sprintf("%s.regions[%d]", field, j)
			if !slices.Contains(known, r) {
				return bad(field, "is %q, not a region of the fleet", r)
			}
			if first, twice := in[r]; twice {
				return bad(field, "is %q, already in waves[%d]", r, first)
			}
			in[r] = i
		}
		if len(in) > maxRegions {
			return bad(field+".regions", "are more than %d in the plan", maxRegions)
		}
		if w.MaxParallel < 0 {
			return bad(field+".max_parallel", "is negative")
		}
		if w.Bake < 0 {
			return bad(field+".bake", "is negative")
		}
		if err := p.checkSteps(field, w); err != nil {
			return err
		}
	}
	return nil
}

// checkSteps holds that no region ever changes all at once.
func (p Plan) checkSteps(field string, w Wave) error {
	bad := func(field, format string, args ...any) error {
		return &wire.FieldError{Doc: "plan", Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch w.Strategy {
	case StrategyRolling:
		if len(w.Steps) > 0 {
			return bad(field+".steps", "need strategy canary")
		}
		if p.MaxUnavailable.All() {
			return bad("max_unavailable", "is 100%% and %s is rolling: all agents would switch at once; use canary steps", field)
		}
		return nil
	case StrategyCanary:
	default:
		return bad(field+".strategy", "is %q, want rolling or canary", w.Strategy)
	}
	if len(w.Steps) == 0 || len(w.Steps) > maxSteps {
		return bad(field+".steps", "are %d, a canary wants 1 to %d", len(w.Steps), maxSteps)
	}
	for i, s := range w.Steps {
		field := fmt.Sprintf("%s.steps[%d]", field, i)
		last := i == len(w.Steps)-1
		switch {
		case s.Activate.N < 1:
			return bad(field+".activate", "is %s, want at least 1", s.Activate)
		case s.Bake < 0:
			return bad(field+".bake", "is negative")
		case last && !s.Activate.All():
			return bad(field+".activate", "is %s, the last step has to be 100%%", s.Activate)
		case last && s.Bake > 0:
			return bad(field+".bake", "is of the last step; the wave's bake follows it")
		case last && i == 0 && p.MaxUnavailable.All():
			return bad(field+".activate", "is 100%% in one step with max_unavailable 100%%")
		case !last && s.Activate.All():
			return bad(field+".activate", "is 100%% before the last step")
		}
		if i > 0 && s.Activate.Percent == w.Steps[i-1].Activate.Percent && s.Activate.N <= w.Steps[i-1].Activate.N {
			return bad(field+".activate", "is %s, not above the step before", s.Activate)
		}
	}
	return nil
}
