package controller

import (
	"context"
	"crypto/rand"
	"fmt"
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
	if err := plan.Validate(regions); err != nil {
		return info, plan, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return info, plan, nil
}

// Plan says what a rollout would do, and changes nothing.
func (c *Controller) Plan(ctx context.Context, req StartRequest) (PlanView, error) {
	var from map[wire.Region]*wire.Target
	view, err := do(ctx, c, func() (PlanView, error) {
		info, plan, err := c.resolve(req)
		if err != nil {
			return PlanView{}, err
		}
		s := c.states[info.App]
		v := PlanView{App: info.App, Version: info.Version, Digest: info.Digest, Index: s.Revision, Plan: plan}
		from = make(map[wire.Region]*wire.Target)
		for i, wave := range plan.Waves {
			for _, r := range wave.Regions {
				from[r] = s.Regions[r].Committed
				v.Regions = append(v.Regions, c.planRegion(i+1, r, from[r]))
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
		if err := c.planContent(ctx, &view, &view.Regions[i], to, from[view.Regions[i].Region]); err != nil {
			return view, err
		}
	}
	return view, nil
}

func (c *Controller) planRegion(wave int, r wire.Region, committed *wire.Target) PlanRegion {
	p := PlanRegion{Wave: wave, Region: r, Files: []string{}, Purge: []string{}}
	for _, n := range c.registry.list(r) {
		if n.Drained {
			continue
		}
		p.Agents++
		if c.live(n) {
			p.Live++
		}
	}
	if committed != nil {
		p.From = committed.Version
	}
	if p.Agents == 0 {
		p.Warnings = append(p.Warnings, "no agent is enrolled")
	} else if p.Live < p.Agents {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d of %d agents are silent", p.Agents-p.Live, p.Agents))
	}
	if len(c.cfg.Regions[r].CDN) == 0 {
		p.Warnings = append(p.Warnings, "no cdn is configured: nothing will be purged")
	}
	return p
}

// planContent fills in what changes and what is purged.
func (c *Controller) planContent(ctx context.Context, view *PlanView, p *PlanRegion, to *wire.Manifest, committed *wire.Target) error {
	purge := rollout.Purge{App: view.App, Region: p.Region, Epoch: 1, Round: 1, To: view.Digest}
	var from *wire.Manifest
	if committed != nil {
		purge.Epoch, purge.From = committed.Epoch+1, []rollout.Served{{Digest: committed.Digest, Epoch: committed.Epoch}}
		var err error
		if from, err = c.manifest(ctx, committed.Digest); err != nil {
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
	view.Changes = view.Changes || committed == nil || committed.Digest != view.Digest
	selectors, err := c.selectors(ctx, purge)
	if err != nil {
		return err
	}
	counts := make(map[cdn.Kind]int)
	for _, s := range selectors {
		p.Purge = append(p.Purge, s.String())
		counts[s.Kind]++
	}
	for _, t := range c.cfg.Regions[p.Region].CDN {
		caps := c.purger(t.Provider).Capabilities()
		took := 2 * cdn.PredictDuration(caps, counts)
		gap := time.Duration(0)
		for kind := range counts {
			gap = max(gap, c.cfg.OriginFetch, caps.Kinds[kind].Gap)
		}
		p.PurgeFor = max(p.PurgeFor, wire.Duration(took+gap))
	}
	return nil
}

// Start begins a rollout. It is on disk once Start returns.
func (c *Controller) Start(ctx context.Context, req StartRequest, by string) (AppView, error) {
	return decide(ctx, c, func() (AppView, error) {
		info, plan, err := c.resolve(req)
		if err != nil {
			return AppView{}, err
		}
		if err := c.engine(info.App); err != nil {
			return AppView{}, err
		}
		view, err := c.command(info.App, rollout.Start{
			Now: time.Now().UTC(), ID: newID(), By: by, Seed: rand.Text(), Plan: plan, CheckIndex: req.CheckIndex,
			Source: strings.Join(info.Authors, ","), Acknowledge: req.Acknowledge, Supersede: req.Supersede, Emergency: req.Emergency,
			Target: wire.Target{Digest: info.Digest, Version: info.Version, Packs: []wire.PackRef{{Index: info.Index}}},
		}, by)
		c.cfg.trace("start taken")
		return view, err
	})
}

// Commands are what [Controller.Command] takes.
var Commands = []string{"pause", "resume", "approve", "promote", "step-back", "abort", "abort-all", "undo"}

// Command is one of [Commands] on the rollout of an app. What it decides is on disk once
// Command returns. Whether by may approve and promote is for the caller to know.
func (c *Controller) Command(ctx context.Context, app wire.App, name, by string) (AppView, error) {
	return decide(ctx, c, func() (AppView, error) {
		if _, there := c.states[app]; !there {
			return AppView{}, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		now := time.Now().UTC()
		switch name {
		case "pause":
			return c.command(app, rollout.Pause{Now: now, By: by}, by)
		case "resume":
			return c.command(app, rollout.Resume{Now: now, By: by}, by)
		case "approve":
			return c.command(app, rollout.Approve{Now: now, By: by}, by)
		case "promote":
			return c.command(app, rollout.Promote{Now: now, By: by}, by)
		case "step-back":
			return c.command(app, rollout.StepBack{Now: now, By: by}, by)
		case "abort", "abort-all":
			return c.command(app, rollout.Abort{Now: now, By: by, All: name == "abort-all"}, by)
		case "undo":
			return c.command(app, rollout.Undo{Now: now, ID: newID(), By: by}, by)
		}
		return AppView{}, fmt.Errorf("%w: %q is not a command, want one of %s", ErrInvalid, name, strings.Join(Commands, ", "))
	})
}

// command runs an operator's event if the engine can take it.
func (c *Controller) command(app wire.App, e rollout.Event, by string) (AppView, error) {
	if err := rollout.Check(c.states[app], e); err != nil {
		return AppView{}, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err := c.stepBy(app, e, by); err != nil {
		return AppView{}, err
	}
	return c.view(app), nil
}

// newID names a rollout: time first, to the millisecond, so that names sort as they came.
func newID() string {
	at := strings.Replace(time.Now().UTC().Format("20060102-150405.000"), ".", "-", 1)
	return strings.ToLower(at + "-" + rand.Text()[:6])
}

func (c *Controller) view(app wire.App) AppView {
	s := c.states[app]
	return AppView{App: app, Summary: rollout.Status(s), Rollout: s.Rollout, Explain: rollout.Explain(s)}
}

// App returns the state of one app.
func (c *Controller) App(ctx context.Context, app wire.App) (AppView, error) {
	return do(ctx, c, func() (AppView, error) {
		if _, there := c.states[app]; !there {
			return AppView{}, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		return c.view(app), nil
	})
}

// Apps returns the state of every app, by name.
func (c *Controller) Apps(ctx context.Context) ([]AppView, error) {
	return do(ctx, c, func() ([]AppView, error) {
		views := []AppView{}
		for _, app := range wire.Keys(c.states) {
			views = append(views, c.view(app))
		}
		return views, nil
	})
}

// History returns the rollouts of an app, newest first: the active or last one and up to
// 100 before it.
func (c *Controller) History(ctx context.Context, app wire.App) ([]rollout.Rollout, error) {
	return do(ctx, c, func() ([]rollout.Rollout, error) {
		s, there := c.states[app]
		if !there {
			return nil, fmt.Errorf("%w: app %q has never been rolled out", ErrNotFound, app)
		}
		past := []rollout.Rollout{}
		err := c.pastRollouts(app, func(_ string, v []byte) error {
			r, err := decodePast(v)
			past = append(past, r)
			return err
		})
		if s.Rollout != nil {
			past = append(past, *s.Rollout)
		}
		slices.Reverse(past)
		return past, err
	})
}

// Regions returns every configured region, by name.
func (c *Controller) Regions(ctx context.Context) ([]RegionView, error) {
	return do(ctx, c, func() ([]RegionView, error) {
		views := []RegionView{}
		for _, r := range wire.Keys(c.cfg.Regions) {
			v := RegionView{Region: r, Sequence: c.wants[r].Sequence, Apps: make(map[wire.App]Held), CDN: c.cfg.Regions[r].CDN}
			for _, n := range c.registry.list(r) {
				v.Agents++
				if c.live(n) {
					v.Live++
				}
			}
			for app, s := range c.states {
				if t := s.Regions[r].Committed; t != nil {
					v.Apps[app] = Held{t.Version, t.Digest, t.Epoch}
				}
			}
			views = append(views, v)
		}
		return views, nil
	})
}

// Events returns what happened after an event, and then what happens, until ctx ends or
// the reader falls too far behind; after zero means from now on.
func (c *Controller) Events(ctx context.Context, after uint64) (<-chan Event, error) {
	return c.feed.read(ctx, after), nil
}

// Audit returns up to 1000 entries of the audit log after one.
func (c *Controller) Audit(_ context.Context, after uint64) ([]AuditEntry, error) {
	return readAudit(c.db, after)
}
