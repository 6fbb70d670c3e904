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
	if err != nil {
		return info, plan, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return info, plan, nil
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
		for i, wave := range plan.Waves {
			for _, r := range wave.Regions {
				p := c.planRegion(info.App, r, plan, wave)
				p.Wave = i + 1
				if i == 0 {
					p.Warnings = append(p.Warnings, c.obstacles(s, info, plan)...)
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
	for i := range view.Regions {
		if err := c.planContent(ctx, &view, i, to, states[i]); err != nil {
			return view, err
		}
	}
	c.planStored(ctx, &view, states)
	return view, nil
}

// obstacles says why the first wave would not begin now.
func (c *Controller) obstacles(s rollout.State, info BundleInfo, plan rollout.Plan) []string {
	var all []string
	for _, q := range s.Quarantine {
		if q.Source == sourceOf(info) {
			all = append(all, fmt.Sprintf("authors %s are in quarantine since rollout %s: %s", q.Source, q.Rollout, q.Reason))
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
	if len(c.cfg.Regions[r].CDN) == 0 {
		p.Warnings = append(p.Warnings, "no cdn is configured: nothing will be purged")
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

// planContent fills in what changes in a region and what is purged, and refuses what cannot
// be purged in time.
func (c *Controller) planContent(ctx context.Context, view *PlanView, i int, to *wire.Manifest, rr rollout.RegionRecord) error {
	p := &view.Regions[i]
	purge := rollout.Purge{App: view.App, Region: p.Region, Epoch: rr.LastEpoch + 1, Round: 1, From: rr.ServedBesides(view.Digest), To: view.Digest}
	var from *wire.Manifest
	if committed := rr.Committed; committed != nil {
		p.From = committed.Version
		if len(purge.From) == 0 && committed.Digest != view.Digest {
			purge.From = []rollout.Served{{Digest: committed.Digest, Epoch: committed.Epoch}}
		}
		var err error
		from, err = c.manifest(ctx, committed.Digest)
		if errors.Is(err, ErrNotFound) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s, which it runs, is not published any more: all files count as new", committed.Version))
		} else if err != nil {
			return err
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
	view.Changes = view.Changes || rr.Committed == nil || rr.Committed.Digest != view.Digest
	selectors, err := c.selectors(ctx, purge)
	if err != nil {
		return err
	}
	for _, s := range selectors {
		p.Purge = append(p.Purge, s.String())
	}
	p.PurgeFor = wire.Duration(c.purgeTime(p.Region, selectors))
	if p.PurgeFor > view.Plan.Deadline {
		return fmt.Errorf("%w: %w", ErrInvalid, &wire.FieldError{Doc: "plan", Field: "deadline",
			Reason: fmt.Sprintf("is %s, purging %s takes %s at the providers' limits", view.Plan.Deadline, p.Region, wire.Duration(p.PurgeFor.Std().Round(time.Second)))})
	}
	return nil
}

// purgeTime predicts how long the purge of a region takes at its providers' limits: fences,
// both rounds at all targets, tier after tier, and the gap between them. Other regions may use the same accounts.
func (c *Controller) purgeTime(r wire.Region, selectors []cdn.Selector) time.Duration {
	counts := make(map[cdn.Kind]int)
	for _, s := range selectors {
		counts[s.Kind]++
	}
	type tiered struct {
		tier     int
		provider string
	}
	targets := make(map[tiered]int)
	for _, t := range c.cfg.Regions[r].CDN {
		if !t.Optional {
			targets[tiered{t.Tier, t.Provider}]++
		}
	}
	tiers := make(map[int]time.Duration) // one waits for the other
	var fence, gap time.Duration
	for t, n := range targets {
		caps := c.purger(t.provider).Capabilities()
		sent := make(map[cdn.Kind]int)
		for kind, count := range counts {
			limits := caps.Kinds[kind]
			if batch := max(1, limits.Batch); !caps.Buckets[limits.Bucket].PerSelector {
				count = (count + batch - 1) / batch * batch // a request that is not full counts, too
			}
			sent[kind], gap = 2*n*count, max(gap, c.cfg.OriginFetch, limits.Gap)
		}
		tiers[t.tier] = max(tiers[t.tier], cdn.PredictDuration(caps, sent))
		fence = max(fence, caps.Spread)
	}
	total := fence + gap
	for _, d := range tiers {
		total += d
	}
	return total
}
