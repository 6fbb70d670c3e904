package rollout

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// Strategy says how the cohort of a region widens.
type Strategy string

// The strategies.
const (
	StrategyRolling   Strategy = "rolling"    // by MaxUnavailable agents at a time, without a stop
	StrategyCanary    Strategy = "canary"     // through explicit steps, or growth
	StrategyBlueGreen Strategy = "blue-green" // every agent preloads it first; then a step switches its whole cohort at once
)

// OnFailure says what more than MaxFailures failed agents, or a failed gate, lead to.
type OnFailure string

// What a failure leads to.
const (
	RevertStep OnFailure = "revert-step" // take the last step back and wait, where that is enough; else the wave
	RevertWave OnFailure = "revert-wave" // take the regions of the current wave back
	RevertAll  OnFailure = "revert-all"  // take every region of the rollout back
	HoldOnly   OnFailure = "hold"        // stop and wait for an operator
)

// Plan says how a rollout moves through the fleet.
type Plan struct {
	Waves          []Wave        `json:"waves"`            // one after the other
	MaxUnavailable Amount        `json:"max_unavailable"`  // per region: agents that may switch at the same time; default 1
	MaxUnreachable Amount        `json:"max_unreachable"`  // per region: silent agents that may be left behind, never all of them; default 0
	MaxFailures    int           `json:"max_failures"`     // over the rollout: failed agents that are tolerated; default 0
	Healthy        wire.Duration `json:"healthy"`          // how long an agent passes its probes before it confirms; default 10s
	Soak           wire.Duration `json:"soak"`             // how long it is confirmed before it is last known good; default 5m
	Deadline       wire.Duration `json:"deadline"`         // of each wait but for approvals: staging, arming, activation, purge, a gate without data; default 10m
	ApproveWithin  wire.Duration `json:"approve_within"`   // deadline of a wait for approvals; default 24h
	OnFailure      OnFailure     `json:"on_failure"`       // default revert-wave
	OnPurgeFailure OnFailure     `json:"on_purge_failure"` // of a purge that was given up or is not verified within deadline: hold or revert-wave; default hold
	Gates          []Gate        `json:"gates,omitempty"`  // measured while a region changes and bakes
	Freeze         []Window      `json:"freeze,omitempty"` // when no region is activated and no step begins
}

// Wave is a set of regions that change together. Bake, gates and approvals stand between
// its barriers and the next wave.
type Wave struct {
	Regions     []wire.Region `json:"regions"`
	Strategy    Strategy      `json:"strategy"`          // default rolling, with steps or growth canary
	Steps       []PlanStep    `json:"steps,omitempty"`   // of canary or blue-green; the last one is 100%
	Growth      *Growth       `json:"growth,omitempty"`  // steps by rule instead of by list
	MaxParallel int           `json:"max_parallel"`      // regions that activate at the same time once an agent has confirmed the release, one before; 0: all
	Bake        wire.Duration `json:"bake"`              // after the barrier, before the next wave
	Gates       []string      `json:"gates,omitempty"`   // names of those that hold the wave; none: all of the plan
	Approve     int           `json:"approve,omitempty"` // people who have to approve before the next wave, not counting who started the rollout
}

// PlanStep is one widening of a region's cohort. Bake, gates and approvals stand between
// its confirmation and the next step.
type PlanStep struct {
	Activate Amount        `json:"activate"`          // of the region's serving agents, in total
	Bake     wire.Duration `json:"bake"`              // after the step is confirmed, before the next
	Gates    []string      `json:"gates,omitempty"`   // names of those that hold the step; none: all of the plan
	Approve  int           `json:"approve,omitempty"` // people who have to approve before the next step, not counting who started the rollout
}

// Growth makes steps up to 100%: Linear by the same share each time, 20%, 40%, …;
// Exponential by Factor, 1%, 2%, 4%, … Exactly one of the two is given.
type Growth struct {
	Linear      Amount        `json:"linear,omitzero"`
	Exponential Amount        `json:"exponential,omitzero"`
	Factor      int           `json:"factor,omitempty"` // of exponential growth; default 2
	Bake        wire.Duration `json:"bake"`             // of each step
}

// steps returns what the growth is short for.
func (g Growth) steps() []PlanStep {
	at, next := g.Linear.N, func(n int) int { return n + g.Linear.N }
	if at == 0 {
		at, next = g.Exponential.N, func(n int) int { return n * max(2, g.Factor) }
	}
	var steps []PlanStep
	for ; at > 0 && at < 100; at = next(at) {
		steps = append(steps, PlanStep{Activate: Share(at), Bake: g.Bake})
	}
	return append(steps, PlanStep{Activate: Share(100)})
}

// AllSteps returns how a region of the wave widens: without steps in one, which the budget
// alone divides.
func (w Wave) AllSteps() []PlanStep {
	switch {
	case w.Growth != nil:
		return w.Growth.steps()
	case len(w.Steps) > 0:
		return w.Steps
	}
	return []PlanStep{{Activate: Share(100)}}
}

// Hurried returns what is left of the plan for a rollout that hurries, as one in an approved
// emergency does: no bakes, gates, approvals and freezes.
func (p Plan) Hurried() Plan {
	p.Gates, p.Freeze = nil, nil
	p.Waves = slices.Clone(p.Waves)
	for i, w := range p.Waves {
		w.Bake, w.Gates, w.Approve = 0, nil, 0
		w.Steps = slices.Clone(w.Steps)
		for j, s := range w.Steps {
			w.Steps[j] = PlanStep{Activate: s.Activate}
		}
		if w.Growth != nil {
			g := *w.Growth
			g.Bake = 0
			w.Growth = &g
		}
		p.Waves[i] = w
	}
	return p
}

const (
	maxPlan    = 256 << 10 // as it comes in, and as it is stored
	maxWaves   = 100
	maxRegions = 1000
	maxSteps   = 100
	maxGates   = 20
	maxWindows = 50
)

// basePlan holds the defaults.
func basePlan() Plan {
	return Plan{
		MaxUnavailable: Count(1),
		Healthy:        wire.Duration(10 * time.Second),
		Soak:           wire.Duration(5 * time.Minute),
		Deadline:       wire.Duration(10 * time.Minute),
		ApproveWithin:  wire.Duration(24 * time.Hour),
		OnFailure:      RevertWave,
		OnPurgeFailure: HoldOnly,
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
	step := func(a Amount) PlanStep { return PlanStep{Activate: a, Bake: bake} }
	p.Waves = []Wave{{
		Regions:  []wire.Region{regions[0]},
		Strategy: StrategyCanary,
		Steps:    []PlanStep{step(Count(1)), step(Share(10)), step(Share(50)), {Activate: Share(100)}},
		Bake:     5 * bake,
	}}
	for pair := range slices.Chunk(regions[1:], 2) {
		p.Waves = append(p.Waves, Wave{Regions: slices.Clone(pair), Strategy: StrategyRolling, Bake: bake})
	}
	return p
}

// waveOf returns the wave of the region.
func (p Plan) waveOf(r wire.Region) Wave {
	for _, w := range p.Waves {
		if slices.Contains(w.Regions, r) {
			return w
		}
	}
	return Wave{}
}

// gate returns the gate of a name.
func (p Plan) gate(name string) (Gate, bool) {
	i := slices.IndexFunc(p.Gates, func(g Gate) bool { return g.Name == name })
	if i < 0 {
		return Gate{}, false
	}
	return p.Gates[i], true
}
