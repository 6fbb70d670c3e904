package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// resolve finds the bundle and the plan that a request means. It runs in the loop.
func (c *Controller) resolve(req StartRequest) (BundleInfo, rollout.Plan, error) {
	var info BundleInfo
	switch {
	case req.Digest.IsZero() == (req.Version == ""):
		return info, rollout.Plan{}, fmt.Errorf("%w: name the bundle by version or by digest", ErrInvalid)
	case !req.Digest.IsZero():
		info = c.bundles[req.Digest]
	default:
		if err := req.Version.Check(); err != nil { // versions that are none compare as others
			return info, rollout.Plan{}, fmt.Errorf("%w: %w", ErrInvalid, &wire.FieldError{Doc: "request", Field: "version", Reason: err.Error()})
		}
		for _, b := range c.bundles {
			if b.App == req.App && b.Version.Compare(req.Version) == 0 {
				info = b
			}
		}
	}
	if info.App != req.App || info.Digest.IsZero() {
		return info, rollout.Plan{}, fmt.Errorf("%w: no bundle %s %s%s is published", ErrNotFound, req.App, req.Version, req.Digest)
	}
	regions := wire.Keys(c.cfg.Regions)
	plan := rollout.DefaultPlan(regions)
	if req.Plan != nil {
		plan = *req.Plan
	}
	plan.Freeze = withWindows(plan.Freeze, c.cfg.Freeze)
	err := plan.Validate(regions)
	if err == nil {
		err = c.cfg.Gates.check(plan.Gates)
	}
	if err == nil {
		err = c.fits(info.App, plan)
	}
	if err == nil && req.Emergency != nil {
		err = req.Emergency.Check(time.Now())
	}
	if err != nil {
		return info, plan, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return info, plan, nil
}

// What an app's record takes on the bus at most, packed: measured with every agent named in it, and
// twice as much for regions as they took.
const (
	recordOfApp    = 64 << 10
	recordOfRegion = 200
	recordOfAgent  = 8
)

// fits refuses a rollout whose record could outgrow what the bus takes: nothing would leave the
// controller any more.
func (c *Controller) fits(app wire.App, plan rollout.Plan) error {
	regions := make(map[wire.Region]bool)
	for r := range c.states[app].Regions {
		regions[r] = true
	}
	for _, w := range plan.Waves {
		for _, r := range w.Regions {
			regions[r] = true
		}
	}
	agents := 0
	for _, n := range c.registry.list("") {
		if regions[n.Region] && n.serves(app) {
			agents++
		}
	}
	if most := recordOfApp + recordOfRegion*len(regions) + recordOfAgent*agents; most > c.cfg.record {
		return &wire.FieldError{Doc: "plan", Field: "waves", Reason: fmt.Sprintf("are too much for one fleet: the record of %s in %s with %s may take %d bytes, the bus takes %d", app, rollout.Plural(len(regions), "region"), rollout.Plural(agents, "agent"), most, c.cfg.record)}
	}
	return nil
}

// withWindows returns a plan's windows and the fleet's, each once: a plan that [Controller.Plan]
// has shown holds these already.
func withWindows(own, fleet []rollout.Window) []rollout.Window {
	all := slices.Clone(own)
	for _, w := range fleet {
		if !slices.ContainsFunc(all, func(o rollout.Window) bool { return reflect.DeepEqual(o, w) }) {
			all = append(all, w)
		}
	}
	return all
}

// Plan says what a rollout would do, and changes nothing. What could not be carried out is
// refused.
func (c *Controller) Plan(ctx context.Context, req StartRequest) (PlanView, error) {
	var states []rollout.RegionRecord // of view.Regions
	view, err := do(ctx, c, func() (PlanView, error) {
		info, plan, err := c.resolve(req)
		if err != nil {
			return PlanView{}, err
		}
		s := c.states[info.App]
		v := PlanView{App: info.App, Version: info.Version, Digest: info.Digest, Index: s.Revision, Plan: plan}
		taken := plan // as the regions take it
		if em := req.Emergency; em != nil {
			v.Glass, taken = em.Glass(), plan.Hurried()
		}
		stand := make(map[wire.Region]rollout.RegionSummary)
		for _, r := range rollout.Status(s).Regions {
			stand[r.Region] = r
		}
		for i, wave := range taken.Waves {
			for _, r := range wave.Regions {
				p := c.planRegion(info.App, r, taken, wave)
				p.AtOnce = min(p.Agents, plan.AtOnce(wave, p.Agents, true, v.Glass != nil))
				p.Wave, p.From = i+1, stand[r].Running
				p.Others = stand[r].RunBesides(p.From)
				if i == 0 {
					p.Warnings = append(p.Warnings, c.obstacles(s, info, taken)...)
				}
				if h := s.Regions[r].Hold; h != nil {
					p.Warnings = append(p.Warnings, fmt.Sprintf("rollout %s holds here: %s", s.Rollout.ID, h.Reason))
				}
				v.Regions, states = append(v.Regions, p), append(states, s.Regions[r])
			}
		}
		return v, nil
	})
	if err != nil {
		return view, err
	}
	to, err := c.manifest(ctx, view.Digest)
	if err != nil {
		return view, err
	}
	selectors := make([][]cdn.Selector, len(view.Regions))
	for i := range view.Regions {
		if selectors[i], err = c.planContent(ctx, &view, i, to, states[i]); err != nil {
			return view, err
		}
	}
	for wave := range view.Plan.Waves {
		if err := c.planTimes(&view, wave, selectors); err != nil {
			return view, err
		}
	}
	c.planStageable(ctx, &view, states)
	return view, nil
}

// obstacles says why the first wave would not begin now.
func (c *Controller) obstacles(s rollout.State, info BundleInfo, plan rollout.Plan) []string {
	var all []string
	for _, q := range s.Quarantine {
		if q.Source == sourceOf(info) {
			all = append(all, fmt.Sprintf("bundles of %s by %s (not of other apps) are in quarantine since rollout %s failed: %s", s.App, q.Source, q.Rollout, q.Reason))
		}
	}
	if until, why := plan.Frozen(time.Now()); !until.IsZero() {
		text := "frozen until " + until.UTC().Format(time.RFC3339)
		if why != "" {
			text += ": " + why
		}
		all = append(all, text)
	}
	return all
}

// sourceOf names whose bundle it is, for quarantine.
func sourceOf(info BundleInfo) string { return strings.Join(info.Authors, ",") }

// planRegion says how a region takes a rollout, and who in it.
func (c *Controller) planRegion(app wire.App, r wire.Region, plan rollout.Plan, wave rollout.Wave) PlanRegion {
	p := PlanRegion{Region: r, Files: []string{}, Purge: []string{}, Strategy: wave.Strategy, Steps: wave.AllSteps(), Planes: []PlanPlane{}}
	drained := 0
	for _, m := range c.membersOf(app, r).Agents {
		if m.Drained {
			drained++
			continue
		}
		n, _ := c.registry.get(r, m.ID)
		p.Agents++
		if c.live(n) {
			p.Live++
		}
		if n.report != nil {
			p.Planes = withPlane(p.Planes, n.report.Apps[app])
		}
	}
	if p.Agents == 0 && drained > 0 {
		p.Warnings = append(p.Warnings, "all agents are drained: nobody confirms the release here")
	} else if p.Agents == 0 {
		p.Warnings = append(p.Warnings, "no agent is enrolled")
	} else if p.Live < p.Agents {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d of %d agents are silent", p.Agents-p.Live, p.Agents))
	}
	p.Warnings = append(p.Warnings, covering(p, plan.MaxUnavailable)...)
	for _, plane := range p.Planes {
		if !slices.Contains(plane.Traits, wire.TraitDropFree) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s, %s: a switch may lose requests", plane.Plane, rollout.Plural(plane.Agents, "agent")))
		}
		if wave.Strategy == rollout.StrategyBlueGreen && !slices.Contains(plane.Traits, wire.TraitArms) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s, %s: nothing is preloaded, as %s wants it", plane.Plane, rollout.Plural(plane.Agents, "agent"), wave.Strategy))
		}
	}
	if wave.Strategy != rollout.StrategyRolling {
		p.Warnings = append(p.Warnings, shrinking(p.Steps, p.Agents)...)
	}
	if targets := c.cfg.Regions[r].CDN; len(targets) == 0 {
		p.Warnings = append(p.Warnings, "no cdn is configured: nothing will be purged")
	} else if !slices.ContainsFunc(targets, func(t CDNTarget) bool { return !t.Optional }) {
		text := "all cdn targets are optional: nobody waits for their purges"
		if c.cfg.Regions[r].Probes[app] != nil {
			text += ", but for what the vantage points see"
		}
		p.Warnings = append(p.Warnings, text)
	}
	return p
}

// shrinking names the steps that are below the one before in a region of n agents: whether
// "50%, 1" goes up depends on n.
func shrinking(steps []rollout.PlanStep, n int) (warnings []string) {
	for i := 1; i < len(steps); i++ {
		if was, is := steps[i-1].Activate, steps[i].Activate; is.Ceil(n) < was.Ceil(n) {
			warnings = append(warnings, fmt.Sprintf("step %d (%s) is fewer of %s than the step before (%s): it activates nothing", i+1, is, rollout.Plural(n, "agent"), was))
		}
	}
	return warnings
}

// covering warns of numbers of agents that are the whole region, although it never switches
// at once.
func covering(p PlanRegion, unavailable rollout.Amount) (all []string) {
	if p.Agents < 2 {
		return nil
	}
	warn := func(what string, a rollout.Amount) {
		if a.Ceil(p.Agents) == p.Agents && !a.All() {
			all = append(all, fmt.Sprintf("%s %s covers all %d agents: one of them waits all the same", what, a, p.Agents))
		}
	}
	if p.Strategy == rollout.StrategyRolling {
		warn("max_unavailable", unavailable)
	}
	for i, step := range p.Steps {
		warn(fmt.Sprintf("step %d: activate", i+1), step.Activate)
	}
	return all
}

// withPlane counts an agent's data plane, in order of name and traits.
func withPlane(planes []PlanPlane, a wire.AppReport) []PlanPlane {
	one := PlanPlane{Plane: cmp.Or(a.Plane, "unknown data plane"), Traits: append([]string{}, a.Traits...), Agents: 1}
	i, there := slices.BinarySearchFunc(planes, one, func(p, one PlanPlane) int {
		return cmp.Or(cmp.Compare(p.Plane, one.Plane), slices.Compare(p.Traits, one.Traits))
	})
	if there {
		planes[i].Agents++
		return planes
	}
	return slices.Insert(planes, i, one)
}

// planContent fills in what changes in a region and what is purged, and returns that.
func (c *Controller) planContent(ctx context.Context, view *PlanView, i int, to *wire.Manifest, rr rollout.RegionRecord) ([]cdn.Selector, error) {
	p := &view.Regions[i]
	purge := rollout.Purge{App: view.App, Region: p.Region, Epoch: rr.LastEpoch + 1, Round: 1, From: rr.ServedBesides(view.Digest), To: view.Digest}
	var from *wire.Manifest
	if committed := rr.Committed; committed != nil {
		if len(purge.From) == 0 && committed.Digest != view.Digest {
			purge.From = []rollout.Served{{Digest: committed.Digest, Epoch: committed.Epoch}}
		}
		var err error
		from, err = c.manifest(ctx, committed.Digest)
		if errors.Is(err, ErrNotFound) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s, which it runs, is not published any more: all files count as new", committed.Version))
		} else if err != nil {
			return nil, err
		}
	}
	for _, ch := range to.Diff(from, p.Region) {
		sign := "~"
		if ch.Old == nil {
			sign = "+"
		} else if ch.New == nil {
			sign = "-"
		}
		p.Files = append(p.Files, sign+ch.Path)
	}
	view.Changes = view.Changes || rr.Mixed || len(p.Others) > 0 || rr.Committed == nil || rr.Committed.Digest != view.Digest
	selectors, err := c.selectors(ctx, purge)
	if err != nil {
		return nil, err
	}
	for _, s := range selectors {
		p.Purge = append(p.Purge, s.String())
	}
	if err := c.checkTargets(p, selectors); err != nil {
		return nil, err
	}
	if len(c.cfg.Regions[p.Region].CDN) > 0 && len(p.Files) > 0 && len(p.Purge) == 0 {
		p.Warnings = append(p.Warnings, "no purge rule names what changes: nothing will be purged")
	}
	return selectors, nil
}
